"""Handles Slack interactions: votes, the feedback dialog, handover to people, retry."""

import json
import logging
import secrets
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncRespond
from slack_sdk.errors import SlackApiError

from core.control_characters import without
from widget.service.store import REASONS, Reason, StoredQuestion, Vote
from widget.slack import messages
from widget.slack.asking import Asking
from widget.slack.messages import Message
from widget.slack.once import Once
from widget.slack.record import NotStored
from widget.slack.replies import UNREACHED
from widget.slack.richtext import link, literal

log = logging.getLogger(__name__)

THANKS = "Thank you. Press 👎 if you change your mind."
NOTED = "Thank you: whoever looks after the docs will see it. Press 👍 if you change your mind."
PASSED_ON = "I have passed the question on to people."
ALREADY = "The question has been passed on already."
NOT_PASSED_ON = "The question could not be passed on: please ask in the channel yourself."


class Presses:
    """Handlers of our messages' buttons, which outlive this process and carry all data needed."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.once = Once()

    async def voted(
        self, ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], respond: AsyncRespond
    ) -> None:
        """Handle a press of a thumb."""
        await ack()
        if not self.once.first("action", body["trigger_id"]):
            return
        up = action["action_id"] == messages.UP
        if not up:
            # At once: Slack accepts a dialog only for three seconds after the press.
            try:
                await self.asking.eager.views_open(
                    trigger_id=body["trigger_id"], view=messages.dialog(action["value"])
                )
            except (SlackApiError, *UNREACHED) as error:
                log.warning("slack: views.open: %r", error)
        vote = Vote("up" if up else "down")
        try:
            before = await self._vote(action["value"], vote, body)
        except NotStored as error:
            await self._whisper(body, respond, str(error))
            return
        await self._whisper(body, respond, THANKS if up else NOTED)
        await self.asking.answering.gateway.count(before, vote)

    async def reasoned(self, ack: AsyncAck, body: dict[str, Any], view: dict[str, Any]) -> None:
        """Handle the feedback dialog. If storing fails, it stays open with its text."""
        values = view["state"]["values"]
        chosen = values["reasons"]["reasons"].get("selected_options") or []
        picked = {option["value"] for option in chosen}
        reasons: tuple[Reason, ...] = tuple(reason for reason in REASONS if reason in picked)
        text = without(values["text"]["text"].get("value") or "")[: messages.MAX_COMMENT]
        vote = Vote("down", reasons, text)
        try:
            before = await self._vote(view["private_metadata"], vote, body)
        except NotStored as error:
            await ack(response_action="errors", errors={"text": str(error)})
            return
        await ack()
        await self.asking.answering.gateway.count(before, vote)

    async def wanted_human(
        self, ack: AsyncAck, body: dict[str, Any], action: dict[str, Any], respond: AsyncRespond
    ) -> None:
        """Hand the question over to people."""
        await ack()
        channel, ts = body["container"]["channel_id"], body["container"]["message_ts"]
        carried = json.loads(action["value"])
        if not self.once.first("human", channel, ts, carried["id"]):
            await self._whisper(body, respond, ALREADY)
            return
        try:
            question = await self._question(carried)
            message = await self._hand_on(question, channel, ts, body)
            await self.asking.post(channel, message, thread=_thread(body))
        except (SlackApiError, *UNREACHED) as error:
            log.warning("slack: not handed on to %s: %r", self.asking.settings.humans, error)
            self.once.forget("human", channel, ts, carried["id"])
            await self._whisper(body, respond, NOT_PASSED_ON)

    async def retried(self, ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Ask the same question again; the answer replaces the failure."""
        await ack()
        channel, ts = body["container"]["channel_id"], body["container"]["message_ts"]
        carried = json.loads(action["value"])
        if not self.once.first("retry", channel, ts, carried["id"]):
            return
        await self.asking.ask(
            secrets.token_urlsafe(16),
            await self._question(carried),
            channel,
            _thread(body),
            body["user"]["id"],
            message=ts,
        )

    async def opened(self, ack: AsyncAck) -> None:
        """Acknowledge that somebody opened a page, which Slack's client handles."""
        await ack()

    async def _hand_on(self, question: str, channel: str, ts: str, body: dict[str, Any]) -> Message:
        """Ask the humans; returns the message to post. Raises SlackApiError or one of UNREACHED."""
        user, group = body["user"]["id"], self.asking.settings.group
        if group:
            return messages.called(user, group)
        # A link to a direct message works for nobody else.
        here = "" if channel.startswith("D") else await self.asking.address(channel, ts)
        posted = await self.asking.post(
            self.asking.settings.humans, messages.handed(user, question, here)
        )
        there = await self.asking.address(posted["channel"], posted["ts"])
        return messages.text_line(
            literal(f"{PASSED_ON} "), link(there, "See it there"), text=f"{PASSED_ON} {there}"
        )

    async def _question(self, carried: dict[str, str]) -> str:
        """The whole question; a button can carry only its beginning."""
        whole = await self.asking.record.question(carried["id"])
        return whole or carried["question"]

    async def _vote(self, id: str, vote: Vote, body: dict[str, Any]) -> StoredQuestion:
        """Store a vote; returns the question as it was before. Raises NotStored."""
        visitor = self.asking.name("person", body["user"]["id"])
        return await self.asking.record.vote(id, vote, visitor)

    async def _whisper(self, body: dict[str, Any], respond: AsyncRespond, text: str) -> None:
        """Send a message only to the person who pressed a button."""
        message = messages.text_line(literal(text), text=text)
        await respond(
            text=message.text,
            blocks=message.blocks,
            response_type="ephemeral",
            replace_original=False,
            thread_ts=_thread(body),
        )


def _thread(body: dict[str, Any]) -> str:
    """The thread in which a button was pressed."""
    message = body.get("message") or {}
    return str(message.get("thread_ts") or body["container"]["message_ts"])
