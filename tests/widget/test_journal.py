"""What the widget remembers, and what it does when the database does not."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import database
from tests.waiting import async_until
from widget.service import journal as journal_module
from widget.service.journal import GONE, NOT_STORED, NOTHING_STORED, Journal, NotStored
from widget.service.outcome import Outcome
from widget.service.pending import PendingQuestion, PendingQuestions
from widget.service.states import Done
from widget.service.store import Answered, NewQuestion, Store, StoredQuestion, Unknown, Vote

NEVER = 120.0  # seconds, of which no test takes half


@pytest.fixture
def busy() -> float:
    """Seconds for which a write waits for a lock of the database."""
    return 1.5


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: float) -> Store:
    monkeypatch.setattr(database, "BUSY", busy)
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    return Store(engine)


@pytest.fixture
async def journal(store: Store) -> AsyncIterator[Journal]:
    journal = Journal(PendingQuestions(), store, 90)
    yield journal
    await asyncio.to_thread(journal.close)


@contextmanager
def locked(store: Store) -> Iterator[None]:
    connection = sqlite3.connect(str(store.engine.url.database), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def asked(id: str, conversation: str = "c") -> NewQuestion:
    return NewQuestion(id, f"question {id}", conversation)


def ended_at_once(work: Coroutine[Any, Any, None]) -> None:
    """It waits for nothing: its first step is its last one."""
    with pytest.raises(StopIteration):
        work.send(None)


def kept(store: Store, id: str) -> StoredQuestion | None:
    with contextlib.suppress(Unknown):
        return store.get(id)
    return None


@pytest.mark.parametrize("busy", [NEVER])
async def test_a_locked_database_holds_an_answer_up_for_a_second_and_keeps_it_later(
    journal: Journal, store: Store
) -> None:
    began = asyncio.get_running_loop().time()
    with locked(store):
        await journal.asked(asked("a"))
        waited = asyncio.get_running_loop().time() - began
    assert 0.9 < waited < NEVER / 2
    await async_until(lambda: kept(store, "a"))
    assert store.get("a").answered.state == "asked"


@pytest.mark.slow
async def test_a_database_that_failed_is_left_alone_for_a_while(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE", NEVER)
    monkeypatch.setattr(journal_module, "AWAY", NEVER)
    with locked(store):
        await journal.asked(asked("a"))  # gives up after BUSY
        ended_at_once(journal.asked(asked("b")))
    journal._away_until = 0.0
    await journal.asked(asked("c"))
    await async_until(lambda: kept(store, "c"))


async def test_a_vote_that_cannot_be_stored_is_said_to_be_lost(
    journal: Journal, store: Store
) -> None:
    await journal.asked(asked("a"))
    with locked(store), pytest.raises(NotStored, match=NOT_STORED):
        await journal.vote("a", Vote("up"), "v")
    assert store.get("a").vote is None
    await journal.vote("a", Vote("up"), "v")
    assert store.get("a").vote == Vote("up")
    with pytest.raises(NotStored, match=GONE):
        await journal.vote("unknown", Vote("up"), "v")


async def test_without_a_store_nothing_is_kept_and_that_is_said() -> None:
    journal = Journal(PendingQuestions(), None, 90)
    await journal.asked(asked("a"))
    assert await journal.history("c") == []
    assert await journal.most_asked(3) == []
    await journal.run()  # has nothing to delete, ever
    with pytest.raises(NotStored, match=NOTHING_STORED):
        await journal.vote("a", Vote("up"), "v")
    journal.close()


async def test_questions_that_were_all_closed_are_offered_no_longer(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FRESH", 0.0)
    for visitor in ("one", "another"):
        store.asked(NewQuestion(visitor, "Is the layoff on Monday?", visitor, visitor=visitor))
        store.answered(visitor, Answered("answered"))
    assert await journal.most_asked(3) == ["Is the layoff on Monday?"]
    store.narrow(dict.fromkeys(("one", "another"), '[["hr"]]'), "two")
    assert await journal.most_asked(3) == []


async def told(journal: Journal) -> list[tuple[str, str]]:
    return [(turn.question, turn.answered.answer) for turn in await journal.history("c")]


async def test_a_conversation_goes_on_from_memory_and_after_a_restart_from_the_store(
    journal: Journal, store: Store
) -> None:
    await journal.asked(asked("a"))
    store.answered("a", Answered("answered", "stored"))
    assert await told(journal) == [("question a", "stored")]
    ask = journal._pending.add(asked("b"), "v")
    ask.text = "remembered"
    assert await told(journal) == [("question a", "stored")]  # not answered yet
    ask.finish(Done("remembered", Outcome()))
    store.forget(visitor="")
    assert await told(journal) == [("question b", "remembered")]


async def test_what_was_kept_long_enough_is_deleted(store: Store) -> None:
    now = datetime.now(UTC)
    store.asked(asked("old"), now - timedelta(days=8))
    store.asked(asked("young"), now - timedelta(days=6))
    journal = Journal(PendingQuestions(), store, 7)
    running = asyncio.create_task(journal.run())
    while True:
        await asyncio.sleep(0.02)
        try:
            store.get("old")
        except Unknown:
            break
    assert store.get("young")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    journal.close()


async def test_what_is_asked_while_the_database_is_away_is_stored_when_it_is_back(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY", 0.1)
    monkeypatch.setattr(journal_module, "PATIENCE", NEVER)
    monkeypatch.setattr(journal_module, "AWAY", NEVER)
    ask = PendingQuestion(asked("a"), 0.0)
    with away(store, monkeypatch):
        await journal.asked(ask.asked)
        ended_at_once(journal.answered(ask, Answered("answered", "In the kitchen.")))
        with pytest.raises(NotStored, match=NOT_STORED):
            await journal.vote("a", Vote("up"), "v")
    await async_until(lambda: (row := kept(store, "a")) and row.answered.state == "answered")
    assert store.get("a").answered.answer == "In the kitchen."
    await journal.vote("a", Vote("up"), "v")


async def test_a_question_whose_storing_was_not_heard_of_is_stored_once(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY", 0.1)
    real = Store.asked
    failing = [True]

    def breaks(self: Store, *args: Any) -> None:
        real(self, *args)
        if failing:
            failing.pop()
            raise database.Unreachable("the connection broke at the commit")

    monkeypatch.setattr(Store, "asked", breaks)
    await journal.asked(asked("a"))
    await journal.asked(asked("b"))
    for _ in range(100):
        await asyncio.sleep(0.05)
        with contextlib.suppress(Unknown):
            if store.get("b"):
                break
    assert store.get("a").asked.question == "question a"


@contextmanager
def away(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that refuses at once, until the end of the block."""
    gone = [True]

    def refusing(call: Any) -> Any:
        def refuse(*args: Any) -> Any:
            if gone:
                raise database.Unreachable("it is away")
            return call(*args)

        return refuse

    for name in ("asked", "answered", "vote"):
        monkeypatch.setattr(Store, name, refusing(getattr(Store, name)))
    yield
    gone.clear()
