"""The Bolt app: receives Slack's events and dispatches them.

Bolt checks signatures, answers Slack's challenges and ignores our own messages. Everything is
acknowledged at once and handled afterwards, because Slack waits only three seconds.
"""

import logging
import re
import secrets
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError

from widget.service.pending import BadQuestion, checked
from widget.slack import messages
from widget.slack.actions import Presses
from widget.slack.asking import Asking
from widget.slack.once import Once
from widget.slack.replies import UNREACHED
from widget.slack.richtext import link, literal

log = logging.getLogger(__name__)

# New messages by people; every other subtype reports a change to a message, or comes from a bot.
SUBTYPES = (None, "file_share", "thread_broadcast")

PRIVATE = "The answer comes in our direct messages: "
NO_MESSAGE = "I cannot write you a direct message just now. Please try again in a moment."


def create_app(asking: Asking) -> AsyncApp:
    """Create the Bolt app with every listener."""
    secret = asking.settings.signing_secret
    app = AsyncApp(
        client=asking.client,
        signing_secret=secret.get_secret_value() if secret else "",
        name="askdocs",
    )
    questions, presses = Questions(asking), Presses(asking)
    app.event("app_mention")(questions.mentioned)
    app.event("message")(questions.written)
    app.command("/ask")(questions.commanded)
    app.action(messages.UP)(presses.voted)
    app.action(messages.DOWN)(presses.voted)
    app.action(messages.HUMAN)(presses.wanted_human)
    app.action(messages.RETRY)(presses.retried)
    app.action(re.compile(f"{messages.OPEN}-"))(presses.opened)
    app.view(messages.DIALOG)(presses.reasoned)
    return app


class Questions:
    """Handlers for the ways of asking."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.once = Once()

    async def mentioned(self, event: dict[str, Any]) -> None:
        """Handle a mention in a channel."""
        await self._message(event)

    async def written(self, event: dict[str, Any]) -> None:
        """Handle a message in a channel we are in; only direct messages are questions to us."""
        if event.get("channel_type") == "im":
            await self._message(event)

    async def commanded(self, ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        """Handle /ask: the answer is private, in a direct message."""
        await ack()
        if not self.once.first("command", body["trigger_id"]):
            return
        user = body["user_id"]
        try:
            question = checked(messages.typed(body.get("text", ""), self.asking.bot))
            above = await self.asking.post(user, messages.repeated(question))
            address = await self.asking.address(above["channel"], above["ts"])
        except BadQuestion as error:
            await respond(str(error))
            return
        except (SlackApiError, *UNREACHED) as error:
            log.warning("slack: /ask: %r", error)
            await respond(NO_MESSAGE)
            return
        alias = await self.asking.places.alias(body["channel_id"])
        channel, ts = above["channel"], above["ts"]
        await self.asking.ask(secrets.token_urlsafe(16), question, channel, ts, user, alias)
        message = messages.text_line(
            literal(PRIVATE), link(address, "open"), text=f"{PRIVATE}{address}"
        )
        await respond(text=message.text, blocks=message.blocks)

    async def _message(self, event: dict[str, Any]) -> None:
        new = event.get("subtype") in SUBTYPES and not event.get("edited")
        user = event.get("user", "")
        if not new or not user or event.get("bot_id") or user == self.asking.bot:
            return
        channel, ts = event["channel"], event["ts"]
        if not self.once.first("message", channel, ts):
            return
        thread = event.get("thread_ts") or ts
        try:
            question = checked(messages.typed(event.get("text", ""), self.asking.bot))
        except BadQuestion as error:
            sentence = messages.text_line(literal(str(error)), text=str(error))
            await self.asking.post(channel, sentence, thread=thread)
            return
        # The same message has the same id, also after a restart and in another process.
        await self.asking.ask(
            self.asking.name("message", channel, ts), question, channel, thread, user
        )
