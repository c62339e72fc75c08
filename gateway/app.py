"""The gateway: one ASGI app with keys and grounding around LiteLLM's proxy.

In order: request id, body limit, key, route. What is not listed in ROUTES is not served: LiteLLM's
admin pages stay inside.
"""

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import auth, litellm_app
from gateway.chat import DOCS, Chat
from gateway.config import GatewaySettings
from gateway.engine import Engine
from gateway.errors import AskdocsError
from gateway.grounding import folder, index
from gateway.grounding.ground import Grounding
from gateway.http import ApiError, parse_object, read_body, send_json
from gateway.relay import relay
from gateway.traffic import Traffic
from gateway.warm import warm

log = logging.getLogger("askdocs.gateway")

BASE = "base"
MODELS = (DOCS, BASE)
# What LiteLLM serves behind the key. Chat and the model list are our own.
RELAYED = ("/completions", "/embeddings", "/responses", "/messages", "/rerank")


class Gateway:
    """The ASGI app."""

    def __init__(self, settings: GatewaySettings, inner: FastAPI, engine: Engine) -> None:
        if settings.key is None:
            raise AskdocsError("the gateway has no API key: set ASKDOCS_GATEWAY_KEY")
        self._key = settings.key
        self._settings = settings
        self._inner = inner
        self._engine = engine
        self._traffic = Traffic()
        self._grounding: Grounding | None = None
        self._chat: Chat | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(self._life(), receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = Headers(scope=scope).get("x-request-id", "")[:64] or uuid.uuid4().hex
        started = False

        async def tagged(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(raw=message["headers"])["x-request-id"] = request_id
            await send(message)

        try:
            await self._route(scope, receive, tagged)
        except ApiError as error:
            if started:
                raise
            await send_json(tagged, error.status, error.body, error.headers)
        except ConnectionError:
            pass  # the client left; nobody is there to answer
        except Exception:
            log.exception("request %s failed", request_id)
            if started:
                raise
            body = ApiError(500, f"the gateway failed; its log names request {request_id}").body
            await send_json(tagged, 500, body)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = "/" + scope["path"].strip("/")
        method = scope["method"]
        if path == "/health" and method == "GET":
            await send_json(send, 200, {"status": "ok"})
            return
        if path == "/ready" and method == "GET":
            await self._ready(send)
            return
        auth.check(self._key, Headers(scope=scope))
        path = path.removeprefix("/v1")
        if path == "/models" and method == "GET":
            await send_json(send, 200, {"object": "list", "data": await self._models()})
        elif path.startswith("/models/") and method == "GET":
            await self._model(path.removeprefix("/models/"), send)
        elif path in ("/chat/completions", *RELAYED) and method == "POST":
            body = await read_body(receive, self._settings.max_body)
            self._refuse_unknown_model(parse_object(body).get("model"))
            scope = self._inward(scope, f"/v1{path}", body)
            if path == "/chat/completions":
                assert self._chat is not None
                await self._chat(scope, receive, send)
            else:
                with self._traffic.request():
                    await relay(self._inner, scope, receive, send, self._engine)
        else:
            known = "/v1/models, /v1/chat/completions, " + ", ".join("/v1" + r for r in RELAYED)
            raise ApiError(
                404,
                f"{method} {scope['path']} is not served here; there are {known}",
                code="not_found",
            )

    def _inward(self, scope: Scope, path: str, body: bytes) -> Scope:
        """The scope for LiteLLM: one spelling of path and key, and the body beside it."""
        # LiteLLM reads a body as a form when its type says so, which is curl's default.
        dropped = (b"authorization", b"x-api-key", b"api-key", b"accept-encoding", b"content-type")
        headers = [(k, v) for k, v in scope["headers"] if k not in dropped]
        bearer = f"Bearer {self._key.get_secret_value()}".encode()
        return {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "headers": [
                *headers,
                (b"authorization", bearer),
                (b"content-type", b"application/json"),
            ],
            "state": {**scope.get("state", {}), "body": body},
        }

    def _refuse_unknown_model(self, name: object) -> None:
        if name not in MODELS:
            raise ApiError(
                404,
                f"the model {name!r} does not exist; there are {', '.join(MODELS)}",
                param="model",
                code="model_not_found",
            )

    async def _ready(self, send: Send) -> None:
        if await self._engine.is_ready():
            await send_json(send, 200, {"status": "ready"})
        else:
            body = {"status": "waiting", "for": "engine"}
            await send_json(send, 503, body, {"retry-after": "3"})

    async def _models(self) -> list[dict[str, object]]:
        context = (await self._engine.model()).context
        return [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "askdocs",
                "root": self._settings.model_name or BASE,
                "max_model_len": context,
            }
            for name in MODELS
        ]

    async def _model(self, name: str, send: Send) -> None:
        self._refuse_unknown_model(name)
        await send_json(send, 200, next(m for m in await self._models() if m["id"] == name))

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        settings = self._settings
        if settings.docs is not None:
            self._grounding = Grounding(open_index(settings), self._engine.count)
        self._chat = Chat(self._inner, settings, self._engine, self._grounding, self._traffic)
        async with self._inner.router.lifespan_context(self._inner):
            warming = None
            if settings.warm and self._grounding is not None:
                warming = asyncio.create_task(
                    warm(self._engine, self._grounding, self._traffic, settings.page_budget)
                )
            try:
                yield
            finally:
                if warming:
                    warming.cancel()
                    await asyncio.gather(warming, return_exceptions=True)
                await self._engine.close()


def open_index(settings: GatewaySettings) -> index.Index:
    """The index of the wiki's folder, built when it is missing or out of date.

    Raises:
        AskdocsError: the folder has no page, or the index cannot be written.
    """
    assert settings.docs is not None
    reading = folder.read(settings.docs, settings.site_url)
    for problem in reading.problems:
        log.warning("%s", problem)
    try:
        if not index.is_current(settings.index, reading.pages):
            index.build(settings.index, reading.pages)
        return index.Index(settings.index)
    except (OSError, sqlite3.Error) as error:
        raise AskdocsError(
            f"{settings.index}: the search index cannot be written ({error}):"
            " free disk space, or choose another --home"
        ) from None


async def _lifespan(life, receive: Receive, send: Send) -> None:  # type: ignore[no-untyped-def]
    await receive()
    try:
        async with life:
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except Exception as error:
        log.exception("start failed")
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.shutdown.complete"})


async def create(settings: GatewaySettings) -> ASGIApp:
    """Connect to the engine, load LiteLLM, and return the app. Raises AskdocsError."""
    if settings.key is None:
        raise AskdocsError("the gateway has no API key: set ASKDOCS_GATEWAY_KEY")
    secret = settings.engine_key.get_secret_value() if settings.engine_key else None
    engine = Engine(settings.engine_url, secret, settings.engine_model)
    inner = await asyncio.to_thread(
        litellm_app.load,
        settings.engine_url,
        settings.engine_model or (await engine.model()).id,
        secret,
        settings.key.get_secret_value(),
    )
    return Gateway(settings, inner, engine)
