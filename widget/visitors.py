"""Who is at the box: a pseudonym, how often it asks, and a person where a sign-in says so."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from widget.identity import COOKIE, Identities
from widget.limits import Limits
from widget.settings import WidgetSettings


@dataclass(frozen=True)
class Visitor:
    """Who asks."""

    id: str
    """A pseudonym: of the person, of the browser's cookie, or of the address for a day."""
    person: str = ""
    team: str = ""


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
        found = self._identities.of(request, token)
        if found.person:
            return Visitor(self._pseudonym("person", found.person), found.person, found.team)
        if self._settings.visitors == "cookie" and (cookie := request.cookies.get(COOKIE)):
            return Visitor(self._pseudonym("cookie", cookie))
        address = request.client.host if request.client else ""
        day = datetime.now(UTC).date().isoformat()
        # As Plausible does: https://plausible.io/data-policy
        agent = request.headers.get("user-agent", "")
        return Visitor(self._pseudonym("address", day, address, agent))

    async def count(self, visitor: Visitor) -> None:
        """Count a question or a vote. Raises TooMany."""
        await self._limits.count(visitor.id)

    def _pseudonym(self, *parts: str) -> str:
        text = "\0".join(parts).encode()
        return hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()[:20]
