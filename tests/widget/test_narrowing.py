"""Stored answers are closed to whom their pages have been closed since."""

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core import database
from core.errors import AskdocsError
from gateway.api import readable
from tests.gateway.postgres import Postgres
from tests.widget.stand_in import serve
from widget.service import gateway, narrowing
from widget.service.narrowing import Narrowing
from widget.service.outcome import Rights
from widget.service.store import Answered, NewQuestion, Store, open_to, question_table
from widget.settings import WidgetSettings
from wiki.rights import PUBLIC, Groups, Reader

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
        self.requests = 0
        self.away = 0
        """Requests for pages until it does not answer."""

    async def rights(self, urls: Sequence[str]) -> Rights | None:
        assert len(urls) <= 500
        self.asked += len(urls)
        self.requests += 1
        if urls and self.away:
            self.away -= 1
            if not self.away:
                raise AskdocsError("the gateway does not answer")
        readers = tuple(self.pages.get(url, (frozenset(),)) for url in urls)
        known = tuple(url in self.pages for url in urls)
        return Rights(revision=self.revision, readers=readers, known=known)


def answer(store: Store, id: str, page: str, conversation: str = "") -> None:
    store.asked(NewQuestion(id, "How?", conversation or id))
    outcome = {"pages": [{"url": f"{WIKI}/{page}#part", "title": page}]}
    store.answered(id, Answered("answered", f"As {page} says.", outcome=outcome))


def seen(store: Store, reader: Reader) -> list[str]:
    with database.reading(store.engine) as connection:
        query = sa.select(question_table.c.id).where(open_to(connection, reader))
        return sorted(connection.execute(query).scalars())


async def test_answers_follow_the_rights_of_their_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "STEP", 3)
    told = Gateway()
    told.pages = {f"{WIKI}/tea": (), f"{WIKI}/pay": ()}
    work = Narrowing(cast(gateway.Gateway, told), store)
    for number in range(4):
        answer(store, f"tea-{number}", "tea")
    answer(store, "pay", "pay")
    answer(store, "then", "tea", "pay")  # its prompt had the answer before it
    store.asked(NewQuestion("open", "How?", "open"))
    every = seen(store, PUBLIC)
    assert await work.once()
    assert seen(store, PUBLIC) == every
    assert store.get("pay").answered.readers is None
    # What has been looked at is not checked again.
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
    store.asked(NewQuestion("new", "How?", "new"))
    store.answered("new", Answered("answered", "So.", outcome={}, readers='[["hr"]]'))
    assert await work.once()
    assert "new" not in seen(store, PUBLIC)
    assert "new" in seen(store, Reader(HR))


async def test_a_question_follows_the_rights_of_the_page_on_which_it_was_asked(
    store: Store,
) -> None:
    told = Gateway()
    told.pages = {f"{WIKI}/tea": (), f"{WIKI}/pay": (HR,)}
    around = "https://wiki.example.com/search"
    for id, page, quote in (
        ("about-pay", f"{WIKI}/pay#net", ""),
        ("about-tea", f"{WIKI}/tea", "Tea is served"),
        ("around", around, ""),
        ("selected-around", around, "98,765"),
        ("selected-anywhere", "", "98,765"),
    ):
        store.asked(NewQuestion(id, "How?", id, page=page, quote=quote))
        store.answered(id, Answered("refused"))
    assert await Narrowing(cast(gateway.Gateway, told), store).once()
    assert seen(store, PUBLIC) == ["about-tea", "around"]
    assert seen(store, Reader(HR)) == ["about-pay", "about-tea", "around"]


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


async def test_a_page_is_asked_for_once_and_only_what_changed_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "STEP", 10)
    told = Gateway()
    told.pages = {f"{WIKI}/{number}": () for number in range(5)}
    for number in range(60):
        answer(store, f"{number:02}", str(number % 5))
    work = Narrowing(cast(gateway.Gateway, told), store)
    assert await work.once()
    assert (told.asked, told.requests) == (5, 2)
    threads: set[int] = set()
    written: list[str] = []
    narrow, stored = store.narrow, narrowing.simplified

    def noted(readers: Mapping[str, str | None], revision: str) -> None:
        written.extend(readers)
        narrow(readers, revision)

    def simplified(every: Iterable[Iterable[str]]) -> Groups:
        threads.add(threading.get_ident())
        return stored(every)

    monkeypatch.setattr(store, "narrow", noted)
    monkeypatch.setattr(narrowing, "simplified", simplified)
    narrowing._stored.cache_clear()
    told.pages[f"{WIKI}/3"], told.revision = (HR,), "two"
    assert await work.once()
    assert written == [f"{number:02}" for number in range(3, 60, 5)]
    assert threads
    assert threading.get_ident() not in threads  # where the box answers


async def test_after_a_failure_it_goes_on_where_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "STEP", 2)
    told = Gateway()
    for number in range(8):
        answer(store, str(number), str(number))
    told.away = 3
    work = Narrowing(cast(gateway.Gateway, told), store)
    with pytest.raises(AskdocsError):
        await work.once()
    assert seen(store, PUBLIC) == ["4", "5", "6", "7"]
    told.asked = 0
    assert await work.once()
    assert told.asked == 4
    assert seen(store, PUBLIC) == []


async def test_an_outage_of_many_hours_does_not_end_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Away(Gateway):
        async def rights(self, urls: Sequence[str]) -> Rights | None:
            raise AskdocsError("the gateway does not answer")

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2_000:
            raise asyncio.CancelledError

    monkeypatch.setattr(narrowing, "_sleep", wait)
    with pytest.raises(asyncio.CancelledError):
        await Narrowing(cast(gateway.Gateway, Away()), store).run()
    assert waits[-1] == narrowing.LONGEST


async def test_an_outage_is_reported_once_and_asked_about_less_and_less(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer(store, "pay", "pay")
    statuses = [*([503] * 4), 429, 200]
    waits: list[float] = []

    async def tell(request: Request) -> Response:
        urls = (await request.json())["urls"]
        status = statuses[0] if len(statuses) == 1 else statuses.pop(0)
        rights = {"readable": [], "revision": "one", "readers": [[["hr"]]] * len(urls)}
        return JSONResponse(rights if status == 200 else {}, status)

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if seconds == narrowing.EVERY:
            raise asyncio.CancelledError

    with serve(Starlette(routes=[Route(readable.PATH, tell, methods=["POST"])])) as address:
        asking = gateway.Gateway(WidgetSettings(gateway_url=address, gateway_key=None))
        monkeypatch.setattr(narrowing, "_sleep", wait)
        caplog.set_level("INFO")
        try:
            with pytest.raises(asyncio.CancelledError):
                await Narrowing(asking, store).run()
        finally:
            await asking.close()
    pauses = [one for one in waits if one != narrowing.PAUSE]
    assert pauses == [30, 45, 45, 45, 45, 15]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "stored answers do not follow the rights now" in warning.message
    assert seen(store, PUBLIC) == []
    assert seen(store, Reader(HR)) == ["pay"]
