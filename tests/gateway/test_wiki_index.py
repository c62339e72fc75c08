"""What a gateway does for its index, before and while it runs."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.errors import AskdocsError
from core.settings import load
from core.tasks import Tasks, Traffic
from gateway.answering.grounding.ground import Grounding
from gateway.runtime.index_keeper import Keeper, alone, prepare
from gateway.settings import GatewaySettings
from gateway.upstream.engine import estimates
from tests.starting import shown
from tests.waiting import until
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.search.search import Search

pytestmark = pytest.mark.slow


def settings(tmp_path: Path, **given: str) -> GatewaySettings:
    return load(GatewaySettings, env={}, index=tmp_path / "home" / "index.db", **given)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[GatewaySettings], Index]]:
    """The index of a gateway, prepared."""
    indexes: list[Index] = []

    def open_index(of: GatewaySettings) -> Index:
        prepare(of, say=lambda text: None)
        indexes.append(Index(of.index))
        return indexes[-1]

    yield open_index
    for index in indexes:
        index.close()


def keeper(
    of: GatewaySettings,
    index: Index,
    embedder: Embedder | None = None,
    traffic: Traffic | None = None,
    tasks: Tasks | None = None,
) -> Keeper:
    search = Search(index, embedder)
    return Keeper(of, search, {}, traffic or Traffic(), lambda text: None, tasks or Tasks())


Opened = Callable[[GatewaySettings], Index]


def test_without_a_wiki_there_is_an_empty_index(tmp_path: Path, opened: Opened) -> None:
    index = opened(settings(tmp_path))
    assert index.size == 0
    assert index.sources() == []


def test_the_folder_of_the_settings_is_read_before_the_gateway_runs(
    tmp_path: Path, wiki: Path, opened: Opened
) -> None:
    index = opened(settings(tmp_path, docs=str(wiki), site_url="https://wiki.example.com/"))
    assert [page.url for page in index.pages()] == [
        "https://wiki.example.com/coffee/",
        "https://wiki.example.com/travel/",
    ]


def test_another_folder_takes_its_place(tmp_path: Path, wiki: Path, opened: Opened) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tea.md").write_text("# Tea\n\nGreen.\n")
    opened(settings(tmp_path, docs=str(wiki)))
    index = opened(settings(tmp_path, docs=str(other)))
    assert [page.path for page in index.pages()] == ["tea.md"]


def test_an_empty_variable_names_no_wiki(tmp_path: Path) -> None:
    assert settings(tmp_path, docs="").docs is None


def test_a_folder_without_a_page_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AskdocsError, match="has no Markdown page"):
        prepare(settings(tmp_path, docs=str(tmp_path / "empty")), say=print)


def test_vectors_of_pages_that_come_in_are_worked_out(
    tmp_path: Path, wiki: Path, opened: Opened, embedder: Embedder
) -> None:
    of = settings(tmp_path, docs=str(wiki))
    index = opened(of)
    with keeper(of, index, embedder).at_work():
        until(lambda: index.embedded() == (embedder.model, 2))
        (wiki / "new.md").write_text("# New\n\nText.\n")
        prepare(of, say=lambda text: None)
        until(lambda: index.embedded()[1] == 3)


async def test_a_page_that_has_just_changed_is_not_refused_until_its_vectors_are_there(
    tmp_path: Path, wiki: Path, opened: Opened, embedder: Embedder
) -> None:
    of = settings(tmp_path, docs=str(wiki))
    index = opened(of)
    with keeper(of, index, embedder).at_work():
        until(lambda: index.embedded()[1] == 2)
    page = "# Coffee\n\n## How do I descale the coffee machine?\n\nPress the blue button.\n"
    (wiki / "coffee.md").write_text(page)
    prepare(of, say=lambda text: None)
    assert index.embedded()[1] == 1
    grounding = Grounding(index, estimates, embedder)
    grounds = await grounding.ground("How do I descale the coffee machine?", 1000)
    assert [part.page.path for part in grounds.excerpts] == ["coffee.md"]


def test_work_stands_back_while_the_worker_answers(
    tmp_path: Path, wiki: Path, opened: Opened, embedder: Embedder
) -> None:
    of = settings(tmp_path, docs=str(wiki))
    index, traffic = opened(of), Traffic()
    with traffic.request(), keeper(of, index, embedder, traffic).at_work():
        time.sleep(1)
        assert index.embedded()[1] == 0
    with keeper(of, index, embedder, traffic).at_work():
        until(lambda: index.embedded()[1] == 2)


def test_one_process_works_and_another_takes_over(
    tmp_path: Path, wiki: Path, opened: Opened, embedder: Embedder
) -> None:
    of = settings(tmp_path, docs=str(wiki))
    index = opened(of)
    with ExitStack() as stack:
        with alone(of.index) as mine:  # as `askdocs docs sync`, while it works vectors out
            assert mine
            stack.enter_context(keeper(of, index, embedder).at_work())
            time.sleep(1)
            assert index.embedded()[1] == 0
        until(lambda: index.embedded()[1] == 2)
        with alone(of.index) as mine:
            assert not mine


def test_a_folder_is_followed_while_the_gateway_runs(
    tmp_path: Path, wiki: Path, opened: Opened
) -> None:
    index = opened(of := settings(tmp_path, docs=str(wiki)))
    with keeper(of, index).at_work():
        (wiki / "coffee.md").write_text("# Tea\n\nGreen.\n")
        until(lambda: "Tea" in [page.title for page in index.pages()])
        (wiki / "coffee.md").unlink()
        until(lambda: index.size == 1)


def test_a_page_that_cannot_be_read_is_said(
    tmp_path: Path, wiki: Path, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(of := settings(tmp_path, docs=str(wiki)))
    with keeper(of, index).at_work():
        (wiki / "coffee.md").write_bytes(b"# Caf\xe9\n")
        until(lambda: "coffee.md: not read" in caplog.text)
    assert "Coffee" in [page.title for page in index.pages()]


def test_a_site_is_read_while_the_gateway_runs(tmp_path: Path, opened: Opened) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    text = "<h1 id='a'>Alpha</h1><p>All about the first letter of the alphabet.</p>"
    (folder / "index.html").write_text(f"<html><body><main>{text}</main></body></html>")
    with shown(folder) as address:
        of = settings(tmp_path, docs=address)
        index = opened(of)
        assert index.size == 0  # nobody waits for a site
        with keeper(of, index).at_work():
            until(lambda: index.size == 1)
    assert index.sources()[0].name == address


def test_a_site_that_is_away_keeps_nobody_from_ending(tmp_path: Path, opened: Opened) -> None:
    of = settings(tmp_path, docs="http://127.0.0.1:1/")
    index = opened(of)
    began = time.monotonic()
    with keeper(of, index).at_work():
        pass
    assert time.monotonic() - began < 60
