"""Small apps for the tests of the server; each process loads one by its import string."""

import asyncio
import json
import os
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import AskdocsError


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what came, and with the process that answers; `/slow` takes its time."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    said: dict[str, Any] = {"pid": os.getpid(), "path": scope["path"], "body": body.decode()}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        for _ in range(8):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


def create() -> ASGIApp:
    return echo


def create_refused() -> ASGIApp:
    raise AskdocsError("the engine has no name")


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def create_failing() -> ASGIApp:
    return _fails


if __name__ == "__main__":
    import sys

    from gateway.config import GatewaySettings
    from gateway.server import serve
    from gateway.settings import load

    try:
        serve(f"tests.gateway.served_app:{sys.argv[1]}", load(GatewaySettings))
    except AskdocsError as error:
        sys.exit(f"gateway: {error}")
