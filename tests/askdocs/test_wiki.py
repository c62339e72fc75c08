"""The wiki of `askdocs up`, on real folders and a real index."""

import re
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from askdocs.state.home import Home
from askdocs.wikis.wiki import Wiki
from core.errors import AskdocsError
from tests.gateway.conftest import page
from tests.waiting import until
from wiki.index.index import Index, writing
from wiki.index.rows import StoredSource
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

pytestmark = pytest.mark.slow

SITE = "http://127.0.0.1:8000/"


def opened(docs: str, home: Home, said: list[str]) -> Wiki:
    """`said` gets what it says, but for its progress: a busy machine shows more of that."""

    def say(text: str) -> None:
        if not re.search(r": reading pages, \d+$", text):
            said.append(text)

    return Wiki(docs, SITE, home.index, partial(writing, home.index), say)


def urls(home: Home) -> list[str]:
    index = Index(home.index)
    try:
        return [page.url for page in index.pages()]
    finally:
        index.close()


def test_a_folder_of_markdown_is_read_as_the_site_that_up_builds(wiki: Path, home: Home) -> None:
    (wiki / "docusaurus.config.js").write_text("module.exports = {baseUrl: '/elsewhere/'}")
    said: list[str] = []
    up = opened(str(wiki), home, said)
    up.first()
    assert up.spec.kind == "preview"
    assert urls(home) == [f"{SITE}install/", f"{SITE}ports/"]
    assert said == ["2 pages, 2 added"]
    assert up.questions()[0] == "Install it"
    assert up.origins == ()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"index.md": ""}, r"1 left out: no text \(1\)"),
        ({"big.md": "x" * (4 * 2**20 + 1)}, "big.md: larger than 4 MiB"),
    ],
)
def test_a_wiki_of_which_nothing_can_be_read_is_an_error_that_says_why(
    tmp_path: Path, home: Home, files: dict[str, str], why: str
) -> None:
    docs = tmp_path / "nothing"
    docs.mkdir()
    for name, text in files.items():
        (docs / name).write_text(text)
    with pytest.raises(AskdocsError, match=f"nothing has no page that could be read: {why}"):
        opened(str(docs), home, []).first()


def test_what_is_left_out_is_said_once(wiki: Path, home: Home) -> None:
    (wiki / "guide.odt").write_text("x")
    said: list[str] = []
    up = opened(str(wiki), home, said)
    up.first()
    up.first()
    assert [line for line in said if "reading pages" not in line] == [
        "2 pages, 2 added",
        "1 left out: OpenDocument text: save it as DOCX (1);"
        " `askdocs docs sync --dry-run` lists them",
    ]


