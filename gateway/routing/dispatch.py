"""Sends a request to the first of its candidates that answers.

Candidates at our engines, and providers' models through LiteLLM, are called over the fast lane,
which relays bytes; models in this process are called directly. Nothing reaches the client before
the first byte of the answer, so the next candidate can be tried without the client noticing.
"""

import asyncio
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import httpx
import orjson
from starlette.types import Scope

from core.errors import AskdocsError
from core.sse import events
from gateway.api import schemas
from gateway.api.assemble import assemble, stream_of
from gateway.api.endpoints import CHAT, COMPLETIONS
from gateway.http import overflow
from gateway.http.asgi import ApiError, dump, engine_away, unavailable
from gateway.routing import abilities
from gateway.routing.abilities import is_forced, media, speaks
from gateway.routing.aliases import Route
from gateway.routing.registry import Fleet, Served
from gateway.routing.token_budget import choices
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import OFF, Span
from gateway.upstream import litellm
from gateway.upstream.bounds import LARGEST
from gateway.upstream.http_client import BrokenOff, Feed, LaneError, LaneReply
from gateway.upstream.salt import salted

# llama.cpp's complete answers to these are requested as streams: see assemble.py.
WHOLE = (CHAT.path, COMPLETIONS.path)
REFUSING = (408, 425, 429)  # in addition to every 5xx: another candidate may succeed
# Errors for the operator rather than the client: a provider's or engine's key, credit or
# permissions.
OPERATORS = (401, 402, 403)
GONE = b"does not exist"  # in an engine's error for a model that it does not serve (any more)
log = logging.getLogger("askdocs.gateway")

MISTAKE = re.compile(
    rb"(image|audio|video) input is not supported|Failed to parse (messages|tools)"
    rb"|Unknown reasoning format|does not support embeddings"
)
NO_API = re.compile(rb'does not support [^"]{1,30} API')  # vLLM's error for a missing endpoint
NAMED = re.compile(r"Field '([a-z_]{1,40})': ")  # llama.cpp's error for a value out of range
PROBE = 3.0  # seconds that an engine has to prove that it is alive


class Response(Protocol):
    """An incoming answer, over either lane."""

    status: int

    def header(self, name: bytes) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...
    def close(self) -> Awaitable[None] | None: ...


@dataclass(slots=True)
class Opened:
    """An answer whose first byte has arrived."""

    served: Served
    lane: str
    """fast, litellm for a provider, or local for a model in this process."""
    is_stream: bool
    first: bytes
    rest: AsyncIterator[bytes]
    response: Response
    model_there: bytes
    """The model's name in the answer, to be replaced with the gateway's name."""
    left: tuple[str, str] | None = None
    """The first candidate that did not answer, and the reason."""
    span: Span = OFF
    """Covers the time from the request to the end of the answer."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they arrive. Raises LaneError when it breaks off."""
        yield self.first
        async for chunk in self.rest:
            yield chunk

    async def through(self, feed: Feed) -> AsyncGenerator[bytes, None]:
        """The output of `feed` for the answer's bytes; it must not raise. Raises as `chunks`."""
        if made := feed(self.first):
            yield made
        if isinstance(self.response, LaneReply):
            async for made in self.response.through(feed):
                yield made
            return
        async for chunk in self.rest:
            if made := feed(chunk):
                yield made

    async def body(self, copies: int = 1) -> bytes:
        """The complete answer, assembled if it is a stream; `copies` as in `assemble`.

        Raises:
            LaneError, ApiError: the answer breaks off.
        """
        chunks = _within(LARGEST, self.chunks())
        if self.is_stream:
            return await assemble(events(chunks), copies)
        return b"".join([chunk async for chunk in chunks])

    async def close(self) -> None:
        self.span.end()
        await _closed(self.response)


@dataclass(slots=True)
class Call:
    """A request to a model."""

    path: str
    """Under /v1, for example `/chat/completions`."""
    scope: Scope
    """The client's ASGI scope, whose trace context is passed on."""
    stream: bool
    render: Callable[[Served], Awaitable[dict[str, Any]]]
    """Renders the request's body for a candidate, without `model`."""
    span: Span = OFF
    """The request's span in a trace."""
    session: str = field(default_factory=lambda: f"{random.getrandbits(64):016x}")
    """Shared by requests whose prompts have the same beginning: vLLM's router sends them to the
    replica that has it cached (`consistent_hash`; its `cache_aware` of 0.1.17 reads no prompts)."""
    salt: str = ""
    """See `gateway.upstream.salt`."""
    given: str = ""
    """The model that was sent the prompt, unless it failed."""

    @property
    def operation(self) -> str:
        """The operation's name in OpenTelemetry's conventions for generative AI."""
        named = {CHAT.path: "chat", COMPLETIONS.path: "text_completion"}
        return named.get(self.path, self.path.strip("/"))


