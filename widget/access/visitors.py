"""Visitors: a pseudonym, a rate limit, and the signed-in person if any."""

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from widget.access.identity import COOKIE, BadIdentity, Identities
from widget.access.limits import Limits
from widget.settings import WidgetSettings


@dataclass(frozen=True)
class Visitor:
    """The sender of a request."""

    id: str
    """A pseudonym of the person, the browser's cookie, or the address for one day."""
    counted: str
    """Key of the rate limit: the verified person, or the network; never a value chosen by the
    browser."""
    person: str = ""
    team: str = ""
    groups: frozenset[str] = frozenset()
    """Groups whose pages they may read; none for a stranger."""


class Visitors:
    """Identifies visitors and counts their requests."""

    def __init__(self, settings: WidgetSettings) -> None:
        self._settings = settings
        self._identities = Identities(settings)
        self._limits = Limits(settings.asks_per_minute)
        own = settings.secret or settings.gateway_key
        # Without either, the secret differs between processes and restarts.
        self.secret = own.get_secret_value() if own else secrets.token_hex()

    async def open(self) -> None:
        """Open the counters. Raises AskdocsError: the Redis URL is invalid."""
        url = self._settings.redis_url
        await self._limits.open(url.get_secret_value() if url else None)

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._limits.close()

    def of(self, request: Request, token: str = "") -> Visitor:
        """The visitor of a request; `token` is a JWT from a form. Raises BadIdentity."""
        identity = self._identities.of(request, token)
        if identity.person:
            person = self._pseudonym("person", identity.person)
            return Visitor(person, person, identity.person, identity.team, identity.groups)
        address = network(request.client.host if request.client else "")
        counted = self._pseudonym("network", address)
        if self._settings.visitors == "cookie" and (cookie := request.cookies.get(COOKIE)):
            return Visitor(self._pseudonym("cookie", cookie), counted)
        # Changes daily, as in Plausible: https://plausible.io/data-policy
        day = datetime.now(UTC).date().isoformat()
        return Visitor(self._pseudonym("address", day, address), counted)

    def groups(self, request: Request, token: str = "") -> frozenset[str]:
        """The sender's groups; none if they cannot be verified."""
        try:
            return self.of(request, token).groups
        except BadIdentity:
            return frozenset()

    async def count(self, visitor: Visitor) -> None:
        """Count a question, a vote, a share or a hand-off. Raises TooMany."""
        await self._limits.count(visitor.counted)

    async def count_solution(self, solution: str) -> None:
        """Count a request made with a solved captcha, by whomever. Raises TooMany."""
        await self._limits.count(self._pseudonym("captcha", solution))

    def _pseudonym(self, *parts: str) -> str:
        text = "\0".join(parts).encode()
        return hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()[:20]


def network(address: str) -> str:
    """The address, or for IPv6 its /64, in which a machine can use any address it likes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
