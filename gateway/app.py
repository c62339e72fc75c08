"""The gateway: one ASGI app with keys, limits, aliases, grounding and a fast lane around LiteLLM.

In order: request id, key, body, limits, alias, grounding, then the first model that answers. What
is not listed in ENDPOINTS is not served: LiteLLM's admin pages stay inside.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import fim, openapi, relay, room, validate, votes, warming
from gateway.agents import door
from gateway.agents.door import Door
from gateway.aliases import BASE, Route
from gateway.asked import wants_grounding
from gateway.config import GatewaySettings
from gateway.continuation import Continuation
from gateway.database import Unreachable
from gateway.dispatch import Call, unknown_model
from gateway.errors import AskdocsError
from gateway.exchange import Exchange, request_id
from gateway.fleet import Served
from gateway.grounding.prompt import fingerprint, instructed
from gateway.hosts import AllowedHosts
from gateway.http import ApiError, parse_object, read_body, send_events, send_json
from gateway.keys import INSTALLATION
from gateway.local import CONTEXT
from gateway.parts import Parts, running
from gateway.settings import load

log = logging.getLogger("askdocs.gateway")

# Answered by a model as they are; the bytes of our own engines are relayed.
DIRECT = ("/chat/completions", "/completions", "/embeddings", "/rerank")
# Translated to chat by LiteLLM, which then asks this gateway.
TRANSLATED = ("/responses", "/messages")
ENDPOINTS = (*DIRECT, *TRANSLATED)
# By their own names in a trace; what a client makes up is `other`.
TRACED = (*ENDPOINTS, "/models", door.MCP)
# Whose model is told the alias's instructions.
CHATS = ("/chat/completions", *TRANSLATED)
# What a page in a browser may read of a response.
EXPOSED = [
    "x-request-id",
    "x-askdocs-model",
    "x-askdocs-fallback",
    "retry-after",
    "retry-after-ms",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
]
OPEN = ("/health", "/ready", "/metrics", openapi.PATH)
# For the installation's own key: `askdocs docs warm`.
WARM = "/askdocs/warm"


class Gateway:
    """The ASGI app."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._parts: Parts  # from its start on
        self._door: Door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(self._life(), receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        # The scope may be one for all requests of a connection's middleware: a copy is ours.
        scope = {**scope, "state": {"request_id": request_id(headers)}}
        path = "/" + scope["path"].strip("/")
        if path in OPEN:
            await self._open(path, scope, headers, send)
            return
        endpoint = path.removeprefix("/v1")
        exchange = Exchange(scope, endpoint, self._parts.books)
        if tracer := self._parts.tracer:
            known = endpoint in TRACED and scope["method"] in ("GET", "POST")
            name = f"{scope['method']} {path}" if known else "other"
            exchange.span = tracer.begin(name, "SERVER", scope["headers"])
        sender = _Sender(send, exchange)
        watching = None
        task = asyncio.current_task()
        assert task is not None
        try:
            if path in door.TEXTS and self._settings.llms_public:
                exchange.known(door.ANYBODY)
            else:
                exchange.known(await self._parts.keyring.identify(headers))
            if endpoint in ENDPOINTS and scope["method"] == "POST":
                body = await read_body(headers, receive, self._parts.settings.max_body)
                watching = asyncio.ensure_future(_leave(receive, task, exchange))
                await self._ask(exchange, headers, body, sender)
            elif path == WARM and scope["method"] == "POST":
                body = await read_body(headers, receive, self._parts.settings.max_body)
                watching = asyncio.ensure_future(_leave(receive, task, exchange))
                await self._warm(exchange, body, sender)
            elif path == votes.PATH and scope["method"] == "POST":
                body = await read_body(headers, receive, self._parts.settings.max_body)
                await self._vote(exchange, body, sender)
            elif endpoint == door.MCP:
                if scope["method"] != "POST":
                    raise _only_posted(scope)
                body = await read_body(headers, receive, self._parts.settings.max_body)
                watching = asyncio.ensure_future(_leave(receive, task, exchange))
                await self._door.mcp(exchange, body, sender)
            elif path in door.TEXTS and scope["method"] == "GET":
                watching = asyncio.ensure_future(_leave(receive, task, exchange))
                await self._door.text(exchange, path, sender)
            elif endpoint == "/models" and scope["method"] == "GET":
                await self._models(exchange, sender)
            elif endpoint.startswith("/models/") and scope["method"] == "GET":
                await self._model(endpoint.removeprefix("/models/"), exchange, sender)
            else:
                raise _not_served(scope)
        except ApiError as error:
            await sender.fail(error)
        except ConnectionError:
            exchange.has_left = True
        except asyncio.CancelledError:
            if not exchange.has_left:
                raise
            task.uncancel()
        except Exception:
            log.exception("request %s failed", exchange.request_id)
            text = f"the gateway failed; its log names request {exchange.request_id}"
            await sender.fail(ApiError(500, text, kind="server_error"))
        finally:
            exchange.is_over = True
            if watching:
                watching.cancel()
            await exchange.close()

    async def _ask(self, exchange: Exchange, headers: Headers, body: bytes, send: Send) -> None:
        """A request to a model."""
        parts = self._parts
        endpoint = exchange.endpoint
        request = parse_object(body)
        validate.check(endpoint, request)
        name: str = request["model"]
        if not exchange.key.allows(name):
            raise _not_allowed(exchange, name)
        route = parts.aliases.table.route(name, _user(request, headers))
        if wanted := headers.get("x-askdocs-model"):
            # As the alias would answer if it led there, and nowhere else.
            if not exchange.key.allows(wanted):
                raise _not_allowed(exchange, wanted)
            if await parts.fleet.find(wanted) is None:
                raise await self._unknown_model(wanted, exchange)
            route = replace(route, candidates=(wanted,))
        first = await self._first(route, exchange)
        exchange.asked(name, route.candidates[0], bool(request.get("stream")))
        wanted_grounding = endpoint in CHATS and wants_grounding(request, headers)
        exchange.grounded = (
            endpoint == "/chat/completions"
            and route.grounding
            and wanted_grounding
            and parts.has_wiki
        )
        default = parts.settings.max_tokens if exchange.grounded else parts.settings.max_output
        told = len(route.instructions.encode()) if endpoint in CHATS else 0
        space = room.bound(endpoint, request, len(body) + told, default)
        space = parts.chat.bound(space) if exchange.grounded else room.within(space, first.engine)
        for other in room.OTHER_NAMES:
            request.pop(other, None)
        if endpoint == "/chat/completions" and not exchange.grounded:
            request["messages"] = instructed(request["messages"], route.instructions)
        with parts.traffic.request():
            if not self._is_inner(exchange, headers):
                await exchange.admit(space, partial(room.count_nearly, request, first.engine))
            if endpoint in TRANSLATED:
                # Which asks this gateway: then the model is told the alias's instructions.
                await relay.translated(parts.litellm, exchange, request, send)
            elif exchange.grounded:
                assert parts.chat is not None
                counter = first if first.engine else parts.fleet.base
                await parts.chat.answer(request, exchange, route, counter, send)
            else:
                render = _renderer(request, space)
                call = Call(endpoint, exchange.scope, exchange.stream, render, exchange.span)
                opened = await parts.dispatch.open(call, route)
                rest = Continuation(parts.dispatch, parts.fleet.find, call, route, request)
                await relay.relay(opened, exchange, request, rest, send)

    async def _first(self, route: Route, exchange: Exchange) -> Served:
        """The model that will answer, as far as one can know."""
        fleet = self._parts.fleet
        found = [fleet.get(name) or await fleet.find(name) for name in route.candidates]
        served = [one for one in found if one is not None]
        if not served:
            raise await self._unknown_model(route.alias, exchange)
        return next((one for one in served if not one.breaker.is_open), served[0])

    async def _unknown_model(self, name: str, exchange: Exchange) -> ApiError:
        return unknown_model(name, await self._names(exchange))

    async def _names(self, exchange: Exchange) -> list[str]:
        """The models that the key may use: aliases first, as some clients take the first one."""
        names = [*self._parts.aliases.table.aliases, *await self._parts.fleet.names()]
        return [name for name in dict.fromkeys(names) if exchange.key.allows(name)]

    def _is_inner(self, exchange: Exchange, headers: Headers) -> bool:
        """Is it LiteLLM's translation of a request that is accounted for already?"""
        inner = exchange.key.id == INSTALLATION and "x-askdocs-loopback" in headers
        exchange.is_inner = inner
        return inner

    async def _open(self, path: str, scope: Scope, headers: Headers, send: Send) -> None:
        tag = {"x-request-id": scope["state"]["request_id"]}
        if scope["method"] not in ("GET", "HEAD"):
            error = _not_served(scope)
            await send_json(send, error.status, error.body, {**tag, **error.headers})
        elif path == "/health":
            await send_json(send, 200, {"status": "ok"}, tag)
        elif path == openapi.PATH:
            await send_json(send, 200, openapi.description(), tag)
        elif path == "/metrics":
            caches, _ = await asyncio.gather(
                self._parts.fleet.prefix_caches(), self._parts.condition.look()
            )
            for model, cache in caches.items():
                self._parts.books.metrics.prefix_cache(model, *cache)
            shown = await self._parts.books.metrics.expose(headers.get("accept", ""))
            kind = (b"content-type", shown.content_type.encode())
            await send({"type": "http.response.start", "status": 200, "headers": [kind]})
            await send({"type": "http.response.body", "body": shown.body})
        elif waiting := await self._parts.waits_for():
            body = {"status": "waiting", "for": waiting}
            await send_json(send, 503, body, {**tag, "retry-after": "3"})
        else:
            await send_json(send, 200, {"status": "ready"}, tag)

    async def _warm(self, exchange: Exchange, body: bytes, send: Send) -> None:
        """Warm pages now, and tell about each."""
        if exchange.key.id != INSTALLATION:
            text = "only the key of the installation may warm pages"
            raise ApiError(403, text, kind="permission_error", code="not_allowed")
        if not self._parts.has_wiki:
            raise ApiError(
                404, "this gateway has no wiki: askdocs docs sync reads one", code="no_wiki"
            )
        pages = await warming.chosen(self._parts.warmer, parse_object(body))
        await send_events(send, warming.events(self._parts.warmer, pages))

    async def _vote(self, exchange: Exchange, body: bytes, send: Send) -> None:
        """Count a reader's vote."""
        alias, model, vote = votes.read(parse_object(body))
        if not exchange.key.allows(alias):
            raise _not_allowed(exchange, alias)
        if alias not in self._parts.aliases.table.aliases:
            raise await self._unknown_model(alias, exchange)
        if await self._parts.fleet.find(model) is None:
            raise await self._unknown_model(model, exchange)
        try:
            await self._parts.books.outcomes.vote(alias, model, vote)
        except Unreachable:
            raise _not_counted() from None
        self._parts.books.metrics.voted(alias, model, vote)
        await send_json(send, 200, {"counted": True})

    async def _models(self, exchange: Exchange, send: Send) -> None:
        names = dict.fromkeys(
            [*self._parts.aliases.table.aliases, *await self._parts.fleet.names()]
        )
        allowed = [name for name in names if exchange.key.allows(name)]
        entries = await asyncio.gather(*(self._entry(name) for name in allowed))
        await send_json(send, 200, {"object": "list", "data": entries})

    async def _model(self, name: str, exchange: Exchange, send: Send) -> None:
        if not exchange.key.allows(name):
            raise _not_allowed(exchange, name)
        known = name in self._parts.aliases.table.aliases or await self._parts.fleet.find(name)
        if not known:
            raise await self._unknown_model(name, exchange)
        await send_json(send, 200, await self._entry(name))

    async def _entry(self, name: str) -> dict[str, Any]:
        """A model as `/v1/models` lists it. Continue reads `max_model_len`, as vLLM writes it."""
        route = self._parts.aliases.table.route(name)
        target = route.candidates[0]
        served = await self._parts.fleet.find(target)
        context = CONTEXT if served and served.local else None
        serves = None
        if served and served.engine:
            with suppress(AskdocsError):
                found = await served.engine.model()
                context, serves = found.context, found.id
        settings = self._settings
        if target == BASE:
            serves = settings.model_name or serves
        reads = {
            "answers": settings.answers,
            "page_budget": settings.page_budget,
            "max_pages": settings.max_pages,
            "prompt": fingerprint(route.instructions),
        }
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "askdocs",
            "root": target,
            "max_model_len": context,
            "serves": serves,
            **({"grounding": reads} if route.grounding else {}),
            **({"mode": served.local.mode} if served and served.local else {}),
        }

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        async with running(self._settings) as self._parts:
            self._door = Door(self, self._parts)
            async with self._door.open():
                yield


