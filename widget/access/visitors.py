"""The visitor: a pseudonym, its rate limit, and the signed-in person if any."""

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
    """Who asks."""

    id: str
    """A pseudonym: of the person, of the browser's cookie, or of the address for a day."""
    counted: str
    """What is limited: the verified person, or the network; never what a browser may choose."""
    person: str = ""
    team: str = ""
    groups: frozenset[str] = frozenset()
    """Whose pages they may read; of a stranger none."""


class Visitors:
    """Tells visitors apart and counts what they send."""

    def __init__(self, settings: WidgetSettings) -> None:
        self._settings = settings
        self._identities = Identities(settings)
        self._limits = Limits(settings.asks_per_minute)
        own = settings.secret or settings.gateway_key
        # Without either it is another one in every process and after every start.
        self.secret = own.get_secret_value() if own else secrets.token_hex()

    async def open(self) -> None:
        """Begin to count. Raises AskdocsError: the URL of Redis is not one."""
        url = self._settings.redis_url
        await self._limits.open(url.get_secret_value() if url else None)

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._limits.close()

    def of(self, request: Request, token: str = "") -> Visitor:
        """Who asks; `token` is a JWT that came with a form. Raises BadIdentity."""
        identity = self._identities.of(request, token)
        if identity.person:
            person = self._pseudonym("person", identity.person)
            return Visitor(person, person, identity.person, identity.team, identity.groups)
        address = network(request.client.host if request.client else "")
        counted = self._pseudonym("network", address)
        if self._settings.visitors == "cookie" and (cookie := request.cookies.get(COOKIE)):
            return Visitor(self._pseudonym("cookie", cookie), counted)
        # A new one each day, as Plausible does: https://plausible.io/data-policy
        day = datetime.now(UTC).date().isoformat()
        return Visitor(self._pseudonym("address", day, address), counted)

    def groups(self, request: Request, token: str = "") -> frozenset[str]:
        """Whose pages who asks may read; none of who cannot be verified."""
        try:
            return self.of(request, token).groups
        except BadIdentity:
            return frozenset()

    async def count(self, visitor: Visitor) -> None:
        """Count a question, a vote, a share or a hand-off. Raises TooMany."""
        await self._limits.count(visitor.counted)

    async def count_solution(self, solution: str) -> None:
        """Count what is asked on one solved captcha, by whomever. Raises TooMany."""
        await self._limits.count(self._pseudonym("captcha", solution))

    def _pseudonym(self, *parts: str) -> str:
        text = "\0".join(parts).encode()
        return hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()[:20]


def network(address: str) -> str:
    """The address, or of IPv6 the /64, in which one machine can take any address it likes."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
