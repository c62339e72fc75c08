"""Small apps for the tests of the server; each process loads one by its import string."""

import asyncio
import json
import os
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AskdocsError
from gateway.runtime.protocol import WRITER


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what came, and with the process that answers; `/slow` takes its time.

    `/unread` is answered without its body."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/unread":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    if scope["path"].startswith("/whole"):
        await _whole(scope, send)
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] in ("/written", "/flood"):
        await _write(scope, send)
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    said: dict[str, Any] = {"pid": os.getpid(), "path": scope["path"], "body": body.decode()}
    said["headers"] = headers
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        for _ in range(8):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


async def _whole(scope: Scope, send: Send) -> None:
    """Answers with the server's own whole response, or by ASGI where it does not do it."""
    value = b"a\r\nx-other: b" if scope["path"] == "/whole/cut" else b"a"
    headers = [(b"content-length", b"5"), (b"x-value", value)]
    connection = scope["extensions"][WRITER]

    async def wrapped(message: Any) -> None:
        await send(message)

    used = wrapped if scope["path"] == "/whole/wrapped" else send
    if not connection.respond(used, headers, b"whole"):
        headers.append((b"x-how", b"asgi"))
        await used({"type": "http.response.start", "status": 200, "headers": headers})
        await used({"type": "http.response.body", "body": b"whole"})


async def _write(scope: Scope, send: Send) -> None:
    """Answers by the server's own writer: little, or more than a client's buffers take."""
    writer = scope["extensions"][WRITER]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/written":
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        for number in range(1000):
            assert writer.write_body(b"%d" % (number % 10))
            assert writer.write_body(b"")
            if number % 100 == 0:
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"end"})
        return
    blocked = 0
    for _ in range(2**10):
        if not writer.write_body(b"x" * 2**15):
            blocked += 1
            await writer.drain()
    await send({"type": "http.response.body", "body": b"%d %d" % (2**10, blocked)})


def create() -> ASGIApp:
    return echo


def create_refused() -> ASGIApp:
    raise AskdocsError("the engine has no name")


def create_unless() -> ASGIApp:
    if os.path.exists(os.environ["BROKEN"]):
        raise AskdocsError("it is broken")
    return echo


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def create_failing() -> ASGIApp:
    return _fails


if __name__ == "__main__":
    import sys

    from core.settings import load
    from gateway.runtime.server import serve
    from gateway.settings import GatewaySettings

    name, _, os.environ["BROKEN"] = sys.argv[1].partition(":")
    try:
        serve(f"tests.gateway.served_app:{name}", load(GatewaySettings))
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")
