"""`askdocs slack` as a process of its own: by HTTP and by Socket Mode, stopped and killed."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import database
from tests.slack.conftest import PROXIES
from tests.slack.stand_in import (
    APP_TOKEN,
    BOT_TOKEN,
    DM,
    GENERAL,
    SECRET,
    Slack,
    running,
    signed,
)
from tests.widget.stand_in import Reply, StandIn, answer, serve
from widget.service.store import Store

pytestmark = pytest.mark.slow
COMMAND = Path(sys.executable).with_name("askdocs")
GOOD = Reply(chunks=answer("Run it. "))
SLOW = Reply(chunks=answer("Word. " * 400), pause=0.2)
Process = asyncio.subprocess.Process


class Place:
    """Slack and a gateway, and the environment in which askdocs finds them."""

    def __init__(self, slack: Slack, gateway: StandIn, url: str, home: Path) -> None:
        self.slack, self.gateway = slack, gateway
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self.env = {name: value for name, value in os.environ.items() if name not in PROXIES} | {
            "ASKDOCS_HOME": str(home),
            "ASKDOCS_WIDGET_GATEWAY_URL": f"{url}/v1",
            "ASKDOCS_SLACK_API_URL": f"{slack.url}/api/",
            "ASKDOCS_SLACK_BOT_TOKEN": BOT_TOKEN,
            "ASKDOCS_SLACK_APP_TOKEN": APP_TOKEN,
            "ASKDOCS_SLACK_SIGNING_SECRET": SECRET,
        }

    @asynccontextmanager
    async def started(self, *options: str) -> AsyncIterator[Process]:
        """`askdocs slack`, once it listens."""
        process = await self.process(*options)
        try:
            assert process.stdout
            async with asyncio.timeout(60):
                while b"listening" not in (line := await process.stdout.readline()):
                    assert line, (await process.communicate())[1].decode()
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def process(self, *options: str) -> Process:
        return await asyncio.create_subprocess_exec(
            COMMAND,
            "slack",
            *options,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def deliver(self, event: dict[str, Any]) -> None:
        body = json.dumps(event)
        headers = {**signed(body), "content-type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/slack/events"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(url, content=body, headers=headers)).status_code == 200


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Callable[..., Place]]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(running(Slack()))

        def make(*replies: Reply) -> Place:
            gateway = StandIn(*replies)
            return Place(slack, gateway, stack.enter_context(serve(gateway.app)), tmp_path)

        yield make


async def test_a_stop_signal_ends_open_answers_and_says_so(place: Callable[..., Place]) -> None:
    here = place(SLOW)
    async with here.started("--http", "--port", str(here.port)) as process:
        await here.deliver(here.slack.mention("How?"))
        await here.slack.until(lambda: here.slack.messages)
        message = here.slack.ours(GENERAL)[0]
        await here.slack.until(lambda: "Word." in message.words)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    assert "is being restarted, and the answer broke off" in message.words
    assert "Word." in message.words
    assert message.buttons.keys() == {"retry"}
    assert here.gateway.left.wait(30)


async def test_a_kill_is_reported_by_the_next_start_and_the_question_is_kept(
    place: Callable[..., Place],
) -> None:
    here = place(SLOW, GOOD)
    options = ("--http", "--port", str(here.port))
    async with here.started(*options) as process:
        await here.deliver(here.slack.mention("How do I start?"))
        await here.slack.until(lambda: here.slack.messages)
        message = here.slack.ours(GENERAL)[0]
        await here.slack.until(lambda: "Word." in message.words)
        second = await here.process(*options)
        _, said = await second.communicate()
        assert second.returncode == 2
        assert b"another `askdocs slack` uses this state folder" in said
        process.kill()
    async with here.started(*options):
        assert "was restarted, and this answer broke off" in message.words
        store = Store(database.open(f"sqlite:///{here.env['ASKDOCS_HOME']}/askdocs.db"))
        asked = json.loads(message.buttons["retry"]["value"])
        assert store.get(asked["id"]).answered.state == "failed"
        store.engine.dispose()
        assert asked["question"] == "How do I start?"
        await here.deliver(here.slack.mention("And now?"))
        assert (await here.slack.ended(count=2)).words.startswith("Run it.")
    edits = len(message.edits)
    async with here.started(*options):
        assert len(message.edits) == edits


async def test_socket_mode_needs_no_address_and_comes_back_when_it_is_cut(
    place: Callable[..., Place],
) -> None:
    here = place(GOOD)
    async with here.started() as process:
        event = here.slack.written("How do I start?")
        await here.slack.socket({"type": "events_api", "payload": event})
        message = await here.slack.ended(DM)
        assert message.words.startswith("Run it.")
        again = {"type": "events_api", "payload": event, "retry_attempt": 1}
        await here.slack.socket({**again, "retry_reason": "timeout"})
        press = here.slack.press(message, "down")
        await here.slack.socket({"type": "interactive", "payload": press})
        await here.slack.until(lambda: here.slack.whispers)
        dialog = here.slack.submit(here.slack.views[0], ["wrong"], "")
        await here.slack.socket({"type": "interactive", "payload": dialog})
        first = here.slack.sockets[-1]
        await first.send_json({"type": "disconnect", "reason": "refresh_requested"})
        await here.slack.until(lambda: here.slack.sockets[-1] is not first)
        command = here.slack.command("How?")
        await here.slack.socket({"type": "slash_commands", "payload": command})
        await here.slack.until(lambda: len(here.slack.ours("D0ANNA")) == 3)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            await process.wait()
    assert len(here.gateway.requests) <= 2
