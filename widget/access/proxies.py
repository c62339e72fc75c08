"""Trusted reverse proxies in front of the widget."""

import ipaddress
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED = ("x-forwarded-for", "x-forwarded-proto")


class OnlyTrusted:
    """Removes headers that only a trusted proxy may set from all other requests.

    Later middleware can trust them: the identity (`identity`), and the client address (uvicorn's
    ProxyHeadersMiddleware).
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], headers: Sequence[str]) -> None:
        self.app = app
        self.trusted = trusted
        self.headers = {name.lower().encode() for name in (*headers, *FORWARDED) if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._trusts(scope):
            headers = [pair for pair in scope["headers"] if pair[0] not in self.headers]
            scope = {**scope, "headers": headers}
        await self.app(scope, receive, send)

    def _trusts(self, scope: Scope) -> bool:
        client = scope.get("client")
        if client is None:  # a Unix domain socket
            return True
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        return any(address in network for network in self.trusted)
