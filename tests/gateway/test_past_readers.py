"""Who could read a page, from when to when, in a real database of each kind."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from core import database
from gateway.access import past_readers
from gateway.access.past_readers import PastReaders, of, record
from tests.gateway.conftest import page
from tests.gateway.postgres import url
from tests.waiting import until
from wiki.index.index import Index, writing
from wiki.index.view import Rights
from wiki.rights import EVERY
from wiki.rules import NO_RULES

__all__ = ["url"]

DAY = datetime(2026, 11, 2, tzinfo=UTC)
PAY, TEA = "https://w/pay", "https://w/tea"
HR, BOARD = frozenset({"hr"}), frozenset({"board"})


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    database.migrate(engine)
    yield engine
    engine.dispose()


def days(engine: sa.Engine, at: str) -> list[tuple[list[list[str]], int, int | None]]:
    """The groups, and between which days they could read the page."""
    return [
        (
            [sorted(some) for some in one.groups],
            (one.since - DAY).days,
            (one.until - DAY).days if one.until else None,
        )
        for one in of(engine, at)
    ]


@pytest.mark.slow
def test_periods_begin_and_end_with_the_rights_that_they_are_about(engine: sa.Engine) -> None:
    open_to_all, hr, board = {(EVERY, "[]")}, '[["hr"]]', '[["hr", "board"]]'
    for day, rights in enumerate(
        (
            open_to_all,
            {(PAY, hr), (TEA, "[]")},
            {(PAY, hr), (TEA, "[]")},  # of another gateway, or after a restart
            {(PAY, board), (TEA, "[]")},
            {(PAY, hr)},
        )
    ):
        record(engine, rights, DAY + timedelta(day))
    assert days(engine, PAY) == [
        ([["hr"]], 4, None),
        ([["board", "hr"]], 3, 4),
        ([["hr"]], 1, 3),
        ([], 0, 1),
    ]
    assert days(engine, TEA) == [([], 1, 4), ([], 0, 1)]
    assert [one.every for one in of(engine, TEA)] == [False, True]


@pytest.mark.slow
def test_a_gateway_that_waited_for_another_notes_when_its_turn_came(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(1) as threads:
        with database.writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                lock = sa.func.pg_advisory_xact_lock(database.LOCK + 1)
                connection.execute(sa.select(lock))
            waiting = threads.submit(record, engine, {(PAY, "[]")})
            time.sleep(0.5)
            turn = datetime.now(UTC)
        waiting.result(60)
    assert of(engine, PAY)[0].since >= turn


@pytest.mark.slow
def test_periods_that_ended_long_ago_or_are_too_many_are_deleted(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(8):
        record(engine, {(PAY, f'[["{day}"]]')}, DAY + timedelta(day))
    monkeypatch.setattr(past_readers, "MOST", 5)
    record(engine, {(PAY, '[["7"]]')}, DAY + timedelta(9))
    assert [since for _, since, _ in days(engine, PAY)] == [7, 6, 5, 4, 3, 2]
    monkeypatch.setattr(past_readers, "RETENTION", timedelta(30))
    record(engine, {(PAY, '[["7"]]')}, DAY + timedelta(36))
    assert [since for _, since, _ in days(engine, PAY)] == [7, 6]


async def test_a_gateway_records_rights_when_they_change(
    stored: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_readers, "INTERVAL", 0.01)
    file = tmp_path / "index.db"
    pay = page("pay.md", "# Pay\n\nText.")
    with writing(file) as writer:
        writer.put("wiki", pay, "1")
    index = Index(file)
    rights = Rights(index, NO_RULES)
    task = asyncio.create_task(PastReaders(stored, rights.revision, rights.every).run())

    async def periods(number: int) -> None:
        await asyncio.to_thread(until, lambda: len(of(stored, pay.url)) == number)

    try:
        await periods(1)
        for number, groups in enumerate(((HR,), (BOARD,)), start=2):
            with writing(file) as writer:
                writer.regroup("wiki", "pay.md", groups, "1")
            await periods(number)
        with writing(file) as writer:
            writer.remove("wiki", "pay.md")
        await asyncio.to_thread(until, lambda: of(stored, pay.url)[0].every)
    finally:
        task.cancel()
        index.close()
    assert [one.groups for one in of(stored, pay.url)] == [(), (BOARD,), (HR,), ()]
    assert [one.until is None for one in of(stored, pay.url)] == [True, False, False, False]
