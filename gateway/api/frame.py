"""Middleware for every request: request ID, key, body, errors, usage record."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.auth import reader
from gateway.access.keys import Key
from gateway.api.context import RequestContext, RequestHeaders, request_id
from gateway.api.endpoints import ENDPOINTS, MCP, MODELS, OTHER, Endpoint
from gateway.http import overflow
from gateway.http.asgi import ApiError, read_body
from gateway.runtime.container import Container
from gateway.runtime.protocol import WRITER, Edge

log = logging.getLogger("askdocs.gateway")

Handler = Callable[[RequestContext, bytes], Awaitable[None]]
# https://docs.anthropic.com/en/api/errors
_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_MESSAGES = re.compile(r"(/v1)?/messages(/|\Z)")
_NOTHING: Mapping[str, Any] = {}
Identify = Callable[[Headers], Awaitable[Key]]


class Frame:
    """Serves requests to one endpoint, and records each once, however it ends."""

    def __init__(
        self,
        container: Callable[[], Container],
        endpoint: Endpoint,
        handler: Handler,
        identify: Identify | None = None,
        reads_body: bool = True,
    ) -> None:
        """`identify` identifies the caller, in place of the keys."""
        self._container = container
        self._endpoint = endpoint
        self._handler = handler
        self._identify = identify
        self._reads_body = reads_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        container = self._container()
        headers = RequestHeaders(scope)
        name = request_id(headers)
        # A connection's requests may share one scope of the middleware: copy it.
        scope = {**scope, "state": {"request_id": name}}
        measured = container.recorder.metrics.request(self._endpoint.path)
        context = RequestContext(self._endpoint.path, name, scope, headers, send, measured)
        if container.tracer:
            known = self._endpoint is not OTHER
            title = f"{scope['method']} {scope['path']}" if known else OTHER.path
            context.span = container.tracer.begin(title, "SERVER", scope["headers"])
        response = context.response
        leaving: asyncio.Task[None] | None = None
        task = asyncio.current_task()
        assert task is not None

        def leave() -> None:
            """Close the connection to the engine, too, when the client disconnects."""
            if not response.is_complete:
                response.client_left = True
                task.cancel()

        connection: Edge | None = scope.get("extensions", _NOTHING).get(WRITER)
        try:
            if connection is not None:
                connection.when_client_leaves(leave)
            context.identify(await (self._identify or container.keyring.identify)(headers))
            context.reader = reader(context.key, headers)
            body = b""
            if self._reads_body and scope["method"] == "POST":
                has_come = connection is not None and connection.has_whole_request
                body = await read_body(headers, receive, container.settings.max_body, has_come)
            if connection is None:
                leaving = asyncio.ensure_future(_disconnected(receive, leave))
            await self._handler(context, body)
        except ApiError as error:
            await response.fail(self._shown(error, context))
        except ConnectionError:
            response.client_left = True
        except asyncio.CancelledError:
            if not response.client_left:
                raise
            task.uncancel()
        except Exception:
            log.exception("request %s failed", context.request_id)
            text = f"the gateway failed; its log names request {context.request_id}"
            failed = ApiError(500, text, kind="server_error")
            await response.fail(self._shown(failed, context))
        finally:
            response.is_complete = True
            if connection is not None:
                connection.when_client_leaves(None)
            elif leaving:
                leaving.cancel()
            container.recorder.record(context)

    def _shown(self, error: ApiError, context: RequestContext) -> ApiError:
        """The error in the shape that the client's SDK reads: Anthropic's or OpenAI's."""
        if _MESSAGES.match(context.scope["path"]):
            kind = _ANTHROPIC.get(error.status, "api_error" if error.status >= 500 else "")
            shown = error.body["error"]
            shown["type"] = kind or "invalid_request_error"
            if shown["code"] == overflow.CODE:
                shown["message"] = overflow.in_anthropics_words(shown["message"])
            error.body = {"type": "error", "error": shown, "request_id": context.request_id}
        return error


class FramedRoute(Route):
    """A route for some methods; `refusal` answers all others."""

    def __init__(self, path: str, app: ASGIApp, methods: Collection[str], refusal: ASGIApp) -> None:
        super().__init__(path, app, methods=methods)
        self.methods: set[str] = set(methods)
        self._refusal = refusal

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app if scope["method"] in self.methods else self._refusal
        await app(scope, receive, send)


class Asgi:
    """Wraps a function as an ASGI app: Starlette would call a plain function with a request."""

    def __init__(self, call: ASGIApp) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)


async def not_served(context: RequestContext, body: bytes) -> None:
    """Raises ApiError 404."""
    scope = context.scope
    known = ", ".join([*(f"/v1{endpoint.path}" for endpoint in (MODELS, *ENDPOINTS)), MCP.path])
    raise ApiError(
        404,
        f"{scope['method']} {scope['path'][:200]} is not served here; there are {known}",
        code="not_found",
    )


def wrong_method(methods: Collection[str]) -> Handler:
    async def refuse(context: RequestContext, body: bytes) -> None:
        raise refusal(context.scope, methods)

    return refuse


def refusal(scope: Scope, methods: Collection[str]) -> ApiError:
    allowed = ", ".join(methods)
    return ApiError(
        405,
        f"{scope['path'][:200]} is served for {allowed}, and not for {scope['method'][:20]}",
        code="method_not_allowed",
        headers={"allow": allowed},
    )


async def _disconnected(receive: Receive, leave: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    leave()
