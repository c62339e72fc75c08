"""The team's set-up under load: `askdocs up` with PostgreSQL, Redis, two workers and the box."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa

from askdocs.supervision.checks import free_port
from core import database
from gateway.access.keys import Keys, Limits
from tests import starting
from tests.chaos import report
from tests.chaos.half_open import HalfOpen, half_open
from tests.chaos.load import Load, Target, kept, lost
from tests.end_to_end.running import REPO, Askdocs, up
from tests.gateway.postgres import Postgres
from tests.gateway.redis_server import RedisServer, need_redis


@pytest.fixture(scope="session")
def days() -> report.Report:
    """The table."""
    return report.Report()


@pytest.fixture(scope="session")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HTML, so that no site has to be built."""
    folder = tmp_path_factory.mktemp("wiki") / "docs"
    folder.mkdir()
    (folder / "index.html").write_text(
        "<!doctype html><html><head><title>Coffee machine</title></head><body><main>"
        "<h1>Coffee machine</h1><p>The coffee machine stands in the kitchen on floor 3.</p>"
        "<h2>How do I descale the coffee machine?</h2>"
        "<p>Pour 40 ml of citric acid into the tank.</p></main></body></html>"
    )
    return folder


class Upstream:
    """The engine of the tests, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def control(self, **speed: float) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/control", json=speed).raise_for_status()


@contextmanager
def serving_upstream() -> Iterator[Upstream]:
    port = free_port()
    argv = [sys.executable, "-m", "tests.chaos.upstream", str(port)]
    process = subprocess.Popen(argv, cwd=REPO)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield Upstream(port)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with serving_upstream() as serving:
        yield serving


@dataclass(frozen=True)
class Team:
    """All that runs. What is between the gateway and the rest can go half-open."""

    askdocs: Askdocs
    target: Target
    postgres: Postgres
    redis: RedisServer
    upstream: Upstream
    to_postgres: HalfOpen
    to_redis: HalfOpen
    to_upstream: HalfOpen

    def pid(self, part: str) -> int:
        return int(self.askdocs.status()["parts"][part]["pid"])

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.pid("gateway"))


def workers_of(gateway: int) -> list[psutil.Process]:
    """The worker processes of a gateway."""
    found = []
    for child in psutil.Process(gateway).children():
        with suppress(psutil.NoSuchProcess):  # it ends just now
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


@contextmanager
def serving_widget(folder: Path, gateway: starting.Gateway) -> Iterator[str]:
    """The box in front of a gateway, with its database; its address."""
    port = free_port()
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ASKDOCS_")},
        "ASKDOCS_WIDGET_PORT": str(port),
        "ASKDOCS_WIDGET_GATEWAY_URL": gateway.url,
        "ASKDOCS_WIDGET_GATEWAY_KEY": starting.KEY,
        "ASKDOCS_WIDGET_ASKS_PER_MINUTE": "10000",
        "ASKDOCS_DATABASE_URL": gateway.database,
        "PYTHONPATH": str(REPO),
    }
    with (folder / "widget.log").open("wb") as log:
        argv = [sys.executable, "-m", "widget"]
        process = subprocess.Popen(argv, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (folder / "widget.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def new_key(url: str, name: str = "load") -> tuple[str, str]:
    """The text and the id of a key that limits watch, but do not refuse."""
    engine = database.open(url)
    try:
        limits = Limits(rpm=1_000_000, tpm=100_000_000, max_parallel=10_000)
        key, text = Keys(engine).create(name, team="chaos", limits=limits)
    finally:
        engine.dispose()
    return text, key.id


@pytest.fixture(scope="session")
def team(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Postgres,
    upstream: Upstream,
    wiki: Path,
) -> Iterator[Team]:
    need_redis()
    folder = tmp_path_factory.mktemp("team")
    redis = RedisServer(folder)
    redis.start()
    direct = postgres.database()
    url = sa.make_url(direct)
    assert url.port is not None
    try:
        with (
            half_open(url.port) as to_postgres,
            half_open(redis.port) as to_redis,
            half_open(upstream.port) as to_upstream,
            up(
                folder / "home",
                wiki,
                "--engine-url",
                f"http://127.0.0.1:{to_upstream.port}/v1",
                database_url=direct.replace(f":{url.port}/", f":{to_postgres.port}/"),
                redis_url=f"redis://127.0.0.1:{to_redis.port}/0",
                seconds=600,
                gateway_workers="2",
                widget_asks_per_minute="10000",
            ) as askdocs,
        ):
            parts = askdocs.started["parts"]
            text, key_id = new_key(direct)
            target = Target(parts["gateway"]["url"], parts["widget"]["url"], text, key_id, direct)
            yield Team(
                askdocs, target, postgres, redis, upstream, to_postgres, to_redis, to_upstream
            )
    finally:
        redis.kill()


class Trial:
    """One round of fault injection: `begins` marks the moment, `load` goes on through it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.began = 0.0

    def begins(self) -> None:
        self.began = time.monotonic()


@asynccontextmanager
async def bad_day(
    days: report.Report, name: str, target: Target, **clients: int
) -> AsyncIterator[Trial]:
    """Load before, through and after; then the ledger is compared with the database.

    Raises AssertionError: what was acknowledged is lost, or something does not come back.
    """
    # A key of its own: the usage of another day may still be on its way.
    key, key_id = await asyncio.to_thread(new_key, target.database, f"day-{time.time_ns()}")
    target = replace(target, key=key, key_id=key_id)
    before = await asyncio.to_thread(kept, target)
    async with Load(target, **clients) as load:
        await load.settled(2)
        trial = Trial(load)
        trial.begins()
        yield trial
        await load.settled(5)
    ledger = load.ledger
    missing = await lost(target, before, ledger)
    day = days.of(name)
    day.requests += len(ledger.attempts)
    day.acknowledged += ledger.acknowledged
    day.lost += missing.total
    day.failed += ledger.failures().total()
    day.recovery.append(round(ledger.recovery(trial.began), 2))
    for failure, count in ledger.failures().items():
        day.failures[failure] = day.failures.get(failure, 0) + count
    days.save()
    assert missing.total == 0, (missing, ledger.failures())


def failures(days: report.Report, name: str) -> dict[str, Any]:
    return days.of(name).failures
