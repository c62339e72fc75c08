"""Handlers that need no model: models, votes, and the public paths."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Send

from core import threads
from core.database import Unreachable
from core.errors import AskdocsError
from gateway.answering.grounding.prompt import fingerprint
from gateway.api import openapi, readable, votes
from gateway.api.agents.mcp_server import reach
from gateway.api.context import RequestContext
from gateway.api.pipeline import Pipeline, not_allowed
from gateway.http.asgi import ApiError, send_json
from gateway.http.json_body import parse_object
from gateway.routing.aliases import BASE
from gateway.runtime.container import Container
from gateway.upstream.local.models import CONTEXT


class Handlers:
    """Each handler answers one request, and raises ApiError."""

    def __init__(self, container: Container, pipeline: Pipeline) -> None:
        self._container = container
        self._pipeline = pipeline

    async def models(self, context: RequestContext, body: bytes) -> None:
        names = await self._pipeline.names(context.key)
        entries = await asyncio.gather(*(self._entry(name) for name in names))
        await send_json(context.response, 200, {"object": "list", "data": entries})

    async def model(self, context: RequestContext, body: bytes) -> None:
        name: str = context.scope["path_params"]["name"]
        if not context.key.allows(name):
            raise not_allowed(context.key, name)
        known = name in self._container.aliases.table.aliases or await self._container.fleet.find(
            name
        )
        if not known:
            raise await self._pipeline.unknown(name, context.key)
        await send_json(context.response, 200, await self._entry(name))

    async def vote(self, context: RequestContext, body: bytes) -> None:
        """Count a reader's vote."""
        container, key = self._container, context.key
        alias, model, vote = votes.read(parse_object(body))
        if not key.allows(alias):
            raise not_allowed(key, alias)
        table, statistics = container.aliases.table, container.recorder.statistics
        if alias not in table.aliases:
            raise votes.unknown_alias(alias, [name for name in table.aliases if key.allows(name)])
        try:
            # Do not reveal a model that the key cannot reach. A version that answered before a
            # promotion still gets its votes.
            may_answer = (
                key.allows(model)
                or model in table.models(alias)
                or await statistics.has_answered(alias, model)
            )
            if not may_answer or await container.fleet.find(model) is None:
                raise await self._pipeline.unknown(model, key)
            context.set_alias(alias)
            await context.reserve(container.recorder.limiter)
            await statistics.vote(alias, model, vote)
        except Unreachable:
            raise _not_counted() from None
        container.recorder.metrics.voted(alias, model, vote)
        await send_json(context.response, 200, {"counted": True})

    async def readable(self, context: RequestContext, body: bytes) -> None:
        """Report which of the pages the caller may read."""
        container = self._container
        urls = readable.urls(parse_object(body))
        await context.reserve(container.recorder.limiter)
        sources = reach(context.key, container.aliases.table.aliases).sources
        rights = container.library.rights
        answer = await threads.search(readable.answer, rights, context.reader, sources, urls)
        await send_json(context.response, 200, answer)

    async def _entry(self, name: str) -> dict[str, Any]:
        """A model's entry in `/v1/models`. Continue reads `max_model_len`, as vLLM writes it."""
        route = self._container.aliases.table.route(name)
        target = route.candidates[0]
        served = await self._container.fleet.find(target)
        context = CONTEXT if served and served.local else None
        serves = None
        if served and served.engine:
            with suppress(AskdocsError):
                model = await served.engine.model()
                context, serves = model.context, model.id
        settings = self._container.settings
        if target == BASE:
            serves = settings.model_name or serves
        reads = {
            "answers": settings.answers,
            "page_budget": settings.page_budget,
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


class OpenPaths:
    """Public endpoints, served without a key and without a usage record."""

    def __init__(self, container: Callable[[], Container]) -> None:
        self._container = container

    async def health(self, headers: Headers, tag: dict[str, str], send: Send) -> None:
        await send_json(send, 200, {"status": "ok"}, tag)

    async def description(self, headers: Headers, tag: dict[str, str], send: Send) -> None:
        await send_json(send, 200, openapi.description(), tag)

    async def ready(self, headers: Headers, tag: dict[str, str], send: Send) -> None:
        if waiting := await self._container().waits_for():
            body = {"status": "waiting", "for": waiting}
            await send_json(send, 503, body, {**tag, "retry-after": "3"})
        else:
            failing = await threads.files(self._container().failing)
            degraded = {"degraded": failing} if failing else {}
            await send_json(send, 200, {"status": "ready", **degraded}, tag)

    async def metrics(self, headers: Headers, tag: dict[str, str], send: Send) -> None:
        container = self._container()
        metrics = container.recorder.metrics
        caches, _ = await asyncio.gather(container.fleet.prefix_caches(), container.health.look())
        for model, cache in caches.items():
            metrics.prefix_cache(model, *cache)
        shown = await metrics.expose(headers.get("accept", ""))
        kind = (b"content-type", shown.content_type.encode())
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await send({"type": "http.response.body", "body": shown.body})


def _not_counted() -> ApiError:
    return ApiError(
        503,
        "this vote cannot be counted now, because the database is unavailable: send it again",
        kind="server_error",
        code="database_unavailable",
        headers={"retry-after": "3"},
    )
