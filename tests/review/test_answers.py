"""Approved answers are pages of the index: found, as closed as the page they cite, withdrawn."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from core.tasks import Tasks, Traffic
from gateway.runtime.index_keeper import Keeper
from gateway.settings import GatewaySettings
from tests.review.conftest import ask, queue_of
from tests.waiting import until
from widget.review.clusters import Sorter
from widget.review.queue import Wanted
from widget.review.reviews import Action, Draft, Reviews
from widget.service.store import Store
from wiki.index.approved import approved, publish
from wiki.index.index import Index, writing
from wiki.index.passages import above
from wiki.index.store import APPROVED
from wiki.index.view import Rights
from wiki.pages.page import Page, Section
from wiki.rights import PUBLIC, Groups, Reader
from wiki.rules import Rule, Rules
from wiki.search.search import Search

DRAFT = Draft("Why is the tray stuck?", "Pull the *green* lever.", "print.md", "Trays")
ADDRESS = "https://wiki/print/?answer=1#trays"
OPEN = Rules({}, "everybody")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    put(tmp_path, "wiki", None)
    index = Index(tmp_path / "index.db")
    yield index
    index.close()


def put(folder: Path, source: str, groups: Groups | None, path: str = "print.md") -> None:
    text = "## Trays\n\nEach printer has two of them."
    sections = (Section("Trays", "trays", ("Trays",), text),)
    with writing(folder / "index.db") as writer:
        writer.put(source, Page(path, "Printing", "https://wiki/print/", sections), "", groups)


def change(store: Store, action: Action, draft: Draft | None = DRAFT) -> None:
    reviews = Reviews(store.engine)
    reviews.change(1, reviews.current(1).version, "ann", action, draft)


@pytest.fixture
def asked(both: Store) -> Store:
    ask(both, "tray stuck")
    Sorter(both.engine).sort()
    assert queue_of(both).items(Wanted(), Reader(None))[0][0].cluster == 1
    return both


def published(store: Store, index: Index) -> bool:
    return publish(approved(store.engine), index, partial(writing, index.file))


def test_an_approved_answer_is_found_by_its_question_and_marked(asked: Store, index: Index) -> None:
    change(asked, "save")
    assert not published(asked, index)
    change(asked, "approve")
    assert published(asked, index)
    assert not published(asked, index)
    first = Search(index, None).find("tray is stuck")[0]
    assert first.page.title == "Why is the tray stuck?"
    assert first.passages[0].url == ADDRESS
    assert above(first.page, first.passages[0].passage)[1:] == ["Approved answer"]
    assert "Pull the *green* lever." in first.page.text
    by_address = index.by_url(ADDRESS)
    assert by_address is not None
    assert by_address.path == "print.md"  # stored answers follow the rights of the page


@pytest.mark.parametrize("action", ["dismiss", "reopen", "save"])
def test_a_withdrawn_approval_removes_the_page(asked: Store, index: Index, action: Action) -> None:
    change(asked, "approve")
    published(asked, index)
    change(asked, action)
    assert published(asked, index)
    assert [source.name for source in index.sources()] == ["wiki"]
    assert index.size == 1


def test_a_changed_answer_replaces_the_page(asked: Store, index: Index) -> None:
    change(asked, "approve")
    published(asked, index)
    change(asked, "approve", Draft(DRAFT.question, "Push it.", DRAFT.page))
    assert published(asked, index)
    assert [page.text for page in index.after(APPROVED, "", 9)] == [
        "## Approved answer\n\nPush it."
    ]


@pytest.mark.parametrize("page", ["gone.md", ""])
def test_an_answer_without_a_known_page_stays_out(asked: Store, index: Index, page: str) -> None:
    change(asked, "approve", Draft("Why?", "Because.", page, answerable=bool(page)))
    assert not published(asked, index)


def test_the_page_goes_with_the_page_that_it_cites(
    asked: Store, index: Index, tmp_path: Path
) -> None:
    change(asked, "approve")
    published(asked, index)
    with writing(tmp_path / "index.db") as writer:
        writer.remove("wiki", "print.md")
    assert index.size == 0


def titles(index: Index, rules: Rules, *groups: str) -> list[str]:
    view = Rights(index, rules).seen_by(Reader(frozenset(groups)))
    return sorted(hit.page.title for hit in Search(view, None).find("why is the printing tray"))


def test_its_readers_are_those_of_the_cited_page_even_as_they_change(
    asked: Store, index: Index, tmp_path: Path
) -> None:
    change(asked, "approve")
    published(asked, index)
    both = ["Printing", DRAFT.question]
    assert titles(index, OPEN) == both
    # The same write closes both: nothing is published in between.
    put(tmp_path, "wiki", (frozenset({"hr"}),))
    assert titles(index, OPEN) == []
    assert titles(index, OPEN, "hr") == both
    put(tmp_path, "wiki", None)
    rule = Rule(wiki="wiki", path="print.md", groups=("staff",))
    assert titles(index, Rules({"one": rule}, "everybody")) == []
    assert titles(index, Rules({"one": rule}, "everybody"), "staff") == both
    assert titles(index, Rules({}, "nobody"), "hr") == []
    put(tmp_path, "wiki", (frozenset({"hr"}),))
    assert titles(index, Rules({}), "hr") == both
    assert titles(index, Rules({"one": rule}), "hr") == []


def test_of_pages_with_one_path_the_strictest_counts(
    asked: Store, index: Index, tmp_path: Path
) -> None:
    change(asked, "approve")
    published(asked, index)
    put(tmp_path, "a", (frozenset({"hr"}),))
    assert titles(index, OPEN) == ["Printing"]
    put(tmp_path, "b", (frozenset({"board"}),))
    assert DRAFT.question not in titles(index, OPEN, "hr")
    assert DRAFT.question in titles(index, OPEN, "hr", "board")
    assert Rights(index, OPEN).seen_by(PUBLIC).count(APPROVED) == 0


def test_the_gateway_publishes_while_it_runs(store: Store, index: Index, tmp_path: Path) -> None:
    ask(store, "tray stuck")
    Sorter(store.engine).sort()
    settings = GatewaySettings(
        index=tmp_path / "index.db", database_url=f"sqlite:///{tmp_path}/askdocs.db", docs=None
    )
    search = Search(index, None)
    running = Keeper(settings, search, {}, Traffic(), lambda text: None, Tasks())
    with running.at_work():
        change(store, "approve")
        until(lambda: index.count(APPROVED) == 1)
        change(store, "dismiss")
        until(lambda: index.count(APPROVED) == 0)
