"""Questions and votes, on SQLite and on PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import database
from core.database import Unreachable
from tests.gateway.postgres import Postgres
from widget.service.store import Answered, NewQuestion, Store, Unknown, Vote

NOW = datetime.now(UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/askdocs.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database()
    engine = database.open(url)
    database.migrate(engine)
    yield Store(engine)
    engine.dispose()


def asked(id: str, question: str = "How?", **more: str) -> NewQuestion:
    return NewQuestion(id, question, **{"conversation": "c", "visitor": "v", **more})  # type: ignore[arg-type]


def test_a_question_is_kept_with_its_answer_and_the_last_vote(store: Store) -> None:
    store.asked(asked("a", page="https://wiki.example.com/x", team="red"))
    before = store.get("a")
    assert before.answered == Answered("asked")
    assert before.vote is None
    outcome = {"sources": [{"title": "Ö", "url": "https://wiki.example.com/x#y"}], "pages": []}
    answer = Answered("answered", "So. 😀", "docs@v7", outcome, 0.75, 0.5, 2.25, "supported")
    store.answered("a", answer)
    store.vote("a", Vote("up"), "v")
    told = store.vote("a", Vote("down", ("wrong", "outdated"), "No.\n"), "v")
    assert told.vote == Vote("up")
    kept = store.get("a")
    assert kept.asked == asked("a", page="https://wiki.example.com/x", team="red")
    assert kept.answered == answer
    assert kept.vote == Vote("down", ("wrong", "outdated"), "No.\n")
    assert abs(kept.at - datetime.now(UTC)) < timedelta(minutes=1)
    store.vote("a", Vote(""), "v")
    assert store.get("a").vote is None


def test_what_is_not_stored_is_said_to_be_unknown(store: Store) -> None:
    for call in (
        lambda: store.get("x"),
        lambda: store.answered("x", Answered("refused")),
        lambda: store.vote("x", Vote("up"), "v"),
        lambda: store.share("x"),
        lambda: store.shared("x"),
    ):
        with pytest.raises(Unknown):
            call()


def test_a_conversation_is_its_last_answered_questions_oldest_first(store: Store) -> None:
    for number in range(6):
        store.asked(asked(f"a{number}", f"q{number}"), NOW + timedelta(seconds=number))
        state = Answered("refused" if number == 4 else "answered", f"r{number}")
        store.answered(f"a{number}", state)
    store.asked(asked("other", conversation="d"))
    told = [(turn.question, turn.answered.answer) for turn in store.history("c")]
    assert told == [("q2", "r2"), ("q3", "r3"), ("q5", "r5")]


def test_a_shared_answer_has_one_link(store: Store) -> None:
    store.asked(asked("a"))
    token = store.share("a")
    assert store.share("a") == token
    assert store.shared(token).asked.id == "a"
    with pytest.raises(Unknown, match="no longer kept"):
        store.shared(token[:-1])


def test_the_most_asked_are_asked_by_more_than_one_visitor(store: Store) -> None:
    rows = [("How?", "1"), ("how?", "2"), ("Why?", "1"), ("Why?", "2"), ("Why?", "3")]
    rows += [("Who is Jo?", "4")] * 5 + [("Refused", "1"), ("Refused", "2")]
    for number, (question, visitor) in enumerate(rows):
        store.asked(asked(str(number), question, visitor=visitor, conversation=str(number)))
        answered = Answered("refused" if question == "Refused" else "answered")
        store.answered(str(number), answered)
    store.asked(asked("old", "Old?", visitor="1"), NOW - timedelta(days=40))
    recent = NOW - timedelta(days=30)
    assert [question.lower() for question in store.most_asked(5, recent)] == ["why?", "how?"]
    store.vote("2", Vote("down"), "1")
    assert [question.lower() for question in store.most_asked(5, recent)] == ["how?"]


@pytest.mark.parametrize(
    ("outcome", "is_offered"),
    [({"caution": True}, False), ({"caution": False}, True), ({}, True)],
    ids=["caution", "none", "of before"],
)
def test_what_was_answered_with_a_caution_is_no_example(
    store: Store, outcome: dict[str, Any], is_offered: bool
) -> None:
    for id in ("one", "two"):
        store.asked(asked(id, "How?", visitor=id, conversation=id))
        store.answered(id, Answered("answered", outcome=outcome, confidence=0.3))
    offered = store.most_asked(5, NOW - timedelta(days=30))
    assert offered == (["How?"] if is_offered else [])


@pytest.mark.parametrize(
    "private",
    [{"channel": "slack"}, {"channel": "mcp"}, {"conversation": "other"}, {"quote": "a passage"}],
)
def test_what_was_asked_behind_another_door_is_no_example(
    store: Store, private: dict[str, str]
) -> None:
    for id in ("one", "two"):
        more = {"visitor": id, "conversation": id} | private
        store.asked(asked(id, "Is the layoff on Monday?", **more))
        store.answered(id, Answered("answered"))
    assert store.most_asked(5, NOW - timedelta(days=30)) == []


def test_forgetting_takes_votes_along_and_only_what_was_meant(store: Store) -> None:
    old = NOW - timedelta(days=91)
    store.asked(asked("a", visitor="1"), old)
    store.asked(asked("b", visitor="1", person="jo"))
    store.asked(asked("c", visitor="2", person="jo"))
    store.vote("b", Vote("up"), "1")
    assert store.forget(visitor="1", dry_run=True) == 2
    assert store.get("b").vote == Vote("up")
    assert store.forget(before=NOW - timedelta(days=90)) == 1
    assert store.forget(visitor="1") == 1
    for gone in "ab":
        with pytest.raises(Unknown):
            store.get(gone)
    assert store.forget(person="jo") == 1
    with pytest.raises(ValueError, match="condition"):
        store.forget()


def test_a_vote_on_a_locked_database_is_reported_and_not_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY", 0.1)
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    store = Store(engine)
    store.asked(asked("a"))
    locking = sqlite3.connect(tmp_path / "askdocs.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable, match="locked"):
        store.vote("a", Vote("down"), "v")
    locking.execute("ROLLBACK")
    locking.close()
    assert store.get("a").vote is None
    engine.dispose()
