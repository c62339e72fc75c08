"""Usage, on SQLite and on PostgreSQL: nothing is lost, nothing counts twice."""

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from core import database
from gateway.access.keys import Key, Keys
from gateway.telemetry import usage
from gateway.telemetry.usage import Usage, last_used, report
from tests.gateway.postgres import Postgres, url
from tests.waiting import async_until

# Real servers, which take their time.
pytestmark = pytest.mark.slow

__all__ = ["url"]

ROOT = Path(__file__).parents[2]
ANN = Key("ann0000000", "ann", "red", datetime.now(UTC))
BOB = Key("bob0000000", "bob", "blue", datetime.now(UTC))


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    database.migrate(engine)
    yield engine
    engine.dispose()


def today() -> date:
    return datetime.now(UTC).date()


async def test_what_is_added_is_reported_by_key_team_alias_model_and_day(
    engine: sa.Engine,
) -> None:
    key, _ = Keys(engine).create("carl", "red")
    one = Usage(engine)
    one.count(key, "docs", "docs@v7", 100, 20)
    one.count(key, "docs", "docs@v8", 1, 2)
    one.count(ANN, "base", "base", 10, 5)
    await one.flush()
    one.count(key, "docs", "docs@v7", 3, 4)
    await one.flush()

    def by(*names: str) -> list[tuple[object, ...]]:
        return [
            (*row.group.values(), row.requests, row.prompt_tokens, row.completion_tokens)
            for row in report(engine, names)
        ]

    day = today().isoformat()
    assert by("key") == [("carl", key.id, 3, 104, 26), (ANN.id, ANN.id, 1, 10, 5)]
    assert by("team") == [("red", 4, 114, 31)]
    assert by("alias") == [("docs", 3, 104, 26), ("base", 1, 10, 5)]
    assert by("model") == [("docs@v7", 2, 103, 24), ("base", 1, 10, 5), ("docs@v8", 1, 1, 2)]
    assert by("day") == [(day, 4, 114, 31)]
    assert by("team", "model")[0] == ("red", "docs@v7", 2, 103, 24)
    assert last_used(engine) == {key.id: today(), ANN.id: today()}


async def test_a_day_and_a_month_end_at_midnight_utc(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = today().replace(day=1)
    midnight = datetime(first.year, first.month, 1, tzinfo=UTC).timestamp()
    one = Usage(engine)
    for moment in (midnight - 1, midnight):
        monkeypatch.setattr(time, "time", lambda at=moment: at)
        one.count(ANN, "docs", "base", 10, 0)
    monkeypatch.undo()
    assert await one.month(ANN.id) == 10
    await one.flush()
    assert await one.month(ANN.id) == 10
    assert await Usage(engine).month(ANN.id) == 10
    last = first - timedelta(days=1)
    assert [row.group["day"] for row in report(engine, ["day"])] == [f"{last}", f"{first}"]
    assert report(engine, ["day"], since=first)[0].group["day"] == f"{first}"
    assert report(engine, ["day"], until=last)[0].group["day"] == f"{last}"
    assert report(engine, ["day"], since=today() + timedelta(days=1)) == []


@pytest.mark.parametrize("interval", [0, 1])
async def test_a_month_counts_what_is_written_and_what_is_not_and_only_the_keys_own(
    engine: sa.Engine, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "INTERVAL", interval)
    one = Usage(engine)
    assert await one.month(ANN.id) == 0
    for tokens in (1, 2, 3):
        one.count(ANN, "docs", "base", tokens, tokens)
        one.count(BOB, "docs", "base", 1000, 0)
        total = tokens * (tokens + 1)
        assert await one.month(ANN.id) == total
        flushing = asyncio.create_task(one.flush())
        while not flushing.done():
            assert await one.month(ANN.id) == total
            await asyncio.sleep(0)
        assert await one.month(ANN.id) == total


async def test_a_month_sees_other_workers_within_a_second_or_two(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "INTERVAL", 0.05)
    one, other = Usage(engine), Usage(engine)
    assert await one.month(ANN.id) == 0
    other.count(ANN, "docs", "base", 5, 0)
    await other.flush()
    await asyncio.sleep(0.1)
    assert await one.month(ANN.id) == 5


def test_several_workers_add_to_the_same_rows_without_losing_any(url: str) -> None:
    database.migrate(engine := database.open(url))
    program = """
import asyncio, sys
from datetime import UTC, datetime
from core import database
from gateway.access.keys import Key
from gateway.telemetry.usage import Usage
async def main():
    one = Usage(database.open(sys.argv[1]))
    keys = [Key(f"key{n}", f"key{n}", "", datetime.now(UTC)) for n in range(20)]
    if sys.argv[2] == "backwards":
        keys.reverse()
    for _ in range(30):
        for key in keys:
            one.count(key, "docs", "base", 2, 1)
        await one.flush()
asyncio.run(main())
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", program, url, way], cwd=ROOT)
        for way in ("forwards", "backwards")
    ]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    rows = report(engine, ["key"])
    assert [(row.requests, row.tokens) for row in rows] == [(60, 180)] * 20
    engine.dispose()


async def test_running_writes_by_itself_and_once_more_at_the_end(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "INTERVAL", 0.05)
    one = Usage(engine)
    running = asyncio.create_task(one.run())
    one.count(ANN, "docs", "base", 1, 0)
    await async_until(lambda: report(engine))
    assert report(engine)[0].requests == 1
    for _ in range(5):
        one.count(ANN, "docs", "base", 1, 0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert report(engine)[0].requests == 6


async def test_without_the_database_numbers_are_kept_said_once_and_written_later(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    database.migrate(engine := database.open(postgres.database()))
    one = Usage(engine)
    one.count(ANN, "docs", "base", 1, 0)
    await one.flush()
    assert await one.month(ANN.id) == 1
    postgres.stop()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                one.count(ANN, "docs", "base", 1, 0)
                await one.flush()
        (said,) = [record for record in caplog.records if record.name == "askdocs.gateway"]
        assert "usage waits" in said.getMessage()
        # Known from before; of another key nothing is known.
        assert await one.month(ANN.id) == 4
        with pytest.raises(database.Unreachable):
            await one.month(BOB.id)
    finally:
        postgres.start()
    await one.flush()
    assert "usage is written again" in caplog.text
    assert report(engine)[0].requests == 4
    assert await Usage(engine).month(ANN.id) == 4
    engine.dispose()


async def test_what_cannot_be_written_at_the_end_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Usage(database.open(f"sqlite:///{tmp_path}/nowhere/askdocs.db"))
    running = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    one.count(ANN, "docs", "base", 1, 0)
    one.count(BOB, "docs", "base", 1, 0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert "usage: 2 rows are lost" in caplog.text


def test_adding_takes_microseconds() -> None:
    one = Usage(database.open("sqlite:////nowhere/askdocs.db"))
    rounds = timeit.repeat(lambda: one.count(ANN, "docs", "base", 1, 2), number=10_000, repeat=5)
    assert min(rounds) / 10_000 < 5e-6


async def test_a_name_that_cannot_be_stored_keeps_no_other_from_it(stored: sa.Engine) -> None:
    usage = Usage(stored)
    odd = Key("odd", "odd", "te\udcffam", datetime.now(UTC))
    usage.count(odd, "docs", "\ud800", 1, 2)
    usage.count(odd, "docs", "nul\0", 1, 2)
    usage.count(odd, "docs", "base", 3, 4)
    await usage.flush()
    rows = {row.group["model"]: row.tokens for row in report(stored, ["model"])}
    assert rows == {"?": 3, "nul?": 3, "base": 7}
