"""The gateway: one ASGI app with keys, limits, aliases, grounding and a fast lane beside LiteLLM.

`Gateway.routes` lists all routes; nothing else is served, so LiteLLM's admin pages stay internal.
Each request passes the frame (`gateway.api.frame`), and requests to models also the pipeline
(`gateway.api.pipeline`).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AskdocsError
from core.settings import load
from gateway.access.keys import Key
from gateway.api import readable, votes
from gateway.api.agents import mcp_server
from gateway.api.agents.mcp_server import McpServer
from gateway.api.context import request_id
from gateway.api.endpoints import (
    COUNT_TOKENS,
    DESCRIPTION,
    ENDPOINTS,
    GROUNDING,
    MCP,
    MESSAGES,
    MODELS,
    OTHER,
    Endpoint,
)
from gateway.api.frame import Asgi, Frame, FramedRoute, Handler, not_served, refusal, wrong_method
from gateway.api.handlers import Handlers, OpenPaths
from gateway.api.pipeline import Pipeline
from gateway.http.asgi import send_json
from gateway.http.hosts import AllowedHosts
from gateway.runtime.container import Container, running
from gateway.settings import GatewaySettings

log = logging.getLogger("askdocs.gateway")

# Response headers that a page in a browser may read.
EXPOSED = [
    "x-request-id",
    "x-askdocs-model",
    "x-askdocs-fallback",
    GROUNDING,
    "retry-after",
    "retry-after-ms",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
]
# The endpoint of a single model.
MODEL = Endpoint(f"{MODELS.path}/{{name:path}}")
OPEN_METHODS = ("GET", "HEAD")

OpenAnswer = Callable[[Headers, dict[str, str], Send], Awaitable[None]]


class Gateway:
    """The ASGI app."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._container: Container  # set at startup, like the attributes below
        self._pipeline: Pipeline
        self._handlers: Handlers
        self._mcp_server: McpServer
        routes = self.routes()
        # Most requests match one of these, without trying all patterns.
        self._exact = {route.path: route for route in routes if "{" not in route.path}
        self._router = Router(routes, redirect_slashes=False, default=self._missing())

    def routes(self) -> list[Route]:
        """All routes; other methods get 405."""
        opened = OpenPaths(lambda: self._container)
        return [
            *(
                route
                for endpoint in ENDPOINTS
                for route in self._v1(endpoint, "POST", self._asking(endpoint))
            ),
            *self._v1(
                COUNT_TOKENS, "POST", lambda *request: self._pipeline.count(*request), MESSAGES
            ),
            *self._v1(MODELS, "GET", lambda *request: self._handlers.models(*request)),
            *self._v1(MODEL, "GET", lambda *request: self._handlers.model(*request), OTHER),
            *self._v1(MCP, "POST", lambda *request: self._mcp_server.mcp(*request)),
            self._route(votes.PATH, "POST", lambda *request: self._handlers.vote(*request)),
            self._route(readable.PATH, "POST", lambda *request: self._handlers.readable(*request)),
            *(
                self._route(
                    path, "GET", lambda *request: self._mcp_server.text(*request), public=True
                )
                for path in mcp_server.TEXTS
            ),
            self._open("/health", opened.health),
            self._open("/ready", opened.ready),
            self._open("/metrics", opened.metrics),
            self._open(DESCRIPTION, opened.description),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if (path := scope["path"])[-1:] == "/" and path != "/":
                scope = {**scope, "path": path.rstrip("/") or "/"}
            if route := self._exact.get(scope["path"]):
                await route.handle(scope, receive, send)
            else:
                await self._router.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(self._life(), receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    def _asking(self, endpoint: Endpoint) -> Handler:
        return lambda context, body: self._pipeline.answer(endpoint, context, body)

    def _v1(
        self, endpoint: Endpoint, method: str, handler: Handler, counted: Endpoint | None = None
    ) -> list[Route]:
        """Routes for the path with and without /v1."""
        paths = (f"/v1{endpoint.path}", endpoint.path)
        return [self._route(path, method, handler, counted or endpoint) for path in paths]

    def _route(
        self,
        path: str,
        method: str,
        handler: Handler,
        counted: Endpoint = OTHER,
        public: bool = False,
    ) -> Route:
        """`counted`: the endpoint's name in metrics and traces."""
        is_public = public and self._settings.llms_public
        identify = _anybody if is_public else None
        frame = Frame(lambda: self._container, counted, handler, identify)
        refusing = Frame(lambda: self._container, counted, wrong_method([method]), identify, False)
        return FramedRoute(path, frame, [method], refusing)

    def _open(self, path: str, answer: OpenAnswer) -> Route:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            headers = Headers(scope=scope)
            await answer(headers, {"x-request-id": request_id(headers)}, send)

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            error = refusal(scope, OPEN_METHODS)
            tag = {"x-request-id": request_id(Headers(scope=scope))}
            await send_json(send, error.status, error.body, {**tag, **error.headers})

        return FramedRoute(path, Asgi(call), OPEN_METHODS, Asgi(refuse))

    def _missing(self) -> ASGIApp:
        return Frame(lambda: self._container, OTHER, not_served, reads_body=False)

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        async with running(self._settings) as self._container:
            self._pipeline = Pipeline(self._container)
            self._handlers = Handlers(self._container, self._pipeline)
            self._mcp_server = McpServer(self, self._container)
            async with self._mcp_server.open():
                yield


async def _anybody(headers: Headers) -> Key:
    return mcp_server.ANYBODY


async def _lifespan(life: Any, receive: Receive, send: Send) -> None:
    await receive()
    try:
        async with life:
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except Exception as error:
        if not isinstance(error, AskdocsError):
            log.exception("start failed")
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.shutdown.complete"})


def create() -> ASGIApp:
    """Creates the app of one worker, with settings from the environment. Call `prepare` first."""
    settings = load(GatewaySettings)
    app: ASGIApp = Gateway(settings)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    return AllowedHosts(app, (settings.host, *settings.hosts), "hosts of [gateway]")
