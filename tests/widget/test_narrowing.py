"""Stored answers are closed to whom their pages have been closed since."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from gateway.access.rights import PUBLIC, Groups, Reader
from gateway.storage import database
from tests.gateway.postgres import Postgres, postgres
from widget.service import gateway, narrowing
from widget.service.gateway import Rights
from widget.service.narrowing import Narrowing
from widget.service.store import Answered, Asked, Store, open_to, question_table

__all__ = ["postgres"]

HR, BOARD = frozenset({"hr"}), frozenset({"board"})
WIKI = "https://wiki.example.com"


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


class Gateway:
    """Says what it takes to read pages, as `/askdocs/readable` does."""

    def __init__(self) -> None:
        self.pages: dict[str, Groups] = {}
        self.revision = "one"
        self.asked = 0

    async def rights(self, urls: Sequence[str]) -> Rights | None:
        assert len(urls) <= 500
        self.asked += len(urls)
        readers = tuple(self.pages.get(url, (frozenset(),)) for url in urls)
        return Rights(revision=self.revision, readers=readers)


def answer(store: Store, id: str, page: str, conversation: str = "") -> None:
    store.asked(Asked(id, "How?", conversation or id))
    outcome = {"pages": [{"url": f"{WIKI}/{page}#part", "title": page}]}
    store.answered(id, Answered("answered", f"As {page} says.", outcome=outcome))


def seen(store: Store, reader: Reader) -> list[str]:
    with database.reading(store.engine) as connection:
        query = sa.select(question_table.c.id).where(open_to(connection, reader))
        return sorted(connection.execute(query).scalars())


async def test_answers_follow_the_rights_of_their_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "BATCH", 3)
    told = Gateway()
    told.pages = {f"{WIKI}/tea": (), f"{WIKI}/pay": ()}
    work = Narrowing(cast(gateway.Gateway, told), store)
    for number in range(4):
        answer(store, f"tea-{number}", "tea")
    answer(store, "pay", "pay")
    answer(store, "then", "tea", "pay")  # was told what the answer before it says
    store.asked(Asked("open", "How?", "open"))
    every = seen(store, PUBLIC)
    assert await work.once()
    assert seen(store, PUBLIC) == every
    assert store.get("pay").answered.readers is None
    # What has been looked at is not looked at again.
    told.asked = 0
    assert await work.once()
    assert told.asked == 0

    told.pages[f"{WIKI}/pay"], told.revision = (HR, BOARD), "two"
    assert await work.once()
    tea = ["open", *(f"tea-{number}" for number in range(4))]
    assert seen(store, PUBLIC) == seen(store, Reader(HR)) == tea
    assert seen(store, Reader(HR | BOARD)) == every
    assert store.get("then").answered.readers == '[["board"], ["hr"]]'
    assert [turn.answered.readers for turn in store.history("pay")] == ['[["board"], ["hr"]]'] * 2

    # A page that is gone is for nobody, and one that is opened again opens its answers.
    del told.pages[f"{WIKI}/tea"]
    told.pages[f"{WIKI}/pay"], told.revision = (), "three"
    assert await work.once()
    assert seen(store, PUBLIC) == ["open", "pay"]

    # The rights of the day on which it was answered stay.
    store.asked(Asked("new", "How?", "new"))
    store.answered("new", Answered("answered", "So.", outcome={}, readers='[["hr"]]'))
    assert await work.once()
    assert "new" not in seen(store, PUBLIC)
    assert "new" in seen(store, Reader(HR))


async def test_what_changes_meanwhile_is_looked_at_again(store: Store) -> None:
    answer(store, "pay", "pay")
    told = Gateway()
    work = Narrowing(cast(gateway.Gateway, told), store)
    first = await told.rights([])

    class Changing(Gateway):
        async def rights(self, urls: Sequence[str]) -> Rights | None:
            return await super().rights(urls) if urls else first

    changing = Changing()
    changing.revision = "two"
    assert not await Narrowing(cast(gateway.Gateway, changing), store).once()
    assert seen(store, PUBLIC) == ["pay"]
    assert await work.once()
    assert seen(store, PUBLIC) == []