class CandidateFailed(Exception):
    """A candidate did not answer."""

    def __init__(
        self, reason: str, answer: ApiError, *, timed_out: bool = False, may_be_own: bool = False
    ) -> None:
        """`may_be_own`: the reason may be the request itself, so the breaker does not count it."""
        super().__init__(reason)
        self.reason = reason
        self.answer = answer
        self.timed_out = timed_out
        self.may_be_own = may_be_own


class Dispatch:
    """Sends requests to the models of a fleet."""

    def __init__(self, fleet: Fleet, metrics: Metrics) -> None:
        self._metrics = metrics
        self._fleet = fleet

    async def open(self, call: Call, route: Route) -> Opened:
        """Returns the answer of the first candidate that gives one; close it when done.

        Raises:
            ApiError: the client's error as the engine reports it; 404 for a model that is not
                served; 503 when no candidate answers.
        """
        candidates, left = await self._candidates(route)
        failure: CandidateFailed | None = None
        for insist in (False, True):
            for served in candidates:
                # One at a time: a breaker that admits a trial request waits for its outcome.
                if not (insist or len(candidates) == 1 or served.breaker.admits()):
                    left = left or (served.name, "breaker")
                    continue
                patience = None if served is candidates[-1] else route.first_byte
                span = OFF
                if call.span.is_on:
                    span = call.span.child(f"{call.operation} {served.name}", "CLIENT")
                    span.set(
                        gen_ai__operation__name=call.operation,
                        gen_ai__request__model=served.name,
                    )
                try:
                    opened = await self._try(call, served, patience, span)
                except CandidateFailed as error:
                    span.end(error.reason)
                    failure = error
                    call.given = ""
                    left = left or (served.name, error.reason)
                    self._failed(served, error)
                except BaseException as error:
                    span.end(type(error).__name__)
                    served.breaker.left()
                    raise
                else:
                    self._succeeded(served)
                    opened.left, opened.span = left, span
                    return opened
            if failure:
                raise failure.answer from None
            # All breakers are open: the second pass ignores them.
        raise AssertionError("unreachable")

    def _failed(self, served: Served, failure: CandidateFailed) -> None:
        if failure.may_be_own:
            served.breaker.left()
        else:
            served.breaker.failed(timed_out=failure.timed_out)
        log.warning("%s did not answer (%s): %s", served.name, failure, failure.answer)
        self._metrics.upstream_error(served.name, failure.reason)
        self._metrics.circuit(served.name, 2 if served.breaker.is_open else 0)

    def _succeeded(self, served: Served) -> None:
        if served.breaker.is_open:
            self._metrics.circuit(served.name, 0)
        served.breaker.succeeded()

    async def _candidates(self, route: Route) -> tuple[list[Served], tuple[str, str] | None]:
        """The served candidates, and the first candidate if it is not served. Raises ApiError
        404."""
        candidates = []
        left = None
        for name in route.candidates:
            served = await self._fleet.find(name)
            if served is not None:
                candidates.append(served)
            elif name == route.candidates[0]:
                left = (name, "unknown")
        if not candidates:
            raise unknown_model(route.alias, self._fleet.configured)
        return candidates, left

    async def _try(self, call: Call, served: Served, patience: float | None, span: Span) -> Opened:
        try:
            request = await call.render(served)
            if served.engine is not None and call.path in WHOLE:
                is_odd = any(media(request)) or speaks(request) or request.get("echo")
                if is_odd or is_forced(request):
                    abilities.check(served.name, await served.engine.abilities(), request)
                request = abilities.forced(request)
            if call.path in WHOLE and request.get("logprobs") is not None:
                request = await _with_probabilities(call.path, request, served)
            if await _asked_as_stream(call, served):
                request |= {"stream": True, "stream_options": {"include_usage": True}}
        except (httpx.HTTPError, AskdocsError):
            raise CandidateFailed("unreachable", _away(served)) from None
        call.given = served.name
        if served.local is not None:
            opening = self._here(call, served, request)
        elif served.client is not None:
            opening = self._over_http(call, served, request, span)
        else:
            abilities.refuse_kept_files(request)
            abilities.refuse_odd_data(request)
            abilities.refuse_depth(request)
            abilities.refuse_schema_bombs(request)
            opening = self._over_litellm(call, served, request, span)
        try:
            if patience is None:
                return await opening
            if request.get("stream") or served.engine is None:
                async with asyncio.timeout(patience):
                    return await opening
            return await _unless_dead(opening, served, patience)
        except ApiError as error:
            raise abilities.explained(served.name, error, request) from None
        except TimeoutError:
            text = f"{served.name} sent no byte in {patience:g} s; try again"
            raise CandidateFailed("slow", unavailable(text, 3), timed_out=True) from None

    async def _here(self, call: Call, served: Served, request: dict[str, Any]) -> Opened:
        assert served.local is not None
        try:
            response = await served.local.open(call.path, request)
        except AskdocsError as error:
            raise CandidateFailed("unreachable", unavailable(str(error), 60)) from None
        return await self._begun(call, served, "local", response, served.name)

    async def _over_http(
        self, call: Call, served: Served, request: dict[str, Any], span: Span
    ) -> Opened:
        assert served.client is not None
        try:
            there = await served.id()
            body = schemas.for_engine(call.path, request) | {"model": there}
            assert served.engine is not None
            body = await salted(call.path, body, call.salt, served.engine)
            headers = span.onward(call.scope["headers"])
            headers.append((b"x-session-id", call.session.encode()))
            response = await served.client.open(call.path, headers, dump(body))
        except (LaneError, AskdocsError, httpx.HTTPError):
            raise CandidateFailed("unreachable", _away(served)) from None
        return await self._begun(call, served, "fast", response, there)

    async def _over_litellm(
        self, call: Call, served: Served, request: dict[str, Any], span: Span
    ) -> Opened:
        assert served.provider is not None
        body = schemas.for_litellm(call.path, request) | {"model": served.name}
        # Its streams of several choices lack indices, ends and text.
        is_several = call.path in WHOLE and choices(request) > 1
        if is_several:
            body = {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
        headers = span.onward(call.scope["headers"])
        try:
            response = await served.provider.open(call.path, headers, dump(body))
        except LaneError:
            text = "LiteLLM, which asks this model's provider, is starting; try again"
            answer = unavailable(text, 5, code="litellm_unavailable")
            raise CandidateFailed("unreachable", answer) from None
        opened = await self._begun(call, served, "litellm", response, served.name)
        if not (is_several and call.stream):
            return opened
        try:
            first = stream_of(orjson.loads(await opened.body()))
        except BaseException as error:
            await opened.close()
            if isinstance(error, LaneError | LookupError | TypeError | ValueError | AttributeError):
                raise CandidateFailed("broke off", _away(served)) from None
            raise
        return replace(opened, first=first, is_stream=True)

    async def _begun(
        self, call: Call, served: Served, lane: str, response: Response, there: str
    ) -> Opened:
        """The answer with its first byte. Raises CandidateFailed; ApiError: a client's error."""
        begun = False
        try:
            chunks = response.chunks()
            if response.status >= 400:
                body = b"".join([chunk async for chunk in _within(LARGEST, chunks)])
                raise await self._refused(call.path, served, response, body)
            first = await anext(chunks, b"")
            if not first:
                raise CandidateFailed("empty", _away(served))
            is_stream = response.header(b"content-type").startswith(b"text/event-stream")
            if is_stream and first.startswith(b'data: {"error"'):
                log.warning("%s: %s", served.name, first[:1000].decode("utf-8", "replace"))
                raise CandidateFailed("error", unavailable(f"{served.name} failed; try again", 3))
            begun = True
            return Opened(served, lane, is_stream, first, chunks, response, there.encode())
        except LaneError:
            raise CandidateFailed("broke off", _away(served)) from None
        finally:
            if not begun:
                await _closed(response)

    async def _refused(
        self, path: str, served: Served, response: Response, body: bytes
    ) -> Exception:
        """Clients see an engine's or provider's error only if it is their own mistake; the log has
        the rest."""
        status = response.status
        if served.provider is not None:
            status = 500 if litellm.is_failure(body) else status
            body = litellm.plain(body)
        if served.engine is not None and path in abilities.OWN and is_missing(status, body):
            return abilities.no_endpoint(served.name, path)
        error = stated(status, body)
        # llama.cpp answers 501 for an endpoint that it was not started for, and 500 to some client
        # errors; these must not open the breaker for all users.
        if status == 501 or (status == 500 and MISTAKE.search(body)):
            error.status = 400
            error.body["error"]["type"] = "invalid_request_error"
            return error
        # An engine's 404 is the client's error only if the path does not exist.
        is_ours = status in OPERATORS or (status == 404 and (served.engine is None or GONE in body))
        if status < 500 and status not in REFUSING and not is_ours:
            return error
        log.warning("%s answered %d: %s", served.name, status, str(error)[:1000])
        if is_ours:
            text = (
                f"{served.name} refuses this gateway: its operator finds the reason in the "
                "gateway's log"
            )
            error = unavailable(text, 60)
        elif status < 500:
            error = unavailable(f"{served.name} is busy; try again", 3)
            error.status = status
        elif served.engine is None or not await served.engine.is_ready():
            error = _away(served)
        else:
            error = unavailable(f"{served.name} failed; try again", 3)
        for name in ("retry-after", "retry-after-ms"):
            if value := response.header(name.encode()):
                error.headers[name] = value.decode("latin-1")
        # LiteLLM's 500 is for a provider's failure as well as for a value that it fails on.
        may_be_own = served.provider is not None and status == 500
        return CandidateFailed(str(status), error, may_be_own=may_be_own)


async def _with_probabilities(path: str, request: dict[str, Any], served: Served) -> dict[str, Any]:
    """llama.cpp reports no token's probability if 0 alternatives are requested, and 20 alternatives
    if a chat names no number."""
    name = "top_logprobs" if path == CHAT.path else "logprobs"
    if request["logprobs"] is False or request.get(name):
        return request
    if served.engine is None:  # providers read a chat without a number as 0
        return {k: v for k, v in request.items() if k != "top_logprobs"}
    return request | {name: 1} if await served.engine.kind() == "llama.cpp" else request


async def _asked_as_stream(call: Call, served: Served) -> bool:
    if call.stream or call.path not in WHOLE or served.engine is None:
        return False
    return await served.engine.kind() == "llama.cpp"


async def _unless_dead(opening: Awaitable[Opened], served: Served, patience: float) -> Opened:
    """Awaits an answer that arrives all at once and may take long, as long as its engine is
    alive."""
    assert served.engine is not None
    task = asyncio.ensure_future(opening)
    try:
        while not (await asyncio.wait({task}, timeout=patience))[0]:
            async with asyncio.timeout(PROBE):
                alive = await served.engine.is_ready()
            if not alive:
                raise TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _within(most: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields the chunks of at most `most` bytes. Raises BrokenOff: there are more."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise BrokenOff(f"more than {most:,} bytes")
        yield chunk


async def _closed(response: Response) -> None:
    if (closing := response.close()) is not None:
        await closing


async def refuse_unreadable(served: Served, request: Mapping[str, Any]) -> None:
    """Raises ApiError 400: the engine cannot read a part, as it reports for chats. Providers are
    not asked."""
    if served.engine is None or not any(media(request)):
        return
    try:
        abilities.check(served.name, await served.engine.abilities(), request)
        await served.engine.count_prompt(request)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 400:
            stated_error = stated(400, error.response.content)
            raise abilities.explained(served.name, stated_error, request) from None
    except (httpx.HTTPError, AskdocsError, KeyError):
        pass  # the tokens are estimated instead


def is_missing(status: int, body: bytes) -> bool:
    """Is it an engine's answer for an endpoint that it was not started for? llama.cpp's is 501,
    vLLM's 404 or 400."""
    return status == 501 or (status == 404 and GONE not in body) or bool(NO_API.search(body))


def stated(status: int, body: bytes) -> ApiError:
    """An engine's error in OpenAI's format."""
    try:
        content = orjson.loads(body)
        error = content.get("error", content)
        message = str(error["message"])
        kind = str(error.get("type") or "invalid_request_error")
        param, code = error.get("param"), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, kind, param, code = body.decode("utf-8", "replace")[:500], "api_error", None, None
    if param is None and (named := NAMED.match(message)):
        param = named[1]
    if kind == "exceed_context_size_error" or "maximum context length" in message:
        kind, param, code = "invalid_request_error", "messages", overflow.CODE
    if code == overflow.CODE:
        message = overflow.in_openais_words(message)
    return ApiError(
        status,
        message,
        kind=kind,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) and not code.isdigit() else None,
    )


def unknown_model(name: str, known: Sequence[str]) -> ApiError:
    return ApiError(
        404,
        f"the model {name[:200]!r} does not exist here; there are {', '.join(known)}",
        param="model",
        code="model_not_found",
    )


def _away(served: Served) -> ApiError:
    if served.engine is None:
        return unavailable(f"{served.name} does not answer; try again in a few seconds", 3)
    return engine_away()
