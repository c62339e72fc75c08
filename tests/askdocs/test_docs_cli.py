"""`askdocs docs` as processes, on real folders and a real index; and a gateway that looks on."""

import asyncio
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from askdocs import cli
from askdocs.state.home import Home
from askdocs.wikis import sync as syncing
from core import audit, database, tasks
from gateway.access import past_readers
from gateway.access.keys import Keys
from gateway.runtime.index_keeper import alone
from gateway.telemetry.shown_pages import Shown
from tests.askdocs.conftest import COMMAND, Done, RunHere, two_pages
from tests.gateway.postgres import Postgres
from widget.service.store import Answered, NewQuestion, Store
from wiki.index.index import Index
from wiki.index.view import Rights
from wiki.rules import NO_RULES
from wiki.search.glossary import Pair
from wiki.search.glossary_table import add

pytestmark = pytest.mark.slow

SITE = "https://wiki.example.com/"


@pytest.fixture
def docs(home: Home, here: RunHere, monkeypatch: pytest.MonkeyPatch) -> RunHere:
    """`askdocs docs` in the home of the test."""
    monkeypatch.setenv("ASKDOCS_HOME", str(home.root))
    return partial(here, "docs")


@pytest.fixture(autouse=True)
def _without_vectors(home: Home) -> Iterator[None]:
    """Working them out takes longer than all the rest: as if a gateway did it."""
    with alone(home.index):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def wiki(place: Path) -> Iterator[Path]:
    """At one path in all tests, so that they can copy the index of one of them."""
    yield two_pages(place / "wiki")
    shutil.rmtree(place / "wiki")


@pytest.fixture
def synced(wiki: Path, docs: RunHere, home: Home, place: Path) -> Path:
    """The wiki, when the index has it. The first test that needs it syncs it."""
    kept = place / "home"
    if not kept.exists():
        assert docs("sync", str(wiki), "--site-url", SITE).returncode == 0
        kept.mkdir()
        for file in (home.index, home.database):
            shutil.copy(file, kept)
    for file in (home.index, home.database):
        shutil.copy(kept / file.name, file)
    return wiki


def told(done: Done) -> Any:
    """What was printed as JSON."""
    return json.loads(done.stdout)


def paths(docs: RunHere) -> list[str]:
    return [row["path"] for row in told(docs("list", "--json"))]


def acts(home: Home) -> list[tuple[str, str]]:
    """What the audit log has."""
    engine = database.open(f"sqlite:///{home.database}")
    try:
        database.migrate(engine)
        return [(line.action, line.target) for line in audit.lines(engine)]
    finally:
        engine.dispose()


def test_a_sync_counts_and_lists_what_differs(wiki: Path, docs: RunHere) -> None:
    first = docs("sync", str(wiki), "--site-url", SITE)
    assert first.returncode == 0
    assert "2 added, 0 changed, 0 removed, 0 unchanged" in first.stdout
    (wiki / "ports.md").unlink()
    (wiki / "install.md").write_text("# Install it\n\nYou need make.\n")
    again = docs("sync", str(wiki))
    assert "0 added, 1 changed, 1 removed, 0 unchanged" in again.stdout
    assert "~ install.md" in again.stdout
    assert "- ports.md" in again.stdout
    assert again.stderr == ""


