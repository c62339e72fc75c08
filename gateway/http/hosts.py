"""The allow-list of the Host header, which prevents DNS rebinding.

A page of another site can point its own host name to this machine after it was loaded; its requests
then come from the reader's browser, inside the network, with that name in Host. Nobody can register
IP addresses as names, so they are always allowed, like `localhost` (as in Vite and webpack:
https://vite.dev/config/server-options.html#server-allowedhosts).

Not starlette's TrustedHostMiddleware, which parses `[::1]:4000` as the host `[`.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.asgi import ApiError, send_json

# For probes and scrapes, which use unlisted names and addresses. These paths reveal no secrets.
OPEN = frozenset({"/health", "/ready", "/metrics"})

_HOST = re.compile(r"\[([0-9a-f:.]+)\](?::\d+)?|([^:\[\]]+)(?::\d+)?", re.IGNORECASE)


class AllowedHosts:
    """Middleware that answers 421 to requests for unlisted hosts."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], setting: str) -> None:
        """`hosts`: names, or `*.` and a name; `setting` names the setting that lists them."""
        self._app = app
        self._names = frozenset(host.lower() for host in hosts)
        self._setting = setting
        # Clients can send any value: bound the cache.
        self._allows = lru_cache(maxsize=256)(self._is_allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and not self._allows(value) and scope["path"] not in OPEN:
                    await self._refuse(value, send)
                    return
        await self._app(scope, receive, send)

    def _is_allowed(self, value: bytes) -> bool:
        parts = _HOST.fullmatch(value.decode("latin-1"))
        if parts is None:
            return False
        host = (parts[1] or parts[2]).lower().removesuffix(".")
        if host in self._names or host == "localhost" or host.endswith(".localhost"):
            return True
        if any(f"*.{above}" in self._names for above in _above(host)):
            return True
        try:
            return bool(ipaddress.ip_address(host))
        except ValueError:
            return False

    async def _refuse(self, value: bytes, send: Send) -> None:
        error = ApiError(
            421,
            f"this server rejects the host {value.decode('latin-1')[:100]!r}: if it is"
            f" one of its names, list it in {self._setting}",
            code="unknown_host",
        )
        await send_json(send, error.status, error.body, error.headers)


def host_of(url: str) -> tuple[str, ...]:
    """The host name of a URL; empty if there is none."""
    return tuple(filter(None, [urlsplit(url).hostname]))


def _above(host: str) -> Iterable[str]:
    """The parent domains of a name."""
    while "." in host:
        host = host.partition(".")[2]
        yield host
