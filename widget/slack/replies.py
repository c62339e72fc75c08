"""A Slack message that is edited while the answer grows.

Uses chat.update, not chat.startStream: Slack interprets the latter's Markdown, mentions included,
and it can only be appended to, so a refusal could not retract streamed text.
https://docs.slack.dev/reference/methods/chat.update
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from widget.slack.messages import Message, bare

log = logging.getLogger(__name__)

# Slack could not be reached; OSError includes TimeoutError and many errors of aiohttp.
UNREACHED = (OSError, aiohttp.ClientError)
# Seconds. Slack allows 50 edits a minute for all messages of a workspace together (tier 3).
EDIT = 1.2
OK, RATE_LIMITED = 200, 429
WAIT = 30  # seconds, if Slack does not say how many


class Pace:
    """The pace of edits: the maximum that Slack allows, shared by all open answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.open = 0
        self.held_until = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count an open answer."""
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def pause(self) -> float:
        """Seconds until the next edit of a message that was just edited."""
        return max(EDIT * self.open, self.held_until - self.clock())

    async def free(self) -> None:
        """Wait until Slack accepts edits again."""
        await asyncio.sleep(max(0.0, self.held_until - self.clock()))

    def hold(self, seconds: float) -> None:
        """Pause edits at Slack's request."""
        self.held_until = max(self.held_until, self.clock() + seconds)


@dataclass(frozen=True)
class Reply:
    """A message in Slack.

    `client` waits if Slack asks for it (Retry-After), and tries again; `eager` does neither.
    """

    client: AsyncWebClient
    eager: AsyncWebClient
    pace: Pace
    channel: str
    ts: str

    async def show(self, message: Message) -> None:
        """Show more of an answer, or skip it if Slack refuses: another update will follow."""
        try:
            await self._edit(self.eager, message)
        except SlackApiError as error:
            if status(error) == RATE_LIMITED:
                seconds = error.response.headers.get("Retry-After", "")
                self.pace.hold(int(seconds) if seconds.isdecimal() else WAIT)
            else:
                log.warning("slack: chat.update: %s", refusal(error))
        except UNREACHED as error:
            log.warning("slack: chat.update: %r", error)

    async def finish(self, message: Message) -> None:
        """Show the final message. Raises one of UNREACHED."""
        await self.pace.free()
        for shown in (message, bare(message)):
            try:
                await self._edit(self.client, shown)
                return
            except SlackApiError as error:
                if status(error) != OK:
                    raise ConnectionError(f"Slack says {status(error)}") from error
                log.warning("slack: chat.update: %s", refusal(error))
        # The message was deleted, or the channel archived: nobody waits for the answer.

    async def _edit(self, client: AsyncWebClient, message: Message) -> None:
        await client.chat_update(
            channel=self.channel,
            ts=self.ts,
            text=message.text,
            blocks=message.blocks,
            parse="none",  # by default, chat.update would look for names of people and channels
            link_names=False,
        )


def status(error: SlackApiError) -> int:
    """The HTTP status of Slack's response: 200 for Slack's own refusals, 0 for a proxy's page."""
    return error.response.status_code if isinstance(error.response, AsyncSlackResponse) else 0


def refusal(error: SlackApiError) -> str:
    """Slack's error code."""
    known = isinstance(error.response, AsyncSlackResponse)
    return str(error.response.get("error")) if known else str(error)
