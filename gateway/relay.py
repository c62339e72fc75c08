"""Hands a request to LiteLLM, and turns its failures into answers that clients can act on."""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.engine import Engine
from gateway.http import (
    EVENTS,
    ApiError,
    Reply,
    event,
    events,
    send_events,
    send_json,
    unavailable,
)


async def relay(inner: ASGIApp, scope: Scope, receive: Receive, send: Send, engine: Engine) -> None:
    """Answer with what the inner app answers. Raises ApiError as `checked`."""
    async with Reply(inner, scope, scope["state"]["body"]) as reply:
        reply = await checked(reply, engine)
        if not reply.headers.get("content-type", "").startswith(EVENTS):
            await send_json(send, reply.status, json.loads(await reply.body()))
            return
        await send_events(receive, send, _complete(reply))


async def checked(reply: Reply, engine: Engine) -> Reply:
    """The reply, if it is a success.

    Raises:
        ApiError: 503 with Retry-After when the engine does not answer; else what the inner app
            says, in OpenAI's shape.
    """
    if reply.status < 400:
        return reply
    body = await reply.body()
    if reply.status >= 500 and not await engine.is_ready():
        raise engine_away()
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
        kind = str(error.get("type") or "invalid_request_error")
        param = error.get("param")
        code = error.get("code")
    except (ValueError, KeyError, TypeError):
        message, kind, param, code = body.decode("utf-8", "replace")[:500], "api_error", None, None
    raise ApiError(
        reply.status,
        message,
        kind=kind,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) and not code.isdigit() else None,
    )


def engine_away() -> ApiError:
    return unavailable("the engine is starting or away; ask again in a few seconds", 3)


async def _complete(reply: Reply):  # type: ignore[no-untyped-def]
    """The events, with an error at the end when the engine broke off before `[DONE]`."""
    async for data in events(reply.chunks()):
        yield b"data: " + data.replace("\n", "\ndata: ").encode() + b"\n\n"
        if data == "[DONE]":
            return
    yield event(unavailable("the engine broke off in the middle of the answer", 3).body)
