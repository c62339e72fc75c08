"""Maps Slack channels to aliases."""

import logging
import time
from typing import NamedTuple

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from widget.slack.replies import UNREACHED
from widget.slack.settings import SlackSettings

log = logging.getLogger(__name__)

FRESH = 600.0  # seconds for which a channel's name is cached


class Name(NamedTuple):
    """The name of a channel, and when it expires."""

    name: str
    until: float


class ChannelAliases:
    """Resolves channels to aliases. Events have only a channel's id; settings may contain its name.

    Names are looked up only if the settings list channels.
    """

    def __init__(self, client: AsyncWebClient, settings: SlackSettings) -> None:
        self.client, self.settings = client, settings
        self._names: dict[str, Name] = {}

    async def alias(self, channel: str) -> str:
        """The alias for a channel."""
        listed = self.settings.channels
        if channel in listed or not listed or channel.startswith("D"):
            return listed.get(channel, self.settings.model)
        return listed.get(await self._name(channel), self.settings.model)

    async def _name(self, channel: str) -> str:
        known = self._names.get(channel)
        if known and time.monotonic() < known.until:
            return known.name
        try:
            reply = await self.client.conversations_info(channel=channel)
        except (SlackApiError, *UNREACHED) as error:
            log.warning("slack: the name of channel %s is not known: %r", channel, error)
            return known.name if known else ""
        name = str(reply["channel"].get("name", ""))
        self._names[channel] = Name(name, time.monotonic() + FRESH)
        return name
