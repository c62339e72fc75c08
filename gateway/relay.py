"""Passes a model's answer on to the client, and reads what it cost."""

from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Send

from gateway.continuation import Continuation
from gateway.dispatch import Opened, stated
from gateway.edge import WRITER
from gateway.exchange import Exchange
from gateway.fleet import LOOPBACK, LOOPBACK_HEADERS
from gateway.http import DONE, JSON, ApiError, Reply, broken_off, dump, unavailable
from gateway.lane import LaneError, LaneReply
from gateway.stream import Stream, rename

STREAM_START = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON_START = [(b"content-type", JSON.encode())]


async def relay(
    opened: Opened, exchange: Exchange, request: dict[str, Any], rest: Continuation, send: Send
) -> None:
    """Send the answer as its model gives it, under the gateway's name for the model.

    Raises:
        ApiError: a whole answer broke off, and nobody went on; in a stream that is an event.
    """
    exchange.answered_by(opened.served.name, opened.lane, opened.left)
    if exchange.wants_text:
        asked = request.get("messages", request.get("prompt", request.get("input")))
        exchange.prompt = dump(asked).decode()  # it may have half a surrogate pair
    try:
        if exchange.stream and opened.is_stream:
            await _stream(opened, exchange, request, rest, send)
        else:
            await _whole(opened, exchange, rest, send)
    finally:
        await opened.close()


async def _stream(
    opened: Opened, exchange: Exchange, request: dict[str, Any], rest: Continuation, send: Send
) -> None:
    options = request.get("stream_options")
    shown = isinstance(options, dict) and bool(options.get("include_usage"))
    name = opened.served.name.encode()
    stream = Stream(opened.model_there, name, keep_usage=shown)
    await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_START)})
    last = b""
    model, said = opened.served, 0
    try:
        last = await _pass_on(opened, stream, exchange, rest, send)
        while not stream.is_whole:
            if last:
                await send(_part(last))
            last = b""
            more = await rest.open(model)
            exchange.broke_off(model.name, goes_on=more is not None or rest.is_complete)
            if more is None:
                break
            model, said = more.served, rest.tokens
            stream = Stream(more.model_there, name, keep_usage=shown, said=said)
            try:
                last = await _pass_on(more, stream, exchange, rest, send)
            finally:
                await more.close()
    finally:
        exchange.used(stream.usage)
        if stream.usage is None:
            exchange.completion_tokens = said + stream.events
    if stream.is_whole:
        end = last + stream.end()
    elif rest.is_complete:
        end = DONE
    else:
        exchange.status = 502
        end = stream.end()
    await send({"type": "http.response.body", "body": end})


async def _pass_on(
    opened: Opened, stream: Stream, exchange: Exchange, rest: Continuation, send: Send
) -> bytes:
    """Send what comes, until it ends or breaks off; returns what is still to be sent."""
    measured = exchange.measured
    wants_text = exchange.wants_text
    goes_on = rest.has_begun

    def passed(chunk: bytes) -> bytes:
        """What the client gets of it."""
        measured.chunk()
        out = stream.feed(chunk)
        if goes_on:
            out = rest.joined(out)
        rest.passed(out)
        if wants_text and out:
            exchange.answer.append(out.decode("utf-8", "replace"))
        return out

    try:
        writer = exchange.scope.get("extensions", {}).get(WRITER)
        if writer is not None and isinstance(opened.response, LaneReply):
            if out := passed(opened.first):
                await send(_part(out))
            last = await opened.response.pump(
                lambda chunk: writer.write_body(passed(chunk)), writer.drain
            )
            return last and passed(last)
        async for chunk in opened.chunks():
            if out := passed(chunk):
                await send(_part(out))
    except LaneError:
        pass  # the stream is not whole
    return b""


def _part(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _whole(opened: Opened, exchange: Exchange, rest: Continuation, send: Send) -> None:
    body = await _read(opened)
    while isinstance(body, ApiError):
        # Nothing of it has reached the client: it is asked for anew.
        more = await rest.open(opened.served)
        exchange.broke_off(opened.served.name, goes_on=more is not None)
        if more is None:
            raise body
        try:
            opened, body = more, await _read(more)
        finally:
            await more.close()
        exchange.answered_by(opened.served.name, opened.lane, opened.left)
    exchange.used(_usage(body))
    if exchange.wants_text:
        exchange.answer.append(body.decode("utf-8", "replace"))
    await _send_whole(rename(body, opened.model_there, opened.served.name.encode()), send)


async def _read(opened: Opened) -> bytes | ApiError:
    """The whole answer, or why there is none."""
    try:
        return await opened.body()
    except LaneError:
        return broken_off()
    except ApiError as error:
        return error


async def translated(
    litellm: ASGIApp, exchange: Exchange, request: dict[str, Any], send: Send
) -> None:
    """Responses and Messages: LiteLLM translates them to chat, which it asks of this gateway.

    Raises:
        ApiError: what LiteLLM states.
    """
    path = f"/v1{exchange.endpoint}"
    scope = {**exchange.scope, "path": path, "raw_path": path.encode()}
    # They take the place of those that the model has: the inner request is of the same trace.
    trace = {k.decode(): v.decode("latin-1") for k, v in exchange.span.onward(scope["headers"])}
    asked = {
        **request,
        "model": f"{LOOPBACK}/{exchange.alias}",
        "extra_headers": {**LOOPBACK_HEADERS, **trace},
    }
    reply = await Reply.open(litellm, scope, dump(asked))
    try:
        if reply.status >= 400:
            error = stated(reply.status, await reply.body())
            raise unavailable(str(error), 3) if reply.status >= 500 else error
        model = reply.headers.get("llm_provider-x-askdocs-model", exchange.alias)
        exchange.answered_by(model, "litellm", None)
        there, here = body_names(exchange.alias)
        if not exchange.stream:
            whole = await reply.body()
            exchange.used(_usage(whole))
            await _send_whole(rename(whole, there, here), send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_START)})
        async for chunk in reply.chunks():
            exchange.measured.chunk()
            if b'"usage"' in chunk:
                for line in chunk.splitlines():
                    exchange.used(_usage(line.removeprefix(b"data:").strip()))
            out = rename(chunk, there, here)
            await send({"type": "http.response.body", "body": out, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await reply.close()


def body_names(alias: str) -> tuple[bytes, bytes]:
    """LiteLLM's name of an alias, and the one that the client knows."""
    return f"{LOOPBACK}/{alias}".encode(), alias.encode()


async def _send_whole(body: bytes, send: Send) -> None:
    headers = [*JSON_START, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _usage(body: bytes) -> Any:
    """The usage in a whole answer, or in one event of a stream."""
    try:
        said = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    for place in (said, said.get("response"), said.get("message")):
        if isinstance(place, dict) and isinstance(place.get("usage"), dict):
            return place["usage"]
    return None
