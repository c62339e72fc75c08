"""A gateway, and `docs sync --watch`, follow the feed of a service between two complete syncs."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from askdocs.wikis.sync import Job
from askdocs.wikis.wiki import Wiki as UpWiki
from gateway.core.failures import Failures, read
from gateway.core.tasks import Tasks
from gateway.knowledge.index_keeper import FEED
from gateway.knowledge.search.index import Index, writing
from gateway.knowledge.sources import watch
from gateway.knowledge.sources.open import open_source
from gateway.knowledge.sources.spec import Spec
from tests import waiting
from tests.gateway.test_wiki_index import Opened, keeper, opened, settings
from tests.sources.confluence_server import Wiki, Written, confluence

until = partial(waiting.until, seconds=240)
__all__ = ["opened"]  # a fixture
LIST = "/rest/api/content/search"
REFUSED = {LIST: 401}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiki]:
    """A Confluence, looked at far more often than once a minute, and in the test's own process,
    because another one takes seconds to start."""
    monkeypatch.setenv("ASKDOCS_SITES_FEED_INTERVAL", "0.2")
    monkeypatch.setattr(Spec, "open", lambda spec: open_source(spec.place, spec.kind, ""))
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with confluence(True) as wiki:
        wiki.pages = {"101": Written("Pumps", "<p>Turn it on.</p>")}
        yield wiki


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
        ("https://w.example/wiki/spaces/ENG", "confluence", True),
        ("https://w.example/api.php", None, True),
        ("https://w.example/team.git", None, True),
        ("https://w.example/docs/", None, False),
        ("/srv/wiki", None, False),
    ],
)
def test_services_and_repositories_are_followed(
    place: str, kind: str | None, is_followed: bool
) -> None:
    assert Spec.named(place, kind).is_followed is is_followed


@pytest.mark.slow
def test_a_gateway_follows_the_feed_of_its_wiki_and_counts_its_failures(
    served: Wiki, tmp_path: Path, opened: Opened
) -> None:
    index = opened(of := settings(tmp_path))
    failed: list[str] = []
    kept = keeper(of, index, tasks=Tasks(failed.append))
    # An address that names Confluence by itself would be that of Atlassian's cloud.
    kept._spec = Spec.named(f"{served.url}/spaces/ENG", "confluence")
    with kept.at_work():
        until(lambda: index.size == 1)
        until(lambda: index.sources()[0].synced)
        synced = index.sources()[0].synced
        served.pages["101"] = Written("Pumps", "<p>Turn it off.</p>", version=2, edited=1)
        until(lambda: "off" in index.pages()[0].text)
        served.failing = REFUSED
        until(lambda: FEED in failed)
        served.failing = {}
        served.pages["101"] = Written("Pumps", "<p>Oil it.</p>", version=3, edited=2)
        until(lambda: "Oil" in index.pages()[0].text)
    assert index.sources()[0].synced == synced
    assert "failing" not in index.sources()[0].spec


@pytest.mark.slow
def test_the_wiki_of_up_follows_the_feed_and_reports_its_failures(
    served: Wiki, tmp_path: Path
) -> None:
    file = tmp_path / "index.db"
    said: list[str] = []
    failed: list[int] = []
    up = UpWiki(f"{served.url}/spaces/ENG", "", file, partial(writing, file), said.append)
    up.spec = Spec.named(up.spec.place, "confluence")
    thread = threading.Thread(target=up.keep, args=(lambda: None, lambda: failed.append(1)))
    thread.start()
    try:
        until(lambda: "1 pages, 1 added" in said)
        served.failing = REFUSED
        until(lambda: len(failed) > 1)
        served.pages["101"] = Written("Pumps", "<p>Turn it off.</p>", version=2, edited=1)
        served.failing = {}
        until(lambda: "1 pages, 1 changed" in said)
    finally:
        up.stop.set()
        thread.join()
    assert len([line for line in said if "it needs a token" in line]) == 1


@pytest.mark.slow
def test_a_watching_sync_prints_edits_and_errors_of_the_feed_once(
    served: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, stop = tmp_path / "index.db", threading.Event()
    after: list[str] = []
    job = Job(partial(writing, file), False, True, lambda bar: after.append("vectors"))
    spec = Spec.named(f"{served.url}/spaces/ENG", "confluence")
    failures = Failures(tmp_path, "sync")
    tasks = Tasks(failures.failed, failures.started)
    thread = threading.Thread(target=job._keep, args=(spec, stop, threading.Lock(), tasks))
    thread.start()
    try:
        until(lambda: len(after) == 1)
        served.failing = REFUSED
        until(lambda: any(one.failures > 1 for one in read(tmp_path)))
        served.pages["101"] = Written("Pumps", "<p>Turn it off.</p>", version=2, edited=1)
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
        (["ENG/101"], []),
        ([], ["ENG/101"]),
    ]
    assert printed.err.count("it needs a token") == 1
    assert [one.task for one in read(tmp_path)] == [f"feed of {spec.place}"]
    index = Index(file)
    assert "off" in index.pages()[0].text
    index.close()