def test_pages_that_another_source_has_already_are_named_with_the_way_out(
    tmp_path: Path, wiki: Path, home: Home
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    wiki.rename(project / "docs")
    (project / "mkdocs.yml").write_text("site_name: Office\nsite_url: https://wiki.example.com/\n")
    sync((spec := Spec.named(str(project))).open(), partial(writing, home.index), spec=spec.stored)
    said: list[str] = []
    up = opened(str(project), home, said)
    up.first()
    pages = project / "docs"
    assert said == [
        f"the pages of {project} are in {pages}",
        "2 pages, 2 added",
        f"the index has these pages as {project}, too, and answers may cite both:"
        f" `askdocs docs remove {project}` keeps only those of {pages}",
    ]
    up.first()  # said once
    assert len(said) == 3


def test_the_site_of_a_folder_has_the_wiki_as_text(wiki: Path, home: Home) -> None:
    up = opened(str(wiki), home, [])
    up.first()
    with writing(home.index) as writer:
        writer.put("another", page("secret.md", "# Secret\n\nOf another wiki.\n"), "")
    with pytest.raises(AskdocsError, match=r"site: llms\.txt cannot be written \(No such file"):
        up.write_texts(home.site)
    home.site.mkdir()
    up.write_texts(home.site)
    assert sorted(file.name for file in home.site.iterdir()) == ["llms-full.txt", "llms.txt"]
    assert f"- [Install it]({SITE}install/)" in (home.site / "llms.txt").read_text()
    whole = (home.site / "llms-full.txt").read_text()
    assert whole.count("</page>\n") == 2
    assert "Secret" not in whole


@pytest.mark.parametrize(
    ("settings", "text", "pages"),
    [
        ("mkdocs.yml", "docs_dir: handbook\n", "handbook"),
        ("docusaurus.config.js", "module.exports = {}\n", "docs"),
        (".gitbook.yaml", "root: ./book/\n", "book"),
    ],
)
def test_of_a_generators_project_only_the_pages_are_read(
    tmp_path: Path, home: Home, settings: str, text: str, pages: str
) -> None:
    project = tmp_path / "project"
    (project / pages).mkdir(parents=True)
    (project / settings).write_text(text)
    (project / "README.md").write_text("# How to build this site\n\nText.\n")
    (project / pages / "ports.md").write_text('# Ports\n\n--8<-- "parts/note.md"\n')
    (project / pages / "parts").mkdir()
    (project / pages / "parts" / "note.md").write_text("Port 4000.\n")
    said: list[str] = []
    up = opened(str(project), home, said)
    up.first()
    assert urls(home) == [f"{SITE}parts/note/", f"{SITE}ports/"]
    assert said == [f"the pages of {project} are in {project / pages}", "2 pages, 2 added"]
    assert up.spec.folder == project / pages  # of which the site is built, too


def test_a_folder_of_html_is_read_as_it_is(tmp_path: Path, home: Home) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "page.html").write_text("<main><h1>Page</h1><p>Text of the page.</p></main>")
    up = opened(str(export), home, [])
    up.first()
    assert up.spec.kind == "html"
    assert urls(home) == [f"{SITE}page.html"]


def test_the_pages_of_a_site_may_show_the_box(home: Home) -> None:
    up = opened("https://wiki.example.com/docs/", home, [])
    assert up.spec.folder is None
    assert up.origins == ("https://wiki.example.com",)


def test_a_site_that_the_index_has_is_not_waited_for(home: Home) -> None:
    site = opened("http://127.0.0.1:1/", home, [])
    with pytest.raises(AskdocsError):
        site.first()  # nobody is there, and nothing is known of it
    with writing(home.index) as writer:
        writer.put(site.spec.place, page("a.md", "# A\n\nText."), "1")
    site.first()


def test_changes_are_followed_and_errors_said_once(wiki: Path, home: Home) -> None:
    said: list[str] = []
    changed: list[int] = []
    up = opened(str(wiki), home, said)
    up.first()
    thread = threading.Thread(target=up.keep, args=(lambda: changed.append(1), changed.clear))
    thread.start()
    try:
        (wiki / "new.md").write_text("# New\n\nText.\n")
        until(lambda: "3 pages, 1 added" in said)
        (wiki / "new.md").write_bytes(b"\xff")
        until(lambda: any(line.startswith("new.md: not UTF-8") for line in said))
        elsewhere = wiki.rename(wiki.with_name("elsewhere"))
        time.sleep(1)
        elsewhere.rename(wiki)
        (wiki / "ports.md").unlink()
        until(lambda: "2 pages, 1 removed" in said or "1 pages, 1 removed" in said)
        until(lambda: len(changed) == 2)
    finally:
        up.stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert len(said) == len(set(said))


def test_an_address_is_read_as_it_was_synced_before(home: Home) -> None:
    """`https://wiki.example.com/display/ENG` does not say that it is a Confluence."""
    place = "https://wiki.example.com/display/ENG"
    assert opened(place, home, []).spec.kind == "site"
    home.make()
    home.index.touch()  # as a kill may leave it; a sync rebuilds it, as one of an older version
    assert opened(place, home, []).spec.kind == "site"
    with writing(home.index) as writer:
        writer.put_source(StoredSource(place, {"kind": "confluence", "site_url": ""}, None, ()))
    assert opened(place, home, []).spec == Spec(place, "confluence", "")
    assert opened("https://other.example.com/", home, []).spec.kind == "site"
