"""Turns a person's question in Slack into an answer in a thread."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from widget.access.limits import OFTEN, Limits, TooMany
from widget.service.store import Answered, NewQuestion
from widget.slack import messages
from widget.slack.answering import GRACE, Answering
from widget.slack.messages import Message
from widget.slack.persons import Persons
from widget.slack.places import ChannelAliases
from widget.slack.record import Duplicate, Turns
from widget.slack.replies import UNREACHED, Reply
from widget.slack.settings import SlackSettings

log = logging.getLogger(__name__)


class Asking:
    """Asks questions on people's behalf. `client` and `eager` are those of `Reply`."""

    def __init__(
        self,
        settings: SlackSettings,
        client: AsyncWebClient,
        eager: AsyncWebClient,
        answering: Answering,
        limits: Limits,
        team: str,
        bot: str,
    ) -> None:
        self.settings, self.answering = settings, answering
        self.record, self.limits = answering.record, limits
        self.client, self.eager = client, eager
        self.team, self.bot = team, bot
        self.places = ChannelAliases(client, settings)
        token = settings.bot_token
        self.persons = Persons(client, answering.people, team)
        self._key = (token.get_secret_value() if token else "").encode()
        self._entering = 0

    async def ask(
        self,
        id: str,
        question: str,
        channel: str,
        thread: str,
        user: str,
        alias: str = "",
        message: str = "",
    ) -> None:
        """Answer in a thread, in a new message or an existing message of ours.

        `alias` defaults to the channel's. A known `id` is ignored.
        """
        conversation = self.name("thread", channel, thread)
        earlier = await self.record.earlier(conversation)
        if not alias:
            # The thread below a /ask is a direct message, and keeps the channel's alias.
            alias = await self.places.alias(channel)
            alias = earlier.alias if channel.startswith("D") and earlier.alias else alias
        asked = NewQuestion(
            id=id,
            question=question,
            conversation=conversation,
            channel="slack",
            alias=alias,
            visitor=self.name("person", user),
            person=user if self.settings.people else "",
        )
        try:
            with self._counted():
                await self.record.asked(asked)
                groups = await self.persons.groups(user, channel)
                await self._begin(asked, earlier.turns, thread, channel, message, groups)
        except Duplicate:
            return
        except (SlackApiError, *UNREACHED) as error:
            log.error("slack: a question in %s cannot be answered: %r", channel, error)
            await self.record.answered(asked, Answered("failed"))

    async def _begin(
        self,
        asked: NewQuestion,
        turns: Turns,
        thread: str,
        channel: str,
        message: str,
        groups: frozenset[str],
    ) -> None:
        if not message:
            message = (await self.post(channel, messages.looking(), thread=thread))["ts"]
        reply = Reply(self.client, self.eager, self.answering.pace, channel, message)
        try:
            await self.limits.count(asked.visitor)
        except TooMany as error:
            often = OFTEN.format(seconds=error.seconds)
            await reply.finish(messages.failed(asked.id, asked.question, often))
            await self.record.answered(asked, Answered("failed"))
            return
        # User groups cannot be called into a direct message.
        alone = channel.startswith("D") and self.settings.group
        human = bool(self.settings.humans) and not alone
        await self.answering.begin(asked, turns, reply, human, groups)

    async def settled(self) -> None:
        """Wait until new questions have been passed on to `answering`, at most `GRACE` seconds."""
        until = time.monotonic() + GRACE
        while self._entering and time.monotonic() < until:  # noqa: ASYNC110  # seldom any
            await asyncio.sleep(0.02)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._entering += 1
        try:
            yield
        finally:
            self._entering -= 1

    async def post(self, channel: str, message: Message, thread: str | None = None) -> Any:
        """Post a message. Raises SlackApiError or one of UNREACHED.

        Links are not unfurled: Slack would fetch URLs that a model made up.
        """
        return await self.client.chat_postMessage(
            channel=channel,
            text=message.text,
            blocks=message.blocks,
            thread_ts=thread,
            unfurl_links=False,
            unfurl_media=False,
        )

    async def address(self, channel: str, ts: str) -> str:
        """The permalink of a message. Raises SlackApiError or one of UNREACHED."""
        reply = await self.client.chat_getPermalink(channel=channel, message_ts=ts)
        return str(reply["permalink"])

    def name(self, *parts: str) -> str:
        """A pseudonymous name."""
        text = "\0".join((self.team, *parts)).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:24]
