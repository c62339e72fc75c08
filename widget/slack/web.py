"""The HTTP endpoint for Slack's events, buttons, dialogs and commands."""

import logging
import re

from slack_bolt.adapter.starlette.async_handler import (
    to_async_bolt_request,
    to_starlette_response,
)
from slack_bolt.async_app import AsyncApp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.tasks import Tasks

log = logging.getLogger(__name__)

PATH = "/slack/events"
SIGNATURE = "x-slack-signature"
MAX_BODY = 1_048_576  # bytes; a button press includes the whole message
_SECONDS = re.compile("[0-9]{1,12}")


def create_app(app: AsyncApp, tasks: Tasks) -> Starlette:
    """Create the app; Bolt checks the signature of every request. `/health` names failing
    `tasks`."""

    async def events(request: Request) -> Response:
        # Runs before the signature check, so nothing here may fail or grow. Bolt would raise for an
        # impossible timestamp, and for a signature with non-ASCII letters.
        stamp = request.headers.get("x-slack-request-timestamp", "")
        if not _SECONDS.fullmatch(stamp) or not request.headers.get(SIGNATURE, "").isascii():
            return JSONResponse({"error": "invalid request"}, 401)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return JSONResponse({"error": "too large"}, 413)
        try:
            bolt_request = to_async_bolt_request(request, body)
        except (ValueError, RecursionError):
            return JSONResponse({"error": "invalid request"}, 400)
        return to_starlette_response(await app.async_dispatch(bolt_request))

    async def health(request: Request) -> Response:
        degraded = {"degraded": tasks.failing} if tasks.failing else {}
        return JSONResponse({"status": "ok", **degraded})

    return Starlette(
        routes=[Route(PATH, events, methods=["POST"]), Route("/health", health)],
    )