class _Sender:
    """`send`, with the headers that every response has; knows what has gone out."""

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self._exchange = exchange
        self._started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            exchange = self._exchange
            exchange.status = message["status"]
            headers = message["headers"]
            headers.append((b"x-request-id", exchange.request_id.encode()))
            for name, value in exchange.headers.items():
                headers.append((name.encode(), value.encode("latin-1", "replace")))
        elif not message.get("more_body"):
            self._exchange.is_over = True
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Answer with the error; if the response has begun, end it without its proper end."""
        if self._started:
            self._exchange.status = error.status
            raise error
        await send_json(self, error.status, error.body, error.headers)


async def _leave(receive: Receive, task: "asyncio.Task[Any]", exchange: Exchange) -> None:
    """Cancel `task` when the client leaves: that closes the way to the engine, too."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if not exchange.is_over:
        exchange.has_left = True
        task.cancel()


def _renderer(request: dict[str, Any], space: room.Room):  # type: ignore[no-untyped-def]
    """What makes the body for each candidate."""

    async def render(served: Served) -> dict[str, Any]:
        body = dict(request)
        fitting = await room.fit(space, request, served.engine) if served.engine else space
        if fitting.answer is not None:
            body.pop("max_completion_tokens", None)
            body["max_tokens"] = fitting.answer
        if body.get("stream"):
            options = body.get("stream_options")
            body["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        if body.get("suffix") is not None:
            if served.fim is None:
                raise fim.not_supported(served.name)
            body["prompt"] = await served.fim.render(body["prompt"], body.pop("suffix"))
        if messages := body.get("messages"):
            body["messages"] = [_plain_role(message) for message in messages]
        return body

    return render


def _plain_role(message: dict[str, Any]) -> dict[str, Any]:
    """`developer` is OpenAI's newer word for `system`; chat templates know only that one."""
    return {**message, "role": "system"} if message.get("role") == "developer" else message


def _user(request: dict[str, Any], headers: Headers) -> str | None:
    """Who asks, as far as the client says: a canary is sticky by it."""
    for name in ("user", "safety_identifier"):
        if isinstance(request.get(name), str) and request[name]:
            return str(request[name])
    return headers.get("x-session-id")


def _not_allowed(exchange: Exchange, name: str) -> ApiError:
    return ApiError(
        403,
        f"this key may not use {name[:200]!r}; it may use {', '.join(exchange.key.models)}",
        kind="permission_error",
        param="model",
        code="model_not_allowed",
    )


def _not_counted() -> ApiError:
    return ApiError(
        503,
        "this vote cannot be counted now, because the database is away: send it again",
        kind="server_error",
        code="database_unavailable",
        headers={"retry-after": "3"},
    )


def _methods(path: str) -> str:
    """Those under which a path is served; empty where there is nothing."""
    path = "/" + path.strip("/")
    endpoint = path.removeprefix("/v1")
    if path in OPEN:
        return "GET, HEAD"
    if endpoint == "/models" or endpoint.startswith("/models/") or path in door.TEXTS:
        return "GET"
    return "POST" if endpoint in ENDPOINTS or path in (WARM, votes.PATH) else ""


def _not_served(scope: Scope) -> ApiError:
    if methods := _methods(scope["path"]):
        return ApiError(
            405,
            f"{scope['path'][:200]} is served for {methods}, and not for {scope['method'][:20]}",
            code="method_not_allowed",
            headers={"allow": methods},
        )
    known = ", ".join([*(f"/v1{path}" for path in ("/models", *ENDPOINTS)), door.MCP])
    return ApiError(
        404,
        f"{scope['method']} {scope['path'][:200]} is not served here; there are {known}",
        code="not_found",
    )


def _only_posted(scope: Scope) -> ApiError:
    return ApiError(
        405,
        f"{scope['method']} {scope['path'][:200]}: there are no sessions here, so only POST is"
        " served",
        code="method_not_allowed",
        headers={"allow": "POST"},
    )


async def _lifespan(life, receive: Receive, send: Send) -> None:  # type: ignore[no-untyped-def]
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
    """The app of one worker, with the settings of the environment. `prepare` has gone before."""
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
