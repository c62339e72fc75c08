"""Stops and restarts on purpose: nothing that is under way may fail."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests import starting
from tests.chaos.conftest import Team, Upstream, bad_day, failures, new_key, workers_of
from tests.chaos.load import Target, kept
from tests.chaos.report import Report, rounds

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))
STREAMS = 50
LENGTH = 100  # chunks, 0.1 s apart


@pytest.mark.alone
@each_round
async def test_a_rolling_restart_fails_no_request(team: Team, days: Report, number: int) -> None:
    name = "rolling restart of the gateway (SIGHUP)"
    async with bad_day(days, name, team.target) as day:
        pid = await asyncio.to_thread(team.pid, "gateway")
        before = {worker.pid for worker in await asyncio.to_thread(workers_of, pid)}
        day.begins()
        os.kill(pid, signal.SIGHUP)
        async with asyncio.timeout(180):
            while True:
                now = {worker.pid for worker in await asyncio.to_thread(workers_of, pid)}
                if len(now) == 2 and not now & before:
                    break
                await asyncio.sleep(0.2)
    assert failures(days, name) == {}


@pytest.mark.alone
@each_round
def test_fifty_open_streams_end_before_a_gateway_that_is_stopped(
    upstream: Upstream, wiki: Path, days: Report, tmp_path: Path, number: int
) -> None:
    name = f"SIGTERM to the gateway during {STREAMS} open streams, half from pages"
    upstream.control(wait=0.02, pause=0.1)
    try:
        with starting.gateway(
            tmp_path,
            gateway_engine_url=f"http://127.0.0.1:{upstream.port}/v1",
            gateway_docs=str(wiki),
            gateway_workers="2",
        ) as gateway:
            key, key_id = new_key(gateway.database)
            target = Target(gateway.url, None, key, key_id, gateway.database)
            ended = asyncio.run(_stop_within_streams(gateway, target))
            gateway.process.wait(60)
            counted = kept(target).answers
    finally:
        upstream.control(wait=0.02, pause=0.02)
    day = days.of(name)
    day.requests += STREAMS
    day.acknowledged += ended
    day.lost += max(0, ended - counted)
    day.failed += STREAMS - ended
    day.recovery.append(0.0)
    days.save()
    assert (ended, counted) == (STREAMS, STREAMS)


async def _stop_within_streams(gateway: starting.Gateway, target: Target) -> int:
    """How many of the streams came to their end."""
    begun = asyncio.Semaphore(0)
    body = {
        "stream": True,
        "max_tokens": LENGTH,
        "messages": [{"role": "user", "content": "Where is the coffee machine?"}],
    }
    limits = httpx.Limits(max_connections=None)
    # An answer from pages says at once what it reads, and its one sentence when that is whole.
    headers = {"authorization": f"Bearer {target.key}", "x-askdocs-progress": "on"}

    async def one(http: httpx.AsyncClient, model: str) -> bool:
        text = ""
        url, asked = f"{target.gateway}/chat/completions", {"model": model, **body}
        try:
            async with http.stream("POST", url, json=asked) as got:
                async for part in got.aiter_text():
                    if not text:
                        begun.release()
                    text += part
        except httpx.HTTPError:
            return False
        return text.endswith("data: [DONE]\n\n")

    async with httpx.AsyncClient(
        timeout=120, limits=limits, headers=headers, trust_env=False
    ) as http:
        streams = []
        async with asyncio.timeout(60):
            for model in ("docs", "base"):  # from the wiki's pages, and the model alone
                streams += [asyncio.create_task(one(http, model)) for _ in range(STREAMS // 2)]
                for _ in range(STREAMS // 2):
                    await begun.acquire()
        assert not any(stream.done() for stream in streams)
        gateway.process.send_signal(signal.SIGTERM)
        return sum(await asyncio.gather(*streams))
