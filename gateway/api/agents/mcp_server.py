"""HTTP endpoints for agents: /mcp, and the wiki as text at /llms.txt and /llms-full.txt.

A search or a page counts as one request of its key. Questions go through this gateway like any
client's, with the same key, so that models, limits, usage and logs apply without extra code.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.types import ASGIApp, Message

from core import threads
from core.sse import events
from core.threads import Lazy
from gateway.access.auth import GROUPS_HEADER
from gateway.access.keys import Key
from gateway.answering.grounding.neutral import neutral
from gateway.api.agents import llms
from gateway.api.agents.pages import Pages
from gateway.api.agents.results import DocsAnswer, Link, Source
from gateway.api.context import RequestContext
from gateway.api.plan import RequestResult
from gateway.http.asgi import (
    ApiError,
    Reply,
    broken_off,
    dump,
    send_start,
    too_large,
)
from gateway.http.json_body import parse_object
from gateway.routing.aliases import DOCS
from gateway.runtime.container import Container
from gateway.settings import Alias
from gateway.telemetry import shown_pages
from gateway.telemetry.metrics import LEFT

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from gateway.api.agents import tools

TEXTS = {"/llms.txt": llms.overview, "/llms-full.txt": llms.whole}
# Bytes of an agent's message; a question has a few hundred. The MCP library blocked the event loop
# for 115 ms with 190,000 arguments (2 MiB).
LONGEST = 256 * 1024
PIECE = 65536  # bytes of text per write
# The model's name in usage and logs for answers without a model.
INDEX = "index"
# Readers of /llms.txt without a key, where allowed: they see the wikis of `docs`.
ANYBODY = Key("public", "public", "", datetime.fromtimestamp(0, UTC), models=(DOCS,))
# The client's headers that identify it and its reader.
_KEYS = (b"authorization", b"x-api-key", b"api-key", GROUPS_HEADER.encode())


class Reach(NamedTuple):
    """What a key may read of the wikis."""

    alias: str
    """The alias that answers its questions."""
    sources: tuple[str, ...]
    """The wikis, or empty for all."""


def reach(key: Key, aliases: Mapping[str, Alias]) -> Reach:
    """Returns the wikis behind the key's aliases: a key may read what it may ask about.

    Raises:
        ApiError: 403, the key may use no alias that answers from a wiki.
    """
    grounded = {n: alias for n, alias in aliases.items() if alias.grounding and key.allows(n)}
    if not grounded:
        raise ApiError(
            403,
            f"this key may use {', '.join(key.models)}, which do not answer from the wiki: use a"
            f" key that may use {DOCS!r} (askdocs keys create NAME --models {DOCS})",
            kind="permission_error",
            code="model_not_allowed",
        )
    alias = DOCS if DOCS in grounded else next(iter(grounded))
    if any(not candidate.sources for candidate in grounded.values()):
        return Reach(alias, ())
    return Reach(
        alias, tuple(dict.fromkeys(s for candidate in grounded.values() for s in candidate.sources))
    )


class McpServer:
    """Answers agents, in one worker."""

    def __init__(self, gateway: ASGIApp, container: Container) -> None:
        """`gateway` answers the questions."""
        self._gateway = gateway
        self._container = container
        self._longest = min(LONGEST, container.settings.max_body)
        self._mcp = Lazy(partial(_mcp, self._longest))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve requests until the block exits."""
        try:
            yield
        finally:
            await self._mcp.close()

    async def mcp(self, context: RequestContext, body: bytes) -> None:
        """Answer a message of the Model Context Protocol. Raises ApiError 413."""
        if len(body) > self._longest:
            raise too_large(self._longest)
        session = _Session(self._gateway, self._container, context)
        scope = {**context.scope, "state": {**context.scope["state"], "session": session}}
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:  # the gateway itself notices when the client disconnects
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": body}

        manager = await self._mcp.get()
        try:
            await manager.handle_request(scope, receive, context.response)
        finally:
            session.close()

    async def text(self, context: RequestContext, body: bytes) -> None:
        """Send the wiki as text, streamed from the index. Raises ApiError."""
        path, send = context.scope["path"], context.response
        session = _Session(self._gateway, self._container, context)
        try:
            sources = (await session.reached(path.removeprefix("/"))).sources
            session.gives_all()
            grounding = await self._container.library.open_to(context.reader)
            chunks = TEXTS[path](grounding.index, sources)
            await send_start(send, 200, "text/plain; charset=utf-8")
            while some := await threads.search(_some, chunks):
                await send({"type": "http.response.body", "body": some, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            session.close()


@asynccontextmanager
async def _mcp(max_body: int) -> AsyncIterator["StreamableHTTPSessionManager"]:
    """Starts the library when the first agent connects: it takes a second and 30 MB to load."""
    manager = await asyncio.to_thread(_load_mcp, max_body)
    async with manager.run():
        yield manager


def _load_mcp(max_body: int) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from gateway.api.agents import tools

    # No sessions: any worker answers any request. DNS rebinding needs no check of the host name, as
    # only holders of a key are served.
    server = tools.server(_session_of)
    return StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=max_body)


def _session_of(context: "tools.Context") -> "_Session":
    assert context.request is not None
    session = context.request.scope["state"]["session"]
    assert isinstance(session, _Session)
    return session


class _Session:
    """Serves one request by an agent."""

    def __init__(self, gateway: ASGIApp, container: Container, context: RequestContext) -> None:
        self._gateway = gateway
        self._container = container
        self._context = context
        self._is_counted = False
        self._pages: list[Pages] = []
        self._gives_all = False

    async def pages(self, purpose: str) -> Pages:
        grounding = await self._container.library.open_to(self._context.reader)
        pages = Pages(grounding, (await self.reached(purpose)).sources)
        self._pages.append(pages)
        return pages

    async def reached(self, purpose: str) -> Reach:
        """Returns what the key may read, and counts a request."""
        reached = self._reach()
        context = self._context
        context.set_alias(purpose)
        await context.reserve(self._container.recorder.limiter)
        self._is_counted = True
        return reached

    def gives_all(self) -> None:
        """Record that the agent gets the text of all pages that it may read."""
        self._gives_all = True

    def close(self) -> None:
        """End the request."""
        if self._is_counted:
            response = self._context.response
            status = LEFT if response.client_left else response.status
            every = (shown_pages.EVERY,) if self._gives_all else ()
            seen = (url for pages in self._pages for url in pages.shown)
            self._context.result = RequestResult(status, model=INDEX, shown=(*every, *seen))

    async def ask(self, question: str, tell: "tools.Tell") -> DocsAnswer:
        messages = [{"role": "user", "content": question}]
        body = {"model": self._reach().alias, "messages": messages, "stream": True}
        reply = await Reply.open(self._gateway, self._scope(), dump(body))
        text, facts = "", None
        try:
            if reply.status != 200:
                raise _refused(parse_object(await reply.body()))
            async for data in events(reply.chunks()):
                chunk = {} if data == "[DONE]" else parse_object(data.encode())
                if "error" in chunk:
                    raise _refused(chunk)
                fields = chunk.get("askdocs", {})
                if "reading" in fields:
                    titles = ", ".join(neutral(page["title"]) for page in fields["reading"])
                    await tell(f"Reading {titles}")
                elif fields:
                    facts = fields
                for choice in chunk.get("choices", []):
                    text += choice["delta"].get("content") or ""
                    await tell("Answering")
        finally:
            await reply.close()
        if facts is None:
            raise broken_off()
        return DocsAnswer(
            answered=not facts["refused"],
            answer=text,
            caution=facts["caution"],
            sources=[Source.model_validate(source) for source in facts["sources"]],
            related=[Link.model_validate(link) for link in facts["pages"]],
        )

    def _reach(self) -> Reach:
        if not self._container.has_wiki:
            raise ApiError(
                404,
                "this gateway has no wiki: its operator adds one with askdocs docs sync",
                code="no_wiki",
            )
        return reach(self._context.key, self._container.aliases.table.aliases)

    def _scope(self) -> dict[str, Any]:
        """The scope of a chat request by the same client."""
        scope = self._context.scope
        headers = [(k, v) for k, v in scope["headers"] if k in _KEYS]
        # Both log lines share one ID.
        headers.append((b"x-request-id", self._context.request_id.encode()))
        headers.append((b"x-askdocs-progress", b"on"))
        path = "/v1/chat/completions"
        # Without the server's direct writer: this response is not the client's.
        return {
            **scope,
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "extensions": {},
        }


def _refused(chunk: dict[str, Any]) -> ApiError:
    return ApiError(502, str(chunk["error"]["message"]))


def _some(chunks: Iterator[str]) -> bytes:
    """The next `PIECE` bytes or slightly more; empty at the end."""
    some = bytearray()
    for chunk in chunks:
        some += chunk.encode()
        if len(some) >= PIECE:
            break
    return bytes(some)
