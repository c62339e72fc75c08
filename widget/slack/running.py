"""Assembles the Slack integration and connects it to Slack's events."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import uvicorn
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

from core.errors import AskdocsError
from core.settings import variable
from core.tasks import Tasks
from gateway.runtime.protocol import Edge
from gateway.telemetry import tracing
from widget.access.limits import Limits
from widget.access.people import People
from widget.service.gateway import Gateway
from widget.service.store import Store
from widget.settings import WidgetSettings
from widget.slack import messages, web
from widget.slack.answering import BROKE_OFF, Answering
from widget.slack.asking import Asking
from widget.slack.listening import create_app
from widget.slack.record import Record
from widget.slack.replies import UNREACHED, Pace, Reply, refusal
from widget.slack.settings import SlackSettings
from widget.slack.unfinished import Unfinished

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=30)
TRIES = 5  # for calls that Slack limits, or that fail to arrive
LOOK = 15.0  # seconds between two checks of the Socket Mode connection
GRACE = 3  # seconds that open requests get at shutdown


@dataclass(frozen=True)
class Workspace:
    """Our identity in Slack."""

    team: str
    team_id: str
    bot: str
    user_id: str
    scopes: frozenset[str]


async def workspace(client: AsyncWebClient) -> Workspace:
    """The owner of the bot token. Raises AskdocsError: the token is invalid."""
    try:
        reply = await client.auth_test()
    except SlackApiError as error:
        raise _refused(
            "bot_token",
            error,
            "copy the Bot User OAuth Token (xoxb-...) from the app's OAuth & Permissions",
        ) from None
    except UNREACHED as error:
        raise _unreachable(client, error) from None
    scopes = frozenset(reply.headers.get("x-oauth-scopes", "").replace(" ", "").split(","))
    return Workspace(reply["team"], reply["team_id"], reply["user"], reply["user_id"], scopes)


def bot_client(settings: SlackSettings, session: aiohttp.ClientSession) -> AsyncWebClient:
    """Raises AskdocsError: there is no bot token."""
    if not settings.bot_token:
        raise _missing("bot_token", "the Bot User OAuth Token (xoxb-...)")
    return AsyncWebClient(
        settings.bot_token.get_secret_value(),
        base_url=settings.api_url,
        session=session,
        retry_handlers=[],
    )


@asynccontextmanager
async def parts(
    settings: SlackSettings,
    widget: WidgetSettings,
    store: Store | None,
    folder: Path,
    say: Callable[[str], None],
    tasks: Tasks,
) -> AsyncIterator[AsyncApp]:
    """Create a Bolt app that answers; marks the unfinished answers of an earlier process as broken
    off.

    Args:
        folder: folder for unfinished answers, used by no other process.
        say: receives a line for the operator.
        tasks: the process's tasks.

    Raises:
        AskdocsError: Slack rejects the bot token.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        client, eager = bot_client(settings, session), bot_client(settings, session)
        client.retry_handlers.extend(
            (
                AsyncRateLimitErrorRetryHandler(TRIES),
                AsyncConnectionErrorRetryHandler(TRIES),
                AsyncServerErrorRetryHandler(TRIES),
            )
        )
        us = await workspace(eager)
        gateway = Gateway(widget, tracing.load("askdocs-slack", os.environ))
        record, limits = Record(store), Limits(widget.asks_per_minute)
        redis = widget.redis_url
        await limits.open(redis.get_secret_value() if redis else None)
        answering = Answering(
            gateway, record, Unfinished(folder), Pace(), People(widget.groups_file)
        )
        await _broke_off(answering, client, eager)
        asking = Asking(settings, client, eager, answering, limits, us.team_id, us.user_id)
        tasks.start("retention", partial(record.run, widget.retention_days))
        try:
            say(f"connected to {us.team} as @{us.bot}")
            yield create_app(asking)
        finally:
            await tasks.close()
            await asking.settled()
            await answering.close()
            await limits.close()
            await gateway.close()
            await asyncio.to_thread(record.close)


