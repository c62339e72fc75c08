"""The pages of a real MediaWiki, by its API."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from askdocs.supervision.checks import free_port
from gateway.access.rights import EVERYBODY
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.services.mediawiki import MediaWiki
from gateway.knowledge.sources.source import Broken, Changed, Expected, Item, Regrouped, Unchanged
from gateway.knowledge.sources.spec import Spec
from tests.parts import require
from tests.speaking import Handler, serving
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
MEDIAWIKI = ROOT / ".cache" / "mediawiki" / "usr" / "share" / "mediawiki"
HOW = (
    "apt-get install php-cli php-intl php-mbstring php-sqlite3 php-xml; sh tests/wikis/mediawiki.sh"
)


class Wiki:
    """One that runs, and who writes to it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = folder / "LocalSettings.php"
        words = ["--dbtype=sqlite", f"--dbpath={folder}", f"--server={self.url}", "--scriptpath="]
        words += [f"--confpath={folder}", "--pass=long-enough-a-word", "--skins=Vector"]
        self._environment = {**os.environ, "MW_CONFIG_FILE": str(self.settings)}
        self.run("install", *words, "Wiki", "Admin")
        with self.settings.open("a") as file:
            file.write(f"\n$wgCacheDirectory = '{folder}';\n")
        self.server = subprocess.Popen(
            ["php", "-S", f"127.0.0.1:{port}", "-t", str(MEDIAWIKI)],
            cwd=MEDIAWIKI, env=self._environment, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def run(self, script: str, *words: str, told: str = "") -> None:
        command = ["php", "maintenance/run.php", script, *words]
        environment = self._environment if script != "install" else {**os.environ}
        subprocess.run(
            command, cwd=MEDIAWIKI, env=environment, input=told, text=True, check=True,
            capture_output=True,
        )  # fmt: skip

    def write(self, title: str, text: str) -> None:
        self.run("edit", "--user=Admin", title, told=text)

    def read(self, known: dict[str, str] | None = None) -> list[Item]:
        return list(MediaWiki(f"{self.url}/api.php", None, 1000, True).read(known or {}))


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


def by_title(items: list[Item]) -> dict[str, Changed]:
    return {item.page.title: item for item in items if isinstance(item, Changed)}


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_real_mediawiki_is_read_followed_and_its_rights_are_taken(wiki: Wiki) -> None:
    assert Spec.named(f"{wiki.url}/api.php").kind == "mediawiki"
    wiki.write("Pump care", "Intro.\n\n== First run ==\nTurn it [[Main Page|on]].\n")
    wiki.write("Old", "Old text.")
    wiki.write("Moved", "#REDIRECT [[Pump care]]")
    first = wiki.read()
    found = by_title(first)
    assert set(found) == {"Main Page", "Pump care", "Old"}
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
    assert Expected(2) in second
    assert len([item for item in second if isinstance(item, Unchanged)]) == 1
    assert len(second) == 3  # nothing is said of the page that was deleted

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
