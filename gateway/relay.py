"""Passes a model's answer on to the client, and reads what it cost."""

from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Send

from gateway.dispatch import Opened, stated
from gateway.exchange import Exchange
from gateway.fleet import LOOPBACK
from gateway.http import JSON, Reply, broken_off, dump, unavailable
from gateway.lane import LaneError, LaneReply
from gateway.server import WRITER
from gateway.stream import Stream, rename

STREAM_START = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
JSON_START = [(b"content-type", JSON.encode())]


async def relay(opened: Opened, exchange: Exchange, request: dict[str, Any], send: Send) -> None:
    """Send the answer as its model gives it, under the gateway's name for the model.

    Raises:
        ApiError: a whole answer broke off; in a stream that is an event.
    """
    exchange.answered_by(opened.served.name, opened.lane, opened.left)
    if exchange.wants_text:
        asked = request.get("messages", request.get("prompt", request.get("input")))
        exchange.prompt = dump(asked).decode()  # it may have half a surrogate pair
    try:
        if exchange.stream and opened.is_stream:
            await _stream(opened, exchange, request, send)
        else:
            await _whole(opened, exchange, send)
    finally:
        await opened.close()


async def _stream(opened: Opened, exchange: Exchange, request: dict[str, Any], send: Send) -> None:
    options = request.get("stream_options")
    shown = isinstance(options, dict) and bool(options.get("include_usage"))
    stream = Stream(opened.model_there, opened.served.name.encode(), keep_usage=shown)
    measured = exchange.measured
    wants_text = exchange.wants_text

    def passed(chunk: bytes) -> bytes:
        """What the client gets of it."""
        measured.chunk()
        out = stream.feed(chunk)
        if wants_text and out:
            exchange.answer.append(out.decode("utf-8", "replace"))
        return out

    await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_START)})
    last = b""
    try:
        writer = exchange.scope.get("extensions", {}).get(WRITER)
        if writer is not None and isinstance(opened.response, LaneReply):
            await send(_part(passed(opened.first)))
            last = await opened.response.pump(
                lambda chunk: writer.write_body(passed(chunk)), writer.drain
            )
            last = last and passed(last)
        else:
            async for chunk in opened.chunks():
                if out := passed(chunk):
                    await send(_part(out))
    except LaneError:
        pass  # `end` says so to the client
    finally:
        exchange.used(stream.usage)
        if stream.usage is None:
            exchange.completion_tokens = stream.events
    if stream.failed or not stream.done:
        exchange.status = 502
    await send({"type": "http.response.body", "body": last + stream.end()})


def _part(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def _whole(opened: Opened, exchange: Exchange, send: Send) -> None:
    try:
        body = await opened.body()
    except LaneError:
        raise broken_off() from None
    exchange.used(_usage(body))
    if exchange.wants_text:
        exchange.answer.append(body.decode("utf-8", "replace"))
    await _send_whole(rename(body, opened.model_there, opened.served.name.encode()), send)


async def translated(
    litellm: ASGIApp, exchange: Exchange, request: dict[str, Any], send: Send
) -> None:
    """Responses and Messages: LiteLLM translates them to chat, which it asks of this gateway.

    Raises:
        ApiError: what LiteLLM states.
    """
    path = f"/v1{exchange.endpoint}"
    scope = {**exchange.scope, "path": path, "raw_path": path.encode()}
    body = dump({**request, "model": f"{LOOPBACK}/{exchange.alias}"})
    reply = await Reply.open(litellm, scope, body)
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
