"""The request context and the response, from the first byte to the usage record."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from gateway.access.keys import Key
from gateway.access.limits.grant import Grant, LimitReached
from gateway.access.limits.limiter import Limiter
from gateway.api.plan import RequestPlan, RequestResult
from gateway.http.asgi import ApiError, send_json
from gateway.routing.token_budget import TokenBudget
from gateway.runtime.protocol import Edge, RawHeaders
from gateway.telemetry.metrics import Request as Measured
from gateway.telemetry.tracing import OFF, Span
from wiki.rights import PUBLIC

NOBODY = Key("", "", "", datetime.fromtimestamp(0, UTC))
# Limits to check again with an exact count of the prompt.
_TOKENS = ("tpm", "too_large", "monthly_tokens")
# Errors that a retry cannot fix. Otherwise Claude Code retries a wrong key for minutes.
_FINAL = (401, 403, 404)


class RequestHeaders(Headers):
    """A request's headers, indexed by name: Starlette's look-up scans all of them each time."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first = dict(reversed(self._list))  # of headers with the same name, the first wins

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower().encode("latin-1") in self._first

    def get(self, key: str, default: Any = None) -> Any:
        value = self._first.get(key.encode("latin-1"))
        return default if value is None else value.decode("latin-1")


class Response:
    """ASGI's `send`, which adds the headers of every response and records what was sent."""

    __slots__ = ("_send", "client_left", "headers", "is_complete", "is_started", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.headers = {"x-request-id": request_id}
        """Headers added to those that the response starts with."""
        self.status = 500
        self.is_started = False
        self.is_complete = False
        self.client_left = False
        """Did the client disconnect before the end?"""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self.status = message["status"]
            message["headers"] += self._own()
        elif not message.get("more_body"):
            self.is_complete = True
        await self._send(message)

    async def whole(self, start: RawHeaders, body: bytes, connection: Edge | None) -> None:
        """Send a complete response with status 200. `connection`: the server's, if available."""
        headers = [*start, (b"content-length", b"%d" % len(body))]
        if connection is not None and connection.respond(
            self._send, (*headers, *self._own()), body
        ):
            self.status = 200
            self.is_started = self.is_complete = True
            return
        await self({"type": "http.response.start", "status": 200, "headers": headers})
        await self({"type": "http.response.body", "body": body})

    def _own(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response, and the headers added to them."""
        return [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in self.headers.items()
        ]

    async def fail(self, error: ApiError) -> None:
        """Send the error. A response that has begun is cut off without its regular end."""
        if self.is_started:
            self.status = error.status
            raise error
        if error.status in _FINAL:
            self.headers["x-should-retry"] = "false"
        await send_json(self, error.status, error.body, error.headers)


class RequestContext:
    """The state of one request. Each stage sets its own field once: the `key`, the plan, the grant
    of the limits, and the result."""

    __slots__ = (
        "alias",
        "endpoint",
        "grant",
        "headers",
        "key",
        "measured",
        "plan",
        "reader",
        "request_id",
        "response",
        "result",
        "scope",
        "span",
    )

    def __init__(
        self,
        endpoint: str,
        request_id: str,
        scope: Scope,
        headers: Headers,
        send: Send,
        measured: Measured,
    ) -> None:
        """`endpoint` is the route's name, for metrics and the log."""
        self.endpoint = endpoint
        self.request_id = request_id
        self.scope = scope
        self.headers = headers
        self.response = Response(send, request_id)
        self.measured = measured
        self.key = NOBODY
        self.reader = PUBLIC
        """Decides which pages of the wiki the request may see."""
        self.alias = ""
        """The alias or model that the request names, set once it is known to exist."""
        self.plan: RequestPlan | None = None
        self.grant: Grant | None = None
        self.result: RequestResult | None = None
        """None until a handler sets it: then only the status that was sent is known."""
        self.span: Span = OFF
        """The request's span in a trace."""

    def identify(self, key: Key) -> None:
        self.key = key
        self.measured.team = key.team

    def set_alias(self, alias: str) -> None:
        """Set the alias or model, which must exist: only such names may become metric labels."""
        self.alias = self.measured.alias = alias

    async def reserve(
        self,
        limiter: Limiter,
        budget: TokenBudget = TokenBudget(0, None),
        count: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """Reserve the budget's tokens, an upper bound; if they exceed a limit, count the prompt.

        Raises:
            ApiError: 429, the key has reached a limit.
        """
        try:
            try:
                grant = await limiter.admit(self.key, budget.tokens)
            except LimitReached as refused:
                counted = await count() if count and refused.limit in _TOKENS else budget.prompt
                if counted >= budget.prompt:
                    raise
                grant = await limiter.admit(self.key, budget._replace(prompt=counted).tokens)
        except LimitReached as refused:
            self.measured.limited(refused.limit)
            raise
        self.grant = grant
        self.response.headers.update(grant.headers)
        self.measured.admitted()


def request_id(headers: Headers) -> str:
    """Returns the client's request ID if it is plain, else a new one."""
    given = headers.get("x-request-id", "")
    if given and len(given) <= 64 and given.isascii() and given.isprintable():
        return given
    # Not a secret: it only has to be unique. A uuid4 costs 9 us.
    return f"{random.getrandbits(128):032x}"
