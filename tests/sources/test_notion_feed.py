"""Looks at the last edited pages of a Notion between two syncs."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from gateway.core.errors import AskdocsError
from gateway.knowledge.search.index import Index, writing
from gateway.knowledge.sources import fetch
from gateway.knowledge.sources.services import notion as connector
from gateway.knowledge.sources.sync import look, sync
from gateway.knowledge.sources.synced import Synced
from tests.sources.notion_server import (
    Workspace,
    Written,
    at,
    block,
    dashed,
    notion,
    paragraph,
    row,
)
from tests.sources.test_notion import SPEC, below, path, source

SEARCH = "/v1/search"


class Followed:
    """A workspace, and the index that follows it."""

    def __init__(self, workspace: Workspace, index: Path, place: str = "/") -> None:
        self.workspace = workspace
        self.file = index
        self.place = place
        self._edits = 0

    def sync(self) -> Synced:
        opened = partial(writing, self.file)
        return sync(source(self.workspace, self.place), opened, spec=SPEC)

    def look(self) -> Synced:
        self.workspace.asked.clear()
        opened = partial(writing, self.file)
        return look(source(self.workspace, self.place), opened, spec=SPEC)

    def edit(self, number: int, page: Written) -> None:
        self._edits += 1
        page.edited = f"2026-05-02T{self._edits:02}:00:00.000Z"
        self.workspace.pages[at(number)] = page

    def text(self, of: str) -> str:
        index = Index(self.file)
        try:
            page = index.by_path(of)
            return page.text if page else ""
        finally:
            index.close()


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    with notion() as workspace:
        workspace.part = 50
        workspace.pages = {at(n): Written(f"Page {n}") for n in range(1, 6)}
        made = Followed(workspace, tmp_path / "index.db")
        made.sync()
        yield made


def test_an_edit_is_in_the_index_after_one_look(followed: Followed) -> None:
    followed.edit(2, Written("Page 2", [paragraph("Turn it off.")]))
    followed.edit(9, Written("Page 9", parent=below(1)))
    done = followed.look()
    assert (done.added, done.changed) == ((path(at(1), at(9)),), (path(at(2)),))
    assert (done.removed, done.pages) == ((), 6)
    assert "Turn it off." in followed.text(path(at(2)))
    assert not followed.sync().is_different


def test_a_quiet_look_is_one_request(followed: Followed) -> None:
    """Also with a page that cannot be read, and one without text."""
    assert not followed.look().is_different
    assert followed.workspace.asked == [SEARCH]
    followed.edit(1, Written("Page 1", refused=403))
    followed.edit(2, Written("Page 2", []))
    done = followed.look()
    assert (done.removed, len(done.broken)) == ((path(at(2)),), 1)
    assert "Turn it on." in followed.text(path(at(1)))
    assert not followed.look().is_different
    assert followed.workspace.asked == [SEARCH]
    followed.workspace.pages[at(1)].refused = 0
    assert followed.sync().changed == (path(at(1)),)
    assert not followed.look().is_different
    assert followed.workspace.asked == [SEARCH]


def test_a_page_that_is_read_within_its_minute_is_read_again(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "_SETTLED", timedelta(days=100_000))
    followed.edit(1, Written("Page 1", [paragraph("Turn it off.")]))
    followed.look()
    followed.workspace.pages[at(1)].blocks = [paragraph("Oil it.")]  # in the same minute
    monkeypatch.undo()
    assert path(at(1)) in followed.look().changed
    assert "Oil it." in followed.text(path(at(1)))


def test_pages_outside_the_root_cost_no_requests(tmp_path: Path) -> None:
    with notion() as workspace:
        workspace.part = 50
        workspace.pages = {at(n): Written(f"Page {n}") for n in (1, 2)}
        workspace.pages |= {at(n): Written(f"Page {n}", parent=below(n - 2)) for n in (3, 4)}
        followed = Followed(workspace, tmp_path / "index.db", f"/Page-1-{at(1)}")
        assert len(followed.sync().added) == 2
        assert not followed.look().is_different
        assert workspace.asked == [SEARCH]
        followed.edit(4, Written("Page 4", [paragraph("Elsewhere.")], below(2)))
        followed.edit(5, Written("Page 5", parent=below(1)))
        assert followed.look().added == (path(at(1), at(5)),)
        assert not followed.look().is_different
        assert workspace.asked == [SEARCH]


def test_deleted_and_moved_pages_are_left_to_the_complete_sync(followed: Followed) -> None:
    del followed.workspace.pages[at(5)]
    followed.workspace.pages[at(4)].in_trash = True
    followed.edit(3, Written("Page 3", parent=below(1)))
    done = followed.look()
    assert (done.is_different, done.pages) == (False, 5)
    followed.look()
    assert followed.workspace.asked == [SEARCH]
    done = followed.sync()
    assert done.removed == tuple(path(at(n)) for n in (3, 4, 5))
    assert done.added == (path(at(1), at(3)),)


def test_pages_that_show_others_are_complete_after_the_next_sync(followed: Followed) -> None:
    """The title of a related page, and a page below that search does not find."""
    related = {"id": "x", "type": "relation", "relation": [{"id": dashed(at(5))}]}
    followed.workspace.part = 2
    followed.edit(1, Written("Page 1", properties={"Next": related}))
    child = block("child_page", 20, title="Child")
    followed.workspace.pages[at(20)] = Written("Child", parent=below(3))
    followed.workspace.hidden = {at(20)}
    followed.edit(3, Written("Page 3", [child]))
    assert followed.look().changed == (path(at(1)), path(at(3)))
    assert followed.look().changed == ()
    done = followed.sync()
    assert (done.added, done.changed) == ((path(at(3), at(20)),), (path(at(1)), path(at(3))))
    assert "Page 5" in followed.text(path(at(1)))
    assert not followed.sync().is_different


def test_a_row_of_a_database_is_followed(followed: Followed) -> None:
    followed.workspace.database = "Runbooks"
    followed.workspace.pages[at(7)] = row("Restart", [paragraph("Pull the plug.")])
    followed.sync()
    followed.edit(7, row("Restart", [paragraph("Press the button.")]))
    [changed] = followed.look().changed
    assert "Press the button." in followed.text(changed)
    assert not followed.look().is_different


def test_a_busy_service_is_waited_for_and_a_refused_token_deletes_nothing(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    for number in (1, 2):
        followed.edit(number, Written(f"Page {number}", [paragraph("New.")]))
    for requests in range(3):
        followed.workspace.until = requests
        with pytest.raises(AskdocsError, match="refuses the token"):
            followed.look()
    followed.workspace.until = None
    followed.workspace.fail = [(429, {"Retry-After": "7"})]
    followed.look()
    assert max(slept) > 6
    assert "New." in followed.text(path(at(1)))
    assert "New." in followed.text(path(at(2)))
    assert not followed.sync().is_different
