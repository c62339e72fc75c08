"""Background work that fails begins again, and is seen."""

import asyncio
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from core import tasks as module
from core.errors import AskdocsError
from core.tasks import Failures, Tasks, failures_in
from tests import starting

T = TypeVar("T")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)


async def test_work_that_fails_is_logged_counted_and_begun_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[str] = []
    started: list[str] = []
    done = asyncio.Event()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise ValueError("no such thing") if runs % 2 else AskdocsError("the disk is full")
        done.set()
        await asyncio.Event().wait()

    tasks = Tasks(failed.append, started.append)
    tasks.start("usage", work)
    assert tasks.failing == []
    async with asyncio.timeout(60):
        await done.wait()
    assert failed == ["usage"] * 3
    assert started == ["usage"]
    assert tasks.failing == ["usage"]
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["no such thing" in one.getMessage() for one in said] == [True, False, True]
    assert [bool(one.exc_info) for one in said] == [True, False, True]
    await tasks.close()


async def test_work_begins_again_where_nobody_can_be_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    again = asyncio.Event()

    async def work() -> None:
        if not tasks.failing:
            raise ValueError("first")
        again.set()

    def full(name: str) -> None:
        raise OSError("no space left on device")

    tasks = Tasks(full)
    tasks.start("usage", work)
    async with asyncio.timeout(60):
        await again.wait()
    assert "no space left on device" in caplog.text
    await tasks.close()


async def test_work_that_returns_has_come_to_its_end() -> None:
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1

    tasks = Tasks()
    tasks.start("warmer", work)
    await asyncio.sleep(0.05)
    assert (runs, tasks.failing) == (1, [])
    await tasks.close()


async def test_a_close_cancels_work_that_is_at_work_or_in_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 3600)
    ended: list[str] = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("works")

    async def fails() -> None:
        raise ValueError

    tasks = Tasks()
    tasks.start("works", works)
    tasks.start("fails", fails)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await tasks.close()
    assert ended == ["works"]
    assert tasks.failing == ["fails"]


def test_pauses_grow_to_a_limit_and_begin_again_after_a_steady_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.5)
    tasks = Tasks()
    now = module.time.monotonic()
    pauses = [tasks.failed("a", ValueError("x"), now) for _ in range(10)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert tasks.failed("b", ValueError("x"), now) == 0.5
    assert tasks.failed("a", ValueError("x"), now - 2 * module.STEADY) == 0.5


def test_work_in_a_thread_begins_again_until_it_is_stopped() -> None:
    stop, runs = threading.Event(), 0
    tasks = Tasks()

    def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            stop.set()
        raise ValueError

    thread = threading.Thread(target=tasks.go_on, args=("follower", work, stop))
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert (runs, tasks.failing) == (3, ["follower"])


def test_failures_of_all_processes_of_a_kind_are_counted_in_the_state_folder(
    tmp_path: Path,
) -> None:
    def fail_twice(process: str, task: str) -> None:
        stop, kept = threading.Event(), Failures(tmp_path, process)
        runs = 0

        def work() -> None:
            nonlocal runs
            runs += 1
            if runs == 2:
                stop.set()
            raise ValueError

        Tasks(kept.failed, kept.started).go_on(task, work, stop)

    fail_twice("sync", "wiki")
    fail_twice("sync", "wiki")
    Failures(tmp_path, "sync").failed("\udc80")  # a folder that is not UTF-8
    Failures(tmp_path, "slack").started("retention")
    seen = {(one.process, one.task): (one.failures, one.is_recent) for one in failures_in(tmp_path)}
    assert seen == {
        ("slack", "retention"): (0, False),
        ("sync", "wiki"): (4, True),
        ("sync", "\udc80"): (1, True),
    }


@pytest.mark.parametrize(
    "left",
    [
        *("", "{", "[1]", '{"retention": 3}'),
        *('{"retention": [null, 1]}', '{"retention": [Infinity, 1]}'),
    ],
)
def test_a_count_that_a_kill_cut_off_begins_again(tmp_path: Path, left: str) -> None:
    kept = Failures(tmp_path, "slack")
    kept.started("retention")
    (tmp_path / "tasks" / "slack.json").write_text(left)
    assert failures_in(tmp_path) == []
    kept.failed("retention")
    assert [one.failures for one in failures_in(tmp_path)] == [1]


@pytest.mark.slow
def test_a_gateway_says_what_failed_and_goes_on_with_it(tmp_path: Path, engine_url: str) -> None:
    """A row of the database that cannot be read ends what follows the versions, for as long."""
    settings = {"gateway_engine_url": engine_url, "gateway_engine_model": "small"}
    with starting.gateway(tmp_path, **settings) as gateway:
        assert httpx.get(f"{gateway.root}/ready").json() == {"status": "ready"}
        Failures(gateway.home, "slack").failed("retention")
        with closing(sqlite3.connect(gateway.home / "askdocs.db", isolation_level=None)) as db:
            columns = "name, source, state, message, kind, url, model, updated"
            row = ("docs@v1", "local", "ready", "", "gguf", engine_url, "small", "not a date")
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO deployments ({columns}) VALUES ({marks})", row)
            told = until(lambda: _ready(gateway), lambda ready: len(ready.get("degraded", ())) == 2)
            assert told == {"status": "ready", "degraded": ["versions", "slack"]}
            shown = httpx.get(f"{gateway.root}/metrics").text
            assert re.search(r'task_failures_total\{task="versions"\} [1-9]', shown)
            assert 'task_failures_total{task="usage"} 0' in shown
            assert 'process_task_failures_total{process="slack",task="retention"} 1' in shown
            db.execute("UPDATE deployments SET updated = '2026-01-02 03:04:05.000000'")
        until(lambda: _models(gateway), lambda models: "docs@v1" in models)
        assert "versions failed" in gateway.log.read_text()


def _ready(gateway: starting.Gateway) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{gateway.root}/ready").json()
    return told


def _models(gateway: starting.Gateway) -> set[str]:
    headers = {"authorization": f"Bearer {starting.KEY}"}
    listed = httpx.get(f"{gateway.url}/models", headers=headers).json()
    return {one["id"] for one in listed["data"]}


def until(look: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    deadline = time.monotonic() + 60
    while not wanted(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found
