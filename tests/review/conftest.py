"""A database with questions, on SQLite and, slowly, on PostgreSQL."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from core import database
from tests.gateway.postgres import Postgres
from widget.app import create_app
from widget.review.clusters import Sorter
from widget.review.queue import Queue
from widget.review.wiki import ReviewIndex
from widget.service.store import Answered, NewQuestion, Store, Vote
from widget.settings import WidgetSettings

NOW = datetime.now(UTC)
PORTS = {"title": "Ports", "url": "https://wiki.example.com/ports/"}
Start = Callable[..., TestClient]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    yield Store(engine)
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store on each of the two databases."""
    url = f"sqlite:///{tmp_path}/askdocs.db"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database()
    engine = database.open(url)
    database.migrate(engine)
    yield Store(engine)
    engine.dispose()


def unindexed(store: Store) -> ReviewIndex:
    """A wiki whose pages the review does not know."""
    return ReviewIndex(None, store.engine)


def queue_of(store: Store) -> Queue:
    return Queue(store.engine, unindexed(store))


@pytest.fixture
def start(store: Store) -> Start:
    """A client of a widget with these settings, and with one question to review."""
    ask(store, "How do I print?", outcome={"pages": [PORTS]})
    Sorter(store.engine).sort()

    def begin(**settings: object) -> TestClient:
        url = str(store.engine.url)
        given = WidgetSettings(**{"database_url": url, "gateway_key": "ask-test", **settings})  # type: ignore[arg-type]
        app = create_app(given)
        return TestClient(app, follow_redirects=False, client=("127.0.0.1", 50_000))

    return begin


numbers = itertools.count(1)


def ask(
    store: Store,
    question: str,
    *,
    state: str = "refused",
    answer: str = "",
    confidence: float | None = None,
    outcome: dict[str, Any] | None = None,
    vote: str = "",
    reasons: tuple[str, ...] = (),
    text: str = "",
    days: float = 0,
    duration: float | None = 2.0,
    verdict: str | None = None,
    **more: Any,
) -> str:
    """Store a question with what became of it, asked so many days ago; returns its id."""
    id = f"question-{next(numbers):06}"  # in the order of the questions
    asked = NewQuestion(id, question, **{"conversation": id, "visitor": id, **more})
    store.asked(asked, NOW - timedelta(days=days))
    answered = Answered(
        state,  # type: ignore[arg-type]
        answer,
        "docs@v1",
        outcome or {},
        confidence,
        0.5,
        duration,
        verdict,
    )
    store.answered(id, answered)
    if vote:
        store.vote(id, Vote(vote, reasons, text), "v")  # type: ignore[arg-type]
    return id