async def by_http(
    app: AsyncApp, settings: SlackSettings, say: Callable[[str], None], tasks: Tasks
) -> None:
    """Receive events by HTTP until SIGINT or SIGTERM."""
    if not settings.signing_secret:  # nor empty: anybody could sign
        raise _missing("signing_secret", "the Signing Secret from the app's Basic Information")
    config = uvicorn.Config(
        web.create_app(app, tasks),
        http=Edge,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    place = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise AskdocsError(f"{place}: cannot listen ({error.strerror}): give a --port") from None
    # uvicorn re-raises the stopping signal, which would kill us before answers are ended.
    _stopped()
    with listening:
        say(f"listening at http://{place}{web.PATH}; Ctrl-C stops")
        await uvicorn.Server(config).serve(sockets=[listening])


async def socket_address(client: AsyncWebClient, settings: SlackSettings) -> str:
    """The Socket Mode URL. Raises AskdocsError: the app token is missing or invalid."""
    if not settings.app_token:
        raise _missing(
            "app_token", "an App-Level Token (xapp-...) with connections:write, or use --http"
        )
    try:
        reply = await client.apps_connections_open(app_token=settings.app_token.get_secret_value())
    except SlackApiError as error:
        raise _refused(
            "app_token",
            error,
            "make an App-Level Token with connections:write on the app's Basic Information, and"
            " switch Socket Mode on",
        ) from None
    except UNREACHED as error:
        raise _unreachable(client, error) from None
    return str(reply["url"])


async def by_socket(
    app: AsyncApp, settings: SlackSettings, say: Callable[[str], None], tasks: Tasks
) -> None:
    """Receive events by Socket Mode until SIGINT or SIGTERM; needs no public URL."""
    # Requested here, because the client itself would retry an invalid token forever.
    address = await socket_address(app.client, settings)
    assert settings.app_token is not None
    handler = AsyncSocketModeHandler(app, settings.app_token.get_secret_value())
    handler.client.wss_uri = address
    stopped = _stopped()
    try:
        await handler.connect_async()  # type: ignore[no-untyped-call]
        tasks.start("connection", partial(_stay_connected, handler.client))
        say("listening by Socket Mode; Ctrl-C stops")
        await stopped.wait()
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


async def _stay_connected(client: SocketModeClient) -> None:
    """Reconnect if Slack's library has not done so.

    Raises AskdocsError: two checks found no connection; the next call connects.
    """
    if not await client.is_connected():
        await client.connect_to_new_endpoint()
    lost = False
    while True:
        await asyncio.sleep(LOOK)
        was_lost, lost = lost, not await client.is_connected()
        if was_lost and lost:
            raise AskdocsError("no connection to Slack")


async def _broke_off(answering: Answering, client: AsyncWebClient, eager: AsyncWebClient) -> None:
    unfinished = answering.unfinished
    for opened in unfinished.left():
        reply = Reply(client, eager, answering.pace, opened.channel, opened.ts)
        try:
            await reply.finish(messages.failed(opened.id, opened.question, BROKE_OFF))
            unfinished.end(opened)
            await answering.record.broke_off(opened.id)
        except UNREACHED as error:
            log.warning(
                "slack: %s: could not report that the answer broke off: %r", opened.channel, error
            )


def _stopped() -> asyncio.Event:
    """An event set by termination signals."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


def _refused(key: str, error: SlackApiError, fix: str) -> AskdocsError:
    return AskdocsError(f"{variable(SlackSettings, key)}: Slack says {refusal(error)!r}: {fix}")


def _unreachable(client: AsyncWebClient, error: Exception) -> AskdocsError:
    return AskdocsError(f"{client.base_url}: Slack cannot be reached ({error}): try again later")


def _missing(key: str, what: str) -> AskdocsError:
    return AskdocsError(f"{variable(SlackSettings, key)} is not set: set it to {what}")
