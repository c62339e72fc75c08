"""A gateway, and `docs sync --watch`, follow the feed of a service between two complete syncs."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from askdocs.wikis.sync import Job
from askdocs.wikis.wiki import Wiki as UpWiki
from core.tasks import Failures, Tasks, failures_in
from gateway.runtime.index_keeper import FEED
from tests import waiting
from tests.gateway.test_wiki_index import Opened, keeper, opened, settings
from tests.sources.test_threads import PLACES
from tests.sources.threads_server import Asked, Project, project
from wiki.index.index import Index, writing
from wiki.sources import watch
from wiki.sources.open import open_source
from wiki.sources.spec import Spec

until = partial(waiting.until, seconds=240)
__all__ = ["opened"]  # a fixture
KIND, PLACE = PLACES["issues"]
REFUSED = {"/api/v3/repos/team/app/issues": 401}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Issues of GitHub, looked at far more often than once a minute, and in the test's own process,
    because another one takes seconds to start."""
    monkeypatch.setenv("ASKDOCS_SITES_FEED_INTERVAL", "0.2")
    monkeypatch.setattr(Spec, "open", lambda spec: open_source(spec.place, spec.kind, ""))
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with project(True) as made:
        monkeypatch.setenv("ASKDOCS_SITES_TOKENS", f"{made.url.split('/')[2]} s3cret")
        made.threads = {1: Asked("Pumps", "Turn it on.")}
        yield made


def edit(served: Project, text: str, second: int) -> None:
    served.threads[1] = Asked("Pumps", text, updated=f"2026-05-02T00:00:{second:02}Z")


def test_a_watch_yields_looks_between_complete_syncs_of_a_followed_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "feed_interval", lambda: 0.01)
    monkeypatch.setattr(watch, "interval", lambda: 0.1)
    stop = threading.Event()
    looks = watch.changes(None, stop, is_followed=True)
    assert next(looks) is True
    assert next(looks) is False
    until(lambda: next(looks))
    stop.set()
    assert list(looks) == []
    others = watch.changes(None, threading.Event())
    assert [next(others), next(others)] == [True, True]
    monkeypatch.setattr(watch, "feed_interval", lambda: 0.0)
    without = watch.changes(None, threading.Event(), is_followed=True)
    assert [next(without), next(without)] == [True, True]


@pytest.mark.parametrize(
    ("place", "kind", "is_followed"),
    [
        ("https://w.example/wiki/spaces/ENG", "confluence", False),
        ("https://w.example/api.php", None, False),
        ("https://github.com/team/app/issues?label=a", None, True),
        ("https://w.example/team.git", None, True),
        ("https://w.example/docs/", None, False),
        ("/srv/wiki", None, False),
    ],
)
def test_issues_and_repositories_are_followed(
    place: str, kind: str | None, is_followed: bool
) -> None:
    assert Spec.named(place, kind).is_followed is is_followed


@pytest.mark.slow
def test_a_gateway_follows_the_feed_of_its_wiki_and_counts_its_failures(
    served: Project, tmp_path: Path, opened: Opened
) -> None:
    index = opened(of := settings(tmp_path))
    failed: list[str] = []
    kept = keeper(of, index, tasks=Tasks(failed.append))
    kept._spec = Spec.named(served.url + PLACE, KIND)
    with kept.at_work():
        until(lambda: index.size == 1)
        until(lambda: index.sources()[0].synced)
        synced = index.sources()[0].synced
        edit(served, "Turn it off.", 1)
        until(lambda: "off" in index.pages()[0].text)
        served.failing = REFUSED
        until(lambda: FEED in failed)
        served.failing = {}
        edit(served, "Oil it.", 2)
        until(lambda: "Oil" in index.pages()[0].text)
    assert index.sources()[0].synced == synced
    assert "failing" not in index.sources()[0].spec


@pytest.mark.slow
def test_the_wiki_of_up_follows_the_feed_and_reports_its_failures(
    served: Project, tmp_path: Path
) -> None:
    file = tmp_path / "index.db"
    said: list[str] = []
    failed: list[int] = []
    up = UpWiki(served.url + PLACE, "", file, partial(writing, file), said.append)
    up.spec = Spec.named(up.spec.place, KIND)
    thread = threading.Thread(target=up.keep, args=(lambda: None, lambda: failed.append(1)))
    thread.start()
    try:
        until(lambda: "1 pages, 1 added" in said)
        served.failing = REFUSED
        until(lambda: len(failed) > 1)
        edit(served, "Turn it off.", 1)
        served.failing = {}
        until(lambda: "1 pages, 1 changed" in said)
    finally:
        up.stop.set()
        thread.join()
    assert len([line for line in said if "the token" in line]) == 1


@pytest.mark.slow
def test_a_watching_sync_prints_edits_and_errors_of_the_feed_once(
    served: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, stop = tmp_path / "index.db", threading.Event()
    after: list[str] = []
    job = Job(partial(writing, file), False, True, lambda bar: after.append("vectors"))
    spec = Spec.named(served.url + PLACE, KIND)
    failures = Failures(tmp_path, "sync")
    tasks = Tasks(failures.failed, failures.started)
    thread = threading.Thread(target=job._keep, args=(spec, stop, threading.Lock(), tasks))
    thread.start()
    try:
        until(lambda: len(after) == 1)
        served.failing = REFUSED
        until(lambda: any(one.failures > 1 for one in failures_in(tmp_path)))
        edit(served, "Turn it off.", 1)
        served.failing = {}
        until(lambda: len(after) == 2)
        asked = len(served.asked)
        until(lambda: len(served.asked) > asked + 2)
    finally:
        stop.set()
        thread.join()
    assert len(after) == 2  # quiet looks compute no vectors
    printed = capsys.readouterr()
    results = [json.loads(line) for line in printed.out.splitlines()]
    assert [(line["added"], line["changed"]) for line in results] == [
        (["issues/1"], []),
        ([], ["issues/1"]),
    ]
    assert printed.err.count("the token") == 1
    assert [one.task for one in failures_in(tmp_path)] == [f"feed of {spec.place}"]
    index = Index(file)
    assert "off" in index.pages()[0].text
    index.close()
