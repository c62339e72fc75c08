"""Looks at the updated issues and discussions of GitHub and GitLab between two syncs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.sources.test_threads import PLACES, source
from tests.sources.threads_server import Asked, Project, Said, project
from wiki.index.index import Index, writing
from wiki.sources import fetch
from wiki.sources.services.threads import UNANSWERED
from wiki.sources.spec import Spec
from wiki.sources.sync import look, sync
from wiki.sources.synced import Synced

# Requests of a quiet look: the list, and the members of a GitLab project.
QUIET = {"issues": 1, "discussions": 1, "gitlab": 2}


class Followed:
    """A project, and the index that follows it."""

    def __init__(self, served: Project, what: str, index: Path) -> None:
        self.served = served
        self.what = what
        self.folder = "discussions" if what == "discussions" else "issues"
        self.file = index
        self._spec = {"kind": PLACES[what][0], "site_url": ""}
        self._updates = 0

    def sync(self) -> Synced:
        return sync(source(self.served, self.what), partial(writing, self.file), spec=self._spec)

    def look(self) -> Synced:
        self.served.asked.clear()
        return look(source(self.served, self.what), partial(writing, self.file), spec=self._spec)

    def update(self, number: int, thread: Asked) -> None:
        self._updates += 1
        thread.updated = f"2026-05-02T{self._updates:02}:00:00Z"
        self.served.threads[number] = thread

    def paths(self, *numbers: int) -> tuple[str, ...]:
        return tuple(f"{self.folder}/{number}" for number in numbers)

    def text(self, number: int) -> str:
        index = Index(self.file)
        try:
            page = index.by_path(f"{self.folder}/{number}")
            return page.text if page else ""
        finally:
            index.close()


@pytest.fixture(params=PLACES)
def followed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Followed]:
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with project(request.param != "gitlab") as served:
        served.threads = {n: Asked(f"Question {n}") for n in range(1, 6)}
        served.part = 50
        made = Followed(served, request.param, tmp_path / "index.db")
        made.sync()
        yield made


def test_an_updated_thread_is_in_the_index_after_one_look(followed: Followed) -> None:
    followed.update(2, Asked("Question 2", comments=[Said("Press it twice.")]))
    followed.update(9, Asked("Question 9"))
    done = followed.look()
    assert (done.added, done.changed) == (followed.paths(9), followed.paths(2))
    assert (done.removed, done.pages) == ((), 6)
    assert "Press it twice." in followed.text(2)
    assert not followed.sync().is_different


def test_a_quiet_look_asks_for_the_list_alone(followed: Followed) -> None:
    """Also with other categories, a thread that cannot be read, and one without an answer."""
    assert not followed.look().is_different
    assert len(followed.served.asked) == QUIET[followed.what]
    followed.update(1, Asked("Question 1", refused=403))
    if followed.what != "discussions":
        followed.update(2, Asked("Question 2", comments=[Said("?", by_member=False)]))
    done = followed.look()
    assert [file.path for file in done.broken] == [*followed.paths(1)]
    assert done.removed == tuple(file.path for file in done.left_out if file.why == UNANSWERED)
    assert "Hold the button." in followed.text(1)
    followed.look()
    assert len(followed.served.asked) == QUIET[followed.what]
    followed.served.threads[1].refused = 0
    assert followed.sync().changed == followed.paths(1)


def test_threads_that_the_list_lacks_are_left_to_the_complete_sync(followed: Followed) -> None:
    del followed.served.threads[5]
    followed.served.threads[4].labels, followed.served.threads[4].is_answered = (), False
    followed.update(1, Asked("Question 1", comments=[Said("New.")]))
    done = followed.look()
    assert (done.changed, done.removed) == (followed.paths(1), ())
    assert followed.sync().removed == followed.paths(4, 5)


def test_more_updates_than_a_part_has_are_all_read(followed: Followed) -> None:
    followed.served.part = 2
    for number in (1, 2, 3):
        followed.update(number, Asked(f"Question {number}", comments=[Said("New.")]))
    assert followed.look().changed == followed.paths(1, 2, 3)


def test_a_quiet_category_costs_one_request_beside_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with project(True) as served:
        served.threads = {n: Asked(f"Question {n}", category="ideas") for n in range(1, 100)}
        served.threads[50].category = "q-a"
        served.part = 50
        place = "/team/app/discussions/categories/q-a"
        opened = partial(writing, tmp_path / "index.db")
        spec = {"kind": "github", "site_url": ""}
        assert len(sync(source(served, "discussions", place), opened, spec=spec).added) == 1
        for number in range(60, 80):
            served.threads[number].updated = "2026-06-01T00:00:00Z"
        served.asked.clear()
        assert not look(source(served, "discussions", place), opened, spec=spec).is_different
        assert len(served.asked) == 1


def test_an_issue_that_becomes_confidential_is_gone_after_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with project(False) as served:
        served.threads = {n: Asked(f"Question {n}") for n in range(1, 3)}
        followed = Followed(served, "gitlab", tmp_path / "index.db")
        followed.sync()
        followed.update(2, Asked("Question 2", is_confidential=True))
        assert followed.look().removed == followed.paths(2)
        assert not followed.look().is_different
        assert len(served.asked) == QUIET["gitlab"] + 1  # the members come in two parts


def test_a_busy_service_is_waited_for_and_a_refused_token_deletes_nothing(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    for number in (1, 2):
        followed.update(number, Asked(f"Question {number}", comments=[Said("New.")]))
    for requests in range(QUIET[followed.what] + 2):
        followed.served.until = requests
        with pytest.raises(AskdocsError, match="refuses the token"):
            followed.look()
    followed.served.until = None
    followed.served.fail = [(429, {"Retry-After": "7"})]
    followed.look()
    assert max(slept) > 6
    assert "New." in followed.text(1)
    assert "New." in followed.text(2)
    assert not followed.sync().is_different


def test_issues_and_discussions_are_followed() -> None:
    assert Spec.named("https://github.com/team/app/discussions").is_followed
