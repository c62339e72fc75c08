"""Looks up a person's groups in Slack by the e-mail address that Slack has verified."""

import logging
import time
from collections import OrderedDict
from typing import NamedTuple

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from widget.access.people import People
from widget.slack.replies import UNREACHED

log = logging.getLogger(__name__)

FRESH = 60.0  # seconds for which an address is cached
REMEMBERED = 10_000  # people cached


class _Address(NamedTuple):
    email: str
    until: float


class Persons:
    """Looks up people's groups in a workspace. Asks Slack only if there is a file with groups."""

    def __init__(self, client: AsyncWebClient, people: People, team: str) -> None:
        self._client, self._people, self._team = client, people, team
        self._known: OrderedDict[str, _Address] = OrderedDict()

    async def groups(self, user: str, channel: str) -> frozenset[str]:
        """The groups whose pages an answer may use.

        Channels get none, that is public pages, because everybody there reads the answer. People
        from other workspaces, guests, bots and unconfirmed addresses have no groups.
        """
        if not self._people.has_file or not channel.startswith("D"):
            return frozenset()
        email = await self._email(user)
        return self._people.groups(email) if email else frozenset()

    async def _email(self, user: str) -> str:
        known = self._known.get(user)
        if known and time.monotonic() < known.until:
            return known.email
        try:
            user_facts = (await self._client.users_info(user=user))["user"]
        except (SlackApiError, *UNREACHED) as error:
            log.warning("slack: the e-mail address of %s cannot be read: %r", user, error)
            return ""
        stranger = user_facts.get("team_id") != self._team or user_facts.get("is_stranger")
        guest = user_facts.get("is_restricted") or user_facts.get("is_ultra_restricted")
        is_ours = user_facts.get("is_email_confirmed") and not (
            stranger or guest or user_facts.get("deleted") or user_facts.get("is_bot")
        )
        email = str(user_facts.get("profile", {}).get("email") or "") if is_ours else ""
        self._known[user] = _Address(email, time.monotonic() + FRESH)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return email
