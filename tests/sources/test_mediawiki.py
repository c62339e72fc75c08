"""The pages of a real MediaWiki, by its API."""

import base64
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from tests.parts import require
from tests.sources import office
from tests.speaking import Handler, serving
from tests.waiting import until
from wiki.index.index import writing
from wiki.rights import EVERYBODY
from wiki.sources import fetch
from wiki.sources import sync as syncing
from wiki.sources.documents import pdf
from wiki.sources.services.mediawiki import MediaWiki
from wiki.sources.source import (
    Broken,
    Changed,
    Item,
    Regrouped,
    State,
    Unchanged,
)
from wiki.sources.spec import Spec
from wiki.sources.sync import sync
from wiki.sources.synced import Synced
from wiki.sources.tokens import Token

ROOT = Path(__file__).resolve().parents[2]
MEDIAWIKI = ROOT / ".cache" / "mediawiki" / "usr" / "share" / "mediawiki"
HOW = (
    "apt-get install php-cli php-intl php-mbstring php-sqlite3 php-xml; sh tests/wikis/mediawiki.sh"
)

# One white point.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsVpuxgAAAABJRU5ErkJggg=="
)


class Wiki:
    """One that runs, and who writes to it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = folder / "LocalSettings.php"
        self.log = folder / "requests.log"
        self.uploads = MEDIAWIKI / "images" / f"test-{port}"
        self.uploads.mkdir()
        words = ["--dbtype=sqlite", f"--dbpath={folder}", f"--server={self.url}", "--scriptpath="]
        words += [f"--confpath={folder}", "--pass=long-enough-a-word", "--skins=Vector"]
        self._environment = {**os.environ, "MW_CONFIG_FILE": str(self.settings)}
        self.run("install", *words, "Wiki", "Admin")
        with self.settings.open("a") as file:
            file.write(
                f"\n$wgCacheDirectory = '{folder}';\n$wgEnableUploads = true;\n"
                "$wgFileExtensions = ['pdf', 'png'];\n$wgVerifyMimeType = false;\n"
                f"$wgUploadDirectory = '{self.uploads}';\n"
                f"$wgUploadPath = '/images/{self.uploads.name}';\n"
            )
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                ["php", "-S", f"127.0.0.1:{port}", "-t", str(MEDIAWIKI)],
                cwd=MEDIAWIKI, env=self._environment, stderr=log, start_new_session=True,
            )  # fmt: skip

    def run(self, script: str, *words: str, told: str = "") -> None:
        command = ["php", "maintenance/run.php", script, *words]
        environment = self._environment if script != "install" else {**os.environ}
        subprocess.run(
            command, cwd=MEDIAWIKI, env=environment, input=told, text=True, check=True,
            capture_output=True,
        )  # fmt: skip

    def query(self, sql: str) -> None:
        self.run("sql", "--query", sql)

    def write(self, title: str, text: str) -> None:
        self.run("edit", "--user=Admin", title, told=text)

    def source(self, files: bool = False) -> MediaWiki:
        return MediaWiki(f"{self.url}/api.php", None, 1000, True, files)

    def read(self, known: dict[str, str] | None = None) -> list[Item]:
        items = list(self.source().read(known or {}))
        assert isinstance(items.pop(), State)
        return items

    def sync(self, index: Path, files: bool = False) -> tuple[Synced, list[str]]:
        """What it did, and the addresses that it asked for."""
        before = len(self.log.read_text().splitlines())
        done = sync(self.source(files), partial(writing, index), spec={"kind": "mediawiki"})
        lines = self.log.read_text().splitlines()[before:]
        return done, [line.partition("GET ")[2] for line in lines if "GET " in line]


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wiki]:
    require(shutil.which("php") is not None and (MEDIAWIKI / "index.php").is_file(), HOW)
    made = Wiki(tmp_path_factory.mktemp("mediawiki"))
    try:

        def is_up() -> bool:
            try:
                return bool(made.read())
            except AskdocsError:
                return False

        until(is_up, 60)
        yield made
    finally:
        os.killpg(made.server.pid, signal.SIGTERM)
        made.server.wait()
        shutil.rmtree(made.uploads)


def by_title(items: list[Item]) -> dict[str, Changed]:
    return {item.page.title: item for item in items if isinstance(item, Changed)}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_sync_reads_only_the_texts_of_a_real_mediawiki_that_changed(
    wiki: Wiki, tmp_path: Path
) -> None:
    """By edits, templates, moves, deletions and restored pages."""
    index = tmp_path / "index.db"
    for title in ("Edited", "Deleted", "Moved", "Suppressed"):
        wiki.write(title, f"{title} text.")
    wiki.write("Template:Oil", "Use 5W.")
    wiki.write("Including", "{{Oil}} Then start.")
    wiki.write("Bare", "<!-- nothing -->")
    first, _ = wiki.sync(index)
    assert [one.why for one in first.left_out] == ["no text"]
    second, asked = wiki.sync(index)
    assert not second.is_different
    assert (second.unchanged, second.left_out) == (len(first.added), first.left_out)
    quiet = len(asked)

    wiki.write("Edited", "Other text.")
    wiki.write("Template:Oil", "Use 10W.")
    wiki.run("runJobs")
    wiki.run("deleteBatch", "-u", "Admin", told="Deleted\n")
    wiki.run("moveBatch", "-u", "Admin", told="Moved|There\n")
    done, asked = wiki.sync(index)
    assert (len(done.changed), len(done.removed), done.added) == (3, 1, ())
    assert len(asked) == quiet + 3  # their texts

    wiki.run("undelete", "-u", "Admin", "Deleted")
    done, _ = wiki.sync(index)
    assert (len(done.added), done.changed, done.removed) == (1, (), ())

    wiki.run("deleteBatch", "-u", "Admin", told="Suppressed\n")
    wiki.query("UPDATE logging SET log_type = 'suppress' WHERE log_title = 'Suppressed'")
    done, _ = wiki.sync(index)
    assert len(done.removed) == 1


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_uploaded_documents_are_pages_by_option_and_scans_are_not_read_twice(
    wiki: Wiki, tmp_path: Path
) -> None:
    folder, index = tmp_path / "files", tmp_path / "index.db"
    folder.mkdir()
    (folder / "Manual.pdf").write_bytes(office.pdf(["The pump is bled before the first start."]))
    (folder / "Scan.pdf").write_bytes(office.pdf([""], picture=True))
    (folder / "Photo.png").write_bytes(PNG)
    wiki.run("importImages", "--user=Admin", "--extensions=pdf,png", str(folder))
    assert not [path for path in wiki.sync(index)[0].added if "/" in path]
    done, asked = wiki.sync(index, files=True)
    [path] = done.added
    assert path.endswith("/file")
    assert sorted(one.why for one in done.left_out if "/" in one.path) == [
        "attachment of an unsupported type",
        pdf.SCANNED,
    ]
    assert len([one for one in asked if one.startswith("/images/")]) == 2
    again, asked = wiki.sync(index, files=True)
    assert not [one for one in asked if one.startswith("/images/")]
    assert (again.is_different, again.left_out) == (False, done.left_out)
    assert wiki.sync(index)[0].removed == (path,)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_real_mediawiki_is_read_followed_and_its_rights_are_taken(wiki: Wiki) -> None:
    assert Spec.named(f"{wiki.url}/api.php").kind == "mediawiki"
    wiki.write("Pump care", "Intro.\n\n== First run ==\nTurn it [[Main Page|on]].\n")
    wiki.write("Old", "Old text.")
    wiki.write("Moved", "#REDIRECT [[Pump care]]")
    first = wiki.read()
    found = by_title(first)
    assert {"Main Page", "Pump care", "Old"} <= set(found)
    page = found["Pump care"].page
    assert page.url == f"{wiki.url}/index.php/Pump_care"
    assert page.sections[-1].anchor == "First_run"
    assert page.sections[-1].body.startswith("Turn it [on](")
    assert found["Pump care"].groups == ()  # everybody may read
    known = {item.page.path: item.stamp for item in found.values()}

    wiki.write("Pump care", "Intro.\n\n== Second run ==\nAgain.\n")
    wiki.run("deleteBatch", "-u", "Admin", told="Old\n")
    second = wiki.read(known)
    assert set(by_title(second)) == {"Pump care"}
    same = [item.path for item in second if isinstance(item, Unchanged)]
    assert set(same) == known.keys() - {found["Old"].page.path, page.path}

    with wiki.settings.open("a") as file:
        file.write("\n$wgGroupPermissions['*']['read'] = false;\n")

    def is_refused() -> bool:
        try:
            wiki.read(known)
        except AskdocsError as error:
            return "readapidenied: set ASKDOCS_SITES_TOKENS" in str(error)
        return False  # PHP looks every two seconds whether the settings have changed

    until(is_refused)


def test_a_wiki_that_only_its_users_may_read_belongs_to_their_groups() -> None:
    """And one page that is refused, and a list that breaks off."""
    row = {"pageid": 7, "title": "A", "lastrevid": 1, "touched": "x", "canonicalurl": "https://w/A"}
    general = {
        "namespaces": {"0": {"id": 0, "content": True}},
        "usergroups": [
            {"name": "*", "rights": []},
            {"name": "user", "rights": ["read"]},
            {"name": "everybody", "rights": ["read"]},
            {"rights": ["read"]},
        ],
    }
    rows = [row, {**row, "pageid": 8, "title": "B"}]

    class Serve(Handler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "meta" in query:
                self.json(200, {"batchcomplete": True, "query": general})
            elif "generator" in query:
                self.json(200, {"batchcomplete": True, "query": {"pages": rows}})
            elif query["pageid"] == ["8"]:
                self.json(200, {"error": {"code": "permissiondenied"}})
            else:
                self.json(200, {"parse": {"text": "<p>Text</p>"}})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        source = MediaWiki(f"http://127.0.0.1:{server.server_port}/api.php", None, 1000, True)
        items = list(source.read({}))
        [page] = [item for item in items if isinstance(item, Changed)]
        assert page.groups == (frozenset({"user", "mediawiki:everybody"}),)
        broken = [(item.path, item.groups) for item in items if isinstance(item, Broken)]
        assert broken == [("8", page.groups)]
        general["usergroups"] = [{"name": "*", "rights": ["read"]}]
        again = list(source.read({"7": page.stamp}))
        assert [item.groups for item in again if isinstance(item, Regrouped)] == [()]
        assert EVERYBODY not in str(again)
        rows[1] = {"title": "B", "missing": True}
        with pytest.raises(AskdocsError, match="the list of pages breaks off"):
            list(source.read({}))


class Failing:
    """A wiki of five pages whose requests for texts fail as `faults` says, then no more."""

    def __init__(self) -> None:
        self.url = ""
        self.faults: list[Any] = []
        """None, "truncated", (status, headers), or the code of an error with the status 200."""
        self.pages = [
            {"pageid": n, "ns": 0, "title": f"Page {n}", "lastrevid": 1, "touched": "x",
             "canonicalurl": f"https://w.example/{n}"}
            for n in range(1, 6)
        ]  # fmt: skip

        self.asked = 0
        self.rights = ["read"]
        """Those of users."""

    def source(self) -> MediaWiki:
        return MediaWiki(f"{self.url}/api.php", Token("", "s3cret"), 1000, True)

    def read(self) -> list[Item]:
        return list(self.source().read({}))


@pytest.fixture
def failing() -> Iterator[Failing]:
    made = Failing()
    general = {
        "namespaces": {"0": {"id": 0, "content": True}},
        "usergroups": [
            {"name": "user", "rights": made.rights},
            {"name": "staff", "rights": ["read"]},
        ],
    }

    class Serve(Handler):
        def do_GET(self) -> None:
            made.asked += 1
            query = parse_qs(urlsplit(self.path).query)
            if "meta" in query:
                self.json(200, {"batchcomplete": True, "query": general})
                return
            if "generator" in query:
                pages = [page for page in made.pages if "redirect" not in page]
                self.json(200, {"batchcomplete": True, "query": {"pages": pages}})
                return
            fault = made.faults.pop(0) if made.faults else None
            if isinstance(fault, tuple):
                self.bare(*fault)
            elif fault == "truncated":
                self.send(200, b'{"parse": {"text": "<p>Te', "application/json")
            elif fault:
                self.json(200, {"error": {"code": fault}})
            else:
                self.json(200, {"parse": {"text": "<p>Text</p>"}})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made


def test_a_page_that_is_refused_stays_as_it_was_and_the_others_are_read(failing: Failing) -> None:
    failing.faults = [None, (403, {}), "permissiondenied", *["truncated"] * 3]
    items = failing.read()
    assert len([item for item in items if isinstance(item, Changed)]) == 2
    assert {item.path: item.groups for item in items if isinstance(item, Broken)} == {
        n: (frozenset({"user", "staff"}),) for n in ("2", "3", "4")
    }


def test_a_busy_service_is_waited_for_as_long_as_it_says(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    failing.faults = [(429, {"Retry-After": "7"}), (503, {}), "truncated"]
    assert len([item for item in failing.read() if isinstance(item, Changed)]) == 5
    assert max(slept) > 6


@pytest.mark.parametrize("fault", [(401, {}), "mwoauth-invalid-authorization", "readapidenied"])
def test_what_was_read_before_a_token_expired_is_kept_and_not_read_twice(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr(syncing, "BATCH", 2)
    opened = partial(writing, tmp_path / "index.db")
    spec = {"kind": "mediawiki", "site_url": ""}
    failing.faults = [None, None, None, fault]
    with pytest.raises(AskdocsError, match="pages read so far are kept") as refused:
        sync(failing.source(), opened, spec=spec)
    assert "s3cret" not in str(refused.value)
    done = sync(failing.source(), opened, spec=spec)
    assert (done.unchanged, len(done.added), done.removed) == (3, 2, ())
    del failing.pages[0]
    assert sync(failing.source(), opened, spec=spec).removed == ("1",)