def test_sync_without_a_name_takes_every_known_wiki(
    synced: Path, docs: RunHere, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tea.md").write_text("# Tea\n\nGreen.\n")
    docs("sync", str(other), "--site-url", "https://tea.example.com/")
    (other / "cup.md").write_text("# Cup\n\nBlue.\n")
    facts = told(docs("sync", "--json"))
    added = {one["source"]: one["added"] for one in facts}
    assert added == {str(other): ["cup.md"], str(synced): []}
    urls = {row["url"] for row in told(docs("list", "--json"))}
    assert "https://tea.example.com/cup/" in urls  # as it was named the first time


def test_sync_without_a_name_and_without_a_wiki_says_what_to_type(docs: RunHere) -> None:
    done = docs("sync")
    assert done.returncode == 2
    assert done.stderr == (
        "askdocs: the index has no wiki yet: add one with `askdocs docs sync SOURCE`\n"
    )


@pytest.mark.parametrize("words", [("sync",), ("sync", "--dry-run")])
def test_sync_without_a_name_rebuilds_the_index_of_an_older_askdocs(
    words: tuple[str, ...], wiki: Path, home: Home, docs: RunHere
) -> None:
    older = Path(__file__).parents[1] / "gateway" / "indexes" / "8.db.gz"
    home.index.write_bytes(gzip.decompress(older.read_bytes()))
    with closing(sqlite3.connect(home.index)) as db, db:
        db.execute("UPDATE source SET name = ?", (str(wiki),))
        db.execute("UPDATE page SET source = ?", (str(wiki),))
    (synced,) = told(docs(*words, "--json"))
    assert (synced["source"], len(synced["added"])) == (str(wiki), 2)


def test_sync_without_a_name_does_not_take_a_newer_index_for_an_empty_one(
    home: Home, docs: RunHere
) -> None:
    older = Path(__file__).parents[1] / "gateway" / "indexes" / "8.db.gz"
    home.index.write_bytes(gzip.decompress(older.read_bytes()))
    with closing(sqlite3.connect(home.index)) as db, db:
        db.execute("PRAGMA user_version = 1000")
    done = docs("sync")
    assert done.returncode == 2
    assert "made by a newer askdocs (its version is 1000): upgrade askdocs" in done.stderr


def test_a_broken_page_has_path_and_reason_and_exit_code_1(wiki: Path, docs: RunHere) -> None:
    (wiki / "latin.md").write_bytes("# Größe\n".encode("latin-1"))
    done = docs("sync", str(wiki), "--site-url", SITE)
    assert done.returncode == 1
    assert "1 not read" in done.stdout
    assert "! latin.md: " in done.stdout
    (only,) = told(docs("sync", "--json"))
    assert [one["path"] for one in only["broken"]] == ["latin.md"]
    (source,) = told(docs("stats", "--json"))["sources"]
    assert source["problems"][0].startswith("latin.md: ")
    assert re.search(r"^  not read since \S+: latin\.md: ", docs("stats").stdout, re.M)
    assert paths(docs) == ["install.md", "ports.md"]


def test_a_wiki_that_is_gone_is_exit_code_2_and_the_others_are_synced(
    synced: Path, docs: RunHere, tmp_path: Path
) -> None:
    other = tmp_path / "another"
    other.mkdir()
    (other / "tea.md").write_text("# Tea\n\nGreen.\n")
    docs("sync", str(other), "--site-url", SITE)
    (other / "tea.md").unlink()
    other.rmdir()
    (synced / "new.md").write_text("# New\n\nText.\n")
    done = docs("sync")
    assert done.returncode == 2
    assert f"{other} does not exist" in done.stderr
    assert "1 added" in done.stdout
    assert set(paths(docs)) == {"install.md", "new.md", "ports.md", "tea.md"}


def test_a_folder_that_up_has_shown_is_read_as_its_own_site_once_that_is_named(
    wiki: Path, docs: RunHere
) -> None:
    (wiki / ".vitepress").mkdir()
    (wiki / ".vitepress" / "config.mts").write_text("export default {}")
    docs("sync", str(wiki), "--kind", "preview", "--site-url", "http://127.0.0.1:8000/")
    docs("sync", str(wiki))
    assert "http://127.0.0.1:8000/install/" in docs("list").stdout
    docs("sync", str(wiki), "--site-url", SITE)
    assert f"{SITE}install.html" in docs("list").stdout
    docs("sync", str(wiki))
    assert f"{SITE}install.html" in docs("list").stdout


def test_json_of_a_sync_is_whole(wiki: Path, docs: RunHere) -> None:
    (only,) = told(docs("sync", str(wiki), "--site-url", SITE, "--json"))
    assert only.pop("seconds") >= 0
    assert only == {
        "source": str(wiki),
        "added": ["install.md", "ports.md"],
        "changed": [],
        "removed": [],
        "unchanged": 0,
        "broken": [],
        "excluded": [],
        "left_out": {"count": 0, "reasons": {}, "files": []},
        "regrouped": [],
        "twin": "",
        "dry_run": False,
    }


def test_what_a_sync_left_out_is_counted_and_a_dry_run_lists_it(
    tmp_path: Path, docs: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki = tmp_path / "sources"
    wiki.mkdir()
    (wiki / "README.md").write_text("# Sources\n\nText.\n")
    (wiki / "empty.md").touch()
    for number in range(syncing.LISTED):
        (wiki / f"{number}.odt").write_text("x")
    why = "OpenDocument text: save it as DOCX"
    sync = ("sync", str(wiki), "--site-url", SITE)
    dry = docs(*sync, "--dry-run")
    assert f"  11 left out: {why} (10), no text (1)\n" in dry.stdout
    assert f"  o 9.odt: {why}\n  o and 1 more; --json lists up to 1,000\n" in dry.stdout
    done = docs(*sync)
    assert done.returncode == 0
    assert "11 left out" in done.stdout
    assert "  o " not in done.stdout
    monkeypatch.setattr(syncing, "LEFT_OUT", 2)
    (only,) = told(docs(*sync, "--json"))
    assert only["left_out"] == {
        "count": 11,
        "reasons": {why: 10, "no text": 1},
        "files": [{"path": "0.odt", "why": why}, {"path": "1.odt", "why": why}],
    }


def test_a_dry_run_leaves_no_trace(synced: Path, docs: RunHere, home: Home) -> None:
    before = hashlib.sha256(home.index.read_bytes()).hexdigest()
    (synced / "ports.md").unlink()
    done = docs("sync", str(synced), "--dry-run")
    assert done.returncode == 0
    assert "- ports.md" in done.stdout
    assert "nothing was written" in done.stdout
    assert hashlib.sha256(home.index.read_bytes()).hexdigest() == before
    assert "ports.md" in paths(docs)


def test_a_dry_run_without_an_index_makes_none(wiki: Path, docs: RunHere, home: Home) -> None:
    done = docs("sync", str(wiki), "--site-url", SITE, "--dry-run", "--json")
    assert told(done)[0]["added"] == ["install.md", "ports.md"]
    assert not home.index.exists()


def test_a_new_wiki_without_a_line_in_the_audit_log_is_not_taken_in(
    wiki: Path, docs: RunHere, home: Home
) -> None:
    home.database.write_bytes(os.urandom(4096))
    done = docs("sync", str(wiki), "--site-url", SITE)
    assert done.returncode == 2
    assert "askdocs.db: the database is damaged" in done.stderr
    assert paths(docs) == []


def test_list_shows_pages_by_wiki(synced: Path, docs: RunHere) -> None:
    assert told(docs("list", "--json")) == [
        {
            "source": str(synced),
            "path": "install.md",
            "title": "Install it",
            "url": f"{SITE}install/",
        },
        {"source": str(synced), "path": "ports.md", "title": "Ports", "url": f"{SITE}ports/"},
    ]
    assert docs("list").stdout.startswith(f"{synced}\n  install.md  Install it\n")
    assert told(docs("list", "--source", str(synced), "--json"))
    unknown = docs("list", "--source", "nowhere")
    assert unknown.returncode == 2
    assert f"it has {synced}" in unknown.stderr


@pytest.mark.parametrize("name", ["ports.md", f"{SITE}ports/", f"{SITE}ports/#ports"])
def test_show_tells_a_page_with_the_address_of_each_section(
    synced: Path, docs: RunHere, name: str
) -> None:
    shown = docs("show", name)
    assert shown.returncode == 0
    assert f"{SITE}ports/#ports" in shown.stdout
    facts = told(docs("show", name, "--json"))
    assert facts["path"] == "ports.md"
    assert facts["tokens"] is None  # no engine runs that could count them
    (section,) = facts["sections"]
    assert section["anchor"] == "ports"
    assert section["url"] == f"{SITE}ports/#ports"


def test_a_page_that_is_not_there_says_where_to_look(synced: Path, docs: RunHere) -> None:
    for command in ("show", "remove"):
        done = docs(command, "nowhere.md")
        assert done.returncode == 2
        assert "nowhere.md: the index has no such page; `askdocs docs list`" in done.stderr


def test_search_ranks_pages_with_their_best_section(synced: Path, docs: RunHere) -> None:
    found = told(docs("search", "Which port does the gateway listen on?", "--json"))
    assert found["refused"] is False
    assert found["by"] == "words"  # there are no vectors
    best = found["pages"][0]
    assert (best["path"], best["title"], best["section"]) == ("ports.md", "Ports", "")
    assert best["url"] == f"{SITE}ports/#ports"
    assert "gateway" in best["passage"]
    assert (best["why"]["place_by_text"], best["why"]["moved"]) == (1, 0)
    assert best["why"]["passage_words"] > 0
    assert best["why"]["page_meaning"] is None
    assert "Ports\n       https://wiki.example.com/ports/" in docs("search", "gateway port").stdout
    assert len(told(docs("search", "gateway port make", "--limit", "1", "--json"))["pages"]) == 1


def test_search_explains_why_a_page_was_found(synced: Path, docs: RunHere, home: Home) -> None:
    shown = docs("search", "gateway port", "--explain").stdout
    assert "       passage: words " in shown
    assert "meaning –" in shown  # there are no vectors
    assert "passage: words" not in docs("search", "gateway port").stdout
    assert "also searched" not in shown
    engine = database.open(f"sqlite:///{home.database}")
    add(engine, Pair("hatch", "gateway port"), "ann")  # as the review does
    engine.dispose()
    shown = docs("search", "Which hatch?", "--explain").stdout
    assert "also searched for: gatewai port" in shown
    assert told(docs("search", "Which hatch?", "--json"))["pages"][0]["path"] == "ports.md"


def test_search_says_when_docs_would_refuse(synced: Path, docs: RunHere) -> None:
    question = "How do I bake bread with yeast in Norway?"
    assert told(docs("search", question, "--json"))["refused"] is True
    assert "docs would refuse: no page answers it" in docs("search", question).stdout


def test_search_begins_at_the_page_that_the_reader_is_on(synced: Path, docs: RunHere) -> None:
    found = told(docs("search", "What is this?", "--page-url", f"{SITE}install/", "--json"))
    assert found["pages"][0]["path"] == "install.md"


def test_stats_tell_wikis_pages_and_size(synced: Path, docs: RunHere, home: Home) -> None:
    facts = told(docs("stats", "--json"))
    assert facts["pages"] == facts["sections"] == 2
    assert facts["bytes"] == home.index.stat().st_size
    (source,) = facts["sources"]
    assert source["name"] == str(synced)
    assert source["pages"] == 2
    assert source["synced"].endswith("+00:00")
    assert "2 pages, last sync 20" in docs("stats").stdout


def test_remove_asks_first(synced: Path, docs: RunHere, home: Home) -> None:
    done = docs("remove", "ports.md")  # and nobody answers
    assert done.returncode == 1
    assert f"Exclude ports.md of {synced} from answers?" in done.stderr
    assert "ports.md" in paths(docs)
    dry = docs("remove", "ports.md", "--dry-run")
    assert "would exclude ports.md" in dry.stdout
    assert "ports.md" in paths(docs)
    assert acts(home) == [("docs.add", str(synced))]


def test_a_page_that_was_removed_stays_out_until_it_is_restored(
    synced: Path, docs: RunHere, home: Home
) -> None:
    gone = docs("remove", f"{SITE}ports/", "--yes")
    assert "undo this with `askdocs docs remove ports.md --undo`" in gone.stdout
    assert paths(docs) == ["install.md"]
    assert "1 excluded by hand" in docs("sync").stdout
    assert paths(docs) == ["install.md"]
    assert "excluded by hand: ports.md" in docs("stats").stdout
    assert docs("remove", "ports.md", "--undo").returncode == 0
    assert paths(docs) == ["install.md", "ports.md"]
    again = docs("remove", "ports.md", "--undo")
    assert again.returncode == 2
    assert "ports.md is not excluded" in again.stderr
    assert acts(home)[1:] == [("docs.remove", "ports.md"), ("docs.restore", "ports.md")]


def test_a_wiki_that_was_removed_is_gone_with_its_pages(
    synced: Path, docs: RunHere, home: Home
) -> None:
    done = docs("remove", str(synced), "--yes", "--json")
    assert told(done) == {"source": str(synced), "path": None, "pages": 2, "changed": True}
    assert paths(docs) == []
    assert told(docs("stats", "--json"))["sources"] == []
    assert acts(home) == [("docs.add", str(synced)), ("docs.remove", str(synced))]


def test_an_index_that_the_settings_name_is_used(wiki: Path, docs: RunHere, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    done = docs("sync", str(wiki), "--site-url", SITE, ASKDOCS_GATEWAY_INDEX=str(elsewhere))
    assert done.returncode == 0
    assert elsewhere.is_file()


def test_a_shared_index_is_synced_once_and_read_by_all(
    wiki: Path,
    docs: RunHere,
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASKDOCS_DATABASE_URL", postgres.database())
    assert docs("sync", str(wiki), "--site-url", SITE).returncode == 0
    monkeypatch.setenv("ASKDOCS_HOME", str(tmp_path / "another machine"))
    assert paths(docs) == ["install.md", "ports.md"]
    (wiki / "ports.md").unlink()
    assert told(docs("sync", "--json"))[0]["removed"] == ["ports.md"]
    monkeypatch.setenv("ASKDOCS_HOME", str(tmp_path / "home"))
    assert paths(docs) == ["install.md"]
    assert docs("remove", "install.md", "--yes").returncode == 0
    monkeypatch.setenv("ASKDOCS_HOME", str(tmp_path / "another machine"))
    assert paths(docs) == []


@contextmanager
def started(*words: str, home: Home) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [COMMAND, "docs", *words],
        env=os.environ | {"ASKDOCS_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_watch_syncs_at_once_and_when_a_page_changes_and_ends_at_ctrl_c(
    wiki: Path, docs: RunHere, home: Home
) -> None:
    with started("sync", str(wiki), "--site-url", SITE, "--watch", "--json", home=home) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["added"] == ["install.md", "ports.md"]
        (wiki / "new.md").write_text("# New\n\nText.\n")
        assert json.loads(process.stdout.readline())["added"] == ["new.md"]
        (wiki / "new.md").write_bytes(b"\xff")  # goes on after what it cannot read
        assert json.loads(process.stdout.readline())["broken"][0]["path"] == "new.md"
        (wiki / "new.md").unlink()
        assert json.loads(process.stdout.readline())["removed"] == ["new.md"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.communicate() == ("", "")
    assert paths(docs) == ["install.md", "ports.md"]


def test_a_watch_that_fails_begins_again_and_shows_at_the_gateway(
    wiki: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes(folder: Path, stop: object, is_followed: bool) -> Iterator[bool]:
        if tasks.failures_in(home.root)[0].failures:  # it has begun again
            os.kill(os.getpid(), signal.SIGINT)
            return
        raise RuntimeError("no more watches")
        yield True

    monkeypatch.setattr(syncing.watch, "changes", changes)
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.0)
    monkeypatch.setenv("ASKDOCS_HOME", str(home.root))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        cli.app(["docs", "sync", str(wiki), "--watch"], standalone_mode=False)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    (failed,) = tasks.failures_in(home.root)
    assert (failed.process, failed.task, failed.failures) == ("sync", str(wiki), 1)


def many(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        text = f"# Page {number}\n\n" + f"Word{number} stands here, and word{number} again. " * 40
        (folder / f"{number:04}.md").write_text(text)


def test_a_kill_9_in_the_middle_leaves_the_index_of_before(
    synced: Path, docs: RunHere, home: Home
) -> None:
    many(synced, 1000)
    with started("sync", str(synced), home=home) as process:
        until_it_writes(home.index, process)
        process.kill()
        process.wait()
    assert paths(docs) == ["install.md", "ports.md"]
    done = docs("sync", "--json")
    assert len(told(done)[0]["added"]) == 1000
    assert len(paths(docs)) == 1002


def until_it_writes(index: Path, process: subprocess.Popen[str]) -> None:
    """Until it has held the index for 50 ms: it looks shortly, and writes 1,000 pages for long."""
    deadline = time.monotonic() + 60
    since = time.monotonic()
    with closing(sqlite3.connect(index, timeout=0, isolation_level=None)) as db:
        while time.monotonic() - since < 0.05:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            try:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
                since = time.monotonic()
            except sqlite3.OperationalError:
                pass  # locked
            time.sleep(0.002)


def test_two_syncs_at_once_leave_one_whole_index(wiki: Path, docs: RunHere, home: Home) -> None:
    many(wiki, 300)
    words = ("sync", str(wiki), "--site-url", SITE, "--json")
    with started(*words, home=home) as one, started(*words, home=home) as other:
        results = [json.loads(process.communicate(timeout=60)[0])[0] for process in (one, other)]
        assert one.returncode == other.returncode == 0
    assert sorted(len(result["added"]) for result in results) == [0, 302]
    assert sorted(result["unchanged"] for result in results) == [0, 302]
    assert len(paths(docs)) == 302


def test_audit_tells_who_may_read_a_page_and_who_was_shown_it(
    wiki: Path, docs: RunHere, home: Home
) -> None:
    docs("sync", str(wiki), "--site-url", SITE)
    page = wiki / "ports.md"
    page.write_text(f"---\ngroups: hr\n---\n{page.read_text()}")
    again = docs("sync", str(wiki))
    assert "1 with changed permissions" in again.stdout
    assert "  * ports.md" in again.stdout
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    keys, questions = Keys(engine), Store(engine)
    hr = keys.create("hr-bot", groups=["hr"])[0]
    keys.create("other", groups=["eng"])
    url = f"{SITE}ports/"
    shown = Shown(engine)
    shown.shown(hr.id, [url, url])
    asyncio.run(shown.flush())
    for id, at in (("a", url), ("b", f"{SITE}install/")):
        questions.asked(NewQuestion(id, "Which port?", id, person=f"{id}@example.com"))
        questions.answered(id, Answered("answered", "4000", outcome={"pages": [{"url": at}]}))
    facts = told(docs("show", "ports.md", "--readers", "--json"))
    assert facts["readers"]["one_group_of_each"] == [["hr"]]
    assert [key["name"] for key in facts["readers"]["keys"]] == ["hr-bot"]
    assert [(one["key"], one["times"]) for one in facts["shown"]["by_key"]] == [("hr-bot", 1)]
    assert [one["person"] for one in facts["shown"]["to_people"]] == ["a@example.com"]
    index = Index(home.index)
    past_readers.record(engine, {(url, "[]")}, datetime(2026, 11, 2, tzinfo=UTC))
    past_readers.record(engine, Rights(index, NO_RULES).every(), datetime(2026, 11, 9, tzinfo=UTC))
    index.close()
    engine.dispose()
    text = docs("show", url, "--readers").stdout
    assert "may be read by people in hr" in text
    assert "could be read by hr from 2026-11-09T00:00:00+00:00 until now" in text
    assert "by everybody from 2026-11-02T00:00:00+00:00 until 2026-11-09T00:00:00+00:00" in text
    assert "was shown to a@example.com by box" in text
    # A page without groups beside it is for nobody, and search says so.
    found = told(docs("search", "Which port does the gateway listen on?", "--json"))
    assert {one["path"]: one["readers"] for one in found["pages"]}["ports.md"] == "hr"
    assert told(docs("search", "gateway port", "--groups", "eng", "--json"))["pages"] == []
    assert [
        one["path"] for one in told(docs("search", "port", "--groups", "hr", "--json"))["pages"]
    ] == ["ports.md"]
    assert "readers: hr" in docs("search", "gateway port", "--explain").stdout
    docs("remove", "ports.md", "--yes")
    assert "not in the index" in docs("show", url, "--readers").stdout
    assert "was shown to key hr-bot" in docs("show", url, "--readers").stdout
    assert "no such page" in docs("show", f"{SITE}never/", "--readers").stderr
