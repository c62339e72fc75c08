import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.testclient import TestClient

from askdocs.state.home import Home
from askdocs.wikis import site
from core.errors import AskdocsError
from tests.askdocs.conftest import ROOT
from tests.sources.office import docx
from tests.starting import is_behind_the_edge, refuses_other_hosts
from wiki.rules import Rule, Rules
from wiki.sources import mkdocs_config

pytestmark = pytest.mark.slow

WIDGET = "http://127.0.0.1:8080"


def build(wiki: Path, home: Home, site_url: str = "http://127.0.0.1:8000/") -> bool:
    return asyncio.run(site.build(wiki, home, site_url, WIDGET))


def listed(home: Home) -> list[tuple[str, str]]:
    """The links of the front page's list: address and HTML."""
    html = (home.site / "index.html").read_text()
    article = html[html.index("<article") : html.index("</article>")]
    return re.findall(r'<li><a href="([^"]*)">(.*?)</a></li>', article)


def test_a_site_is_built_once_and_again_when_something_changes(wiki: Path, home: Home) -> None:
    (wiki / "latin.md").write_bytes("# Größe\n".encode("latin-1"))
    assert build(wiki, home)
    assert not (home.site / "latin").exists()  # it is not UTF-8
    assert not build(wiki, home)
    (wiki / "ports.md").write_text("# Ports\n\nThe box listens on port 8081 today.\n")
    assert all(asyncio.run(_shown_while_built(wiki, home)))
    assert "8081 today" in (home.site / "ports" / "index.html").read_text()
    assert not (home.root / "site.new").exists()
    assert not (home.root / "site.old").exists()
    assert not build(wiki, home)
    (wiki / "ports.md").unlink()
    (wiki / "new.md").write_text("# New\n")
    (wiki / "latin.md").write_text("# Größe\n")
    assert build(wiki, home)
    assert not (home.site / "ports").exists()
    for name in ("install", "new", "latin"):
        assert (home.site / name / "index.html").is_file()


async def _shown_while_built(wiki: Path, home: Home) -> list[bool]:
    """Whether the page on ports was there, each time it was looked for during a build."""
    building = asyncio.create_task(site.build(wiki, home, "http://127.0.0.1:8000/", WIDGET))
    there = []
    while not building.done():
        there.append((home.site / "ports" / "index.html").is_file())
        await asyncio.sleep(0.01)
    assert await building
    return there


def test_a_build_that_did_not_end_is_done_again_and_so_is_one_for_another_address(
    wiki: Path, home: Home
) -> None:
    build(wiki, home)
    (home.root / "site.json").write_text('{"diges')
    assert build(wiki, home)
    assert build(wiki, home, "http://127.0.0.1:8001/")


def test_a_build_that_is_cancelled_leaves_no_process_and_no_marker(wiki: Path, home: Home) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(site.build(wiki, home, "http://127.0.0.1:8000/", WIDGET))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not (home.root / "site.json").exists()
    assert build(wiki, home)


TITLES = {
    "arrays": ("Arrays [a][b] and [x](y)", "Arrays (a)(b) and (x)(y)"),
    "code": ("Use `<b>` & `a[0]`", "Use <code>&lt;b&gt;</code> &amp; <code>a(0)</code>"),
    "script": ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    "tags": ("The <details> tag", "The &lt;details&gt; tag"),
}
"""Of a page: as it is written, and as the front page lists it."""


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The site of a wiki without a front page, with titles and links of all kinds."""
    folder = tmp_path_factory.mktemp("site")
    wiki, outside, home = folder / "wiki", folder / "outside", Home(folder / "home")
    home.make()
    for name in ("secret.md", "secret.txt", "deep/secret.txt"):
        (outside / name).parent.mkdir(exist_ok=True)
        (outside / name).write_text("the password is tomato")
    (wiki / "guides").mkdir(parents=True)
    (wiki / "guides" / "first steps.md").write_text("---\ntitle: First steps\n---\n\nGo.\n")
    for name, (title, _) in TITLES.items():
        (wiki / f"{name} (1).md").write_text(f"---\ntitle: '{title}'\n---\n\nText.\n")
    (wiki / "secret.md").symlink_to(outside / "secret.md")
    (wiki / "copied.txt").symlink_to(outside / "secret.txt")
    (wiki / "all").symlink_to(outside)
    (wiki / "picture.png").write_text("own file")
    (wiki / "again.png").symlink_to("picture.png")
    (wiki / "include.md").write_text('# Include\n\n--8<-- "secret.md"\n\n--8<-- "copied.txt"\n')
    before = sorted(wiki.rglob("*"))
    build(wiki, home)
    assert sorted(wiki.rglob("*")) == before
    return home


def test_a_wiki_without_a_front_page_gets_one_that_lists_its_pages_by_their_titles(
    listing: Home,
) -> None:
    titles = [(f"{name}%20%281%29/", html) for name, (_, html) in TITLES.items()]
    others = [("guides/first%20steps/", "First steps"), ("include/", "Include")]
    assert listed(listing) == sorted([*titles, *others])
    for name in TITLES:
        assert (listing.site / f"{name} (1)" / "index.html").is_file()


def test_the_box_is_in_every_page_by_one_script_tag(listing: Home) -> None:
    pages = list(listing.site.rglob("*.html"))
    assert len(pages) == 8  # with the front page and the one for what is not there
    for page in pages:
        assert page.read_text().count(f'<script src="{WIDGET}/embed.js"></script>') == 1


def test_no_page_fetches_anything_from_elsewhere(listing: Home) -> None:
    for page in listing.site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(http[^"]*)"',
            page.read_text(),
        )
        assert set(fetched) <= {f"{WIDGET}/embed.js"}


def test_the_site_shows_nothing_that_a_link_leads_out_to(listing: Home) -> None:
    """MkDocs copies all that links lead to: `all -> /` too."""
    texts = {path: path.read_bytes() for path in listing.site.rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if b"tomato" in text]
    assert (listing.site / "again.png").read_text() == "own file"
    assert (listing.site / "include" / "index.html").is_file()


def test_a_folder_of_documents_alone_is_a_site_that_lists_them(tmp_path: Path, home: Home) -> None:
    folder = tmp_path / "papers"
    (folder / "old").mkdir(parents=True)
    letter = docx([("Title", "Travel"), ("Normal", "By train.")])
    (folder / "travel policy.docx").write_bytes(letter)
    (folder / "old" / "notes.txt").write_text("Printers\n\nThe printer needs a badge.\n")
    (folder / "robots.txt").write_text("User-agent: *\n")
    assert build(folder, home)
    assert listed(home) == [
        ("old/notes.txt", "old/notes.txt"),
        ("travel%20policy.docx", "travel policy.docx"),
    ]
    assert (home.site / "travel policy.docx").read_bytes() == letter


@pytest.mark.parametrize("name", ["index.md", "README.md"])
def test_a_front_page_of_the_wiki_stays(wiki: Path, home: Home, name: str) -> None:
    (wiki / name).write_text("# Our house\n\nWelcome.\n")
    build(wiki, home)
    assert listed(home) == []
    assert "Welcome." in (home.site / "index.html").read_text()


def test_pages_that_mkdocs_fails_or_hangs_at_are_left_out_and_named(
    wiki: Path,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hook = tmp_path / "hook.py"
    hook.write_text(site._HOOK.read_text().replace("PAGE_S = 30.0", "PAGE_S = 1.0"))
    monkeypatch.setattr(site, "_HOOK", hook)
    (wiki / "bad one.md").write_text("# Bad\n\nSee [this](http://[nas).\n")
    (wiki / "brackets.md").write_text("# Brackets\n\n" + 60_000 * "[" + "\n")
    assert build(wiki, home)
    bad, brackets = sorted(capsys.readouterr().err.splitlines())
    assert bad == "site: bad one.md is not shown: MkDocs fails on it: Invalid IPv6 URL"
    assert "brackets.md is not shown: MkDocs fails on it: it takes more than 1 s" in brackets
    for name in ("bad one", "brackets"):
        assert not (home.site / name).exists()
    assert (home.site / "ports" / "index.html").exists()
    assert not build(wiki, home)  # what was built without them is not built again


def test_a_site_that_mkdocs_cannot_build_is_an_error_with_the_reason_and_the_log(
    wiki: Path, home: Home
) -> None:
    (home.root / "site.new").write_text("a file where the folder should be")
    with pytest.raises(AskdocsError) as caught:
        build(wiki, home)
    message = str(caught.value)
    assert message.startswith(f"MkDocs could not build {wiki}: ")
    assert str(home.root / "site.new") in message
    assert str(home.logs / "site-build.log") in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("folder", "name"),
    [("handbook", "handbook"), ("atlas/docs", "atlas"), ("atlas/wiki", "atlas")],
)
def test_the_site_is_named_after_the_wiki_or_what_it_belongs_to(
    tmp_path: Path, home: Home, folder: str, name: str
) -> None:
    assert site.config(tmp_path / folder, home, "", WIDGET, {})["site_name"] == name


def test_the_server_builds_shows_pages_follows_them_and_ends_at_a_signal(
    wiki: Path, home: Home
) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "askdocs.wikis.site"]
    command += ["--root", str(home.site), "--port", str(port)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*command, "--docs", str(wiki)], env=env)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            deadline = time.monotonic() + 120
            while True:
                try:
                    page = http.get("/ports/")
                    break
                except httpx.ConnectError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            assert "listens on port 4000" in page.text
            assert http.get("/nowhere/").status_code == 404
            assert http.get("/..%2fkey").status_code == 404
            assert is_behind_the_edge(port)
            assert refuses_other_hosts(port, "/ports/", "site_hosts")
            (wiki / "ports.md").write_text("# Ports\n\nThe gateway listens on port 5000.\n")
            while "listens on port 5000" not in http.get("/ports/").text:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            # What nobody foresaw does not end the following, either.
            shutil.rmtree(home.logs)
            (wiki / "ports.md").write_text("# Ports\n\nThe gateway listens on port 6000.\n")
            time.sleep(2)
            home.logs.mkdir()
            deadline = time.monotonic() + 60
            while "listens on port 6000" not in http.get("/ports/").text:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        process.terminate()
        assert process.wait(60) in (0, -15)
    finally:
        process.kill()
        process.wait()


def test_a_wiki_keeps_its_own_name_and_navigation(tmp_path: Path, home: Home) -> None:
    docs = tmp_path / "project" / "docs"
    docs.mkdir(parents=True)
    for name in ("index", "b", "a"):
        (docs / f"{name}.md").write_text(f"# Page {name}\n")
    (docs.parent / "mkdocs.yml").write_text(
        """site_name: The office
nav: [index.md, {Rooms: [{The B room: b.md}, a.md]}, {bad: 1}]
theme: {name: material, custom_dir: /etc,
  features: [navigation.tabs, search.share]}
extra_css: ['https://elsewhere.example/a.css']
plugins: [gen-files]
hooks: [evil.py]
"""
    )
    build(docs, home)
    html = (home.site / "index.html").read_text()
    assert "<title>The office</title>" in html
    assert 'class="md-tabs"' in html
    assert "search.share" not in html
    assert "elsewhere.example" not in html
    text = re.sub("<[^>]*>|\\s+", " ", html)
    assert re.search(r"Rooms .*The B room .*Page a", text)


def test_a_navigation_with_far_more_entries_than_pages_is_left_out(
    tmp_path: Path, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Hello\n\nSeal reads mail.\n")
    nav = "- index.md\n" * 40_000
    (tmp_path / "mkdocs.yml").write_text(f"site_name: Seal\nnav:\n{nav}")
    build(tmp_path / "docs", home)
    html = (home.site / "index.html").read_text()
    assert "<title>Seal</title>" in html
    assert len(html) < 100_000
    assert "navigation" in capsys.readouterr().err


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "java\tscript:x",
        "javascript&colon;x",
        "javascript&#58;x",
        'a"b',
        "data:x",
    ],
)
def test_a_navigation_takes_no_link_but_paths_and_addresses_of_the_web(target: str) -> None:
    kept = ["R&D.md", "a page.md", {"Home": "https://x.example/?a=1&b=2"}]
    assert mkdocs_config.navigation([*kept, target, {"Bad": target}]) == kept


def test_closed_pages_are_not_on_the_site_nor_in_its_search_index(tmp_path: Path) -> None:
    wiki, home = tmp_path / "wiki" / "docs", Home(tmp_path / "home")
    home.make()
    everybody = "---\ngroups: everybody\n---\n"
    pages = {
        "index.md": f"{everybody}# Welcome\n",
        "tea.md": f"{everybody}# Tea\n\nAt four.\n",
        "board.md": "---\ngroups: board\n---\n# Wrenfield\n\nThe merger.\n",
        "hr/pay.md": "# Severance\n\n98,765 euros.\n",
        "hr/pay.txt": "Severance is 98,765 euros.\n",
        "quote.md": f'{everybody}# Quote\n\n--8<-- "hr/pay.md"\n',
        "none.md": "# Nobody\n\nWrenfield.\n",
    }
    for path, text in pages.items():
        (wiki / path).parent.mkdir(parents=True, exist_ok=True)
        (wiki / path).write_text(text)
    nav = [{"Home": "index.md"}, {"Severance": "hr/pay.md"}, {"Tea": "tea.md"}]
    options = {"markdown_extensions": [{"pymdownx.snippets": {"base_path": [str(wiki)]}}]}
    settings = yaml.safe_dump({"site_name": "W", "nav": nav, **options})
    (wiki.parent / "mkdocs.yml").write_text(settings)
    told: list[str] = []
    rules = Rules({"pay": Rule(path="hr/", groups=("hr",))})
    asyncio.run(site.build(wiki, home, "http://127.0.0.1:8000/", WIDGET, told.append, rules))
    assert [line for line in told if "not shown" in line] == [
        "5 files are not shown, because the site is open and they are not"
    ]
    assert (home.site / "tea" / "index.html").is_file()
    for file in home.site.rglob("*"):
        if file.is_file() and file.suffix in (".html", ".json", ".xml", ".txt"):
            assert not re.search("98,765|Severance|Wrenfield|hr/pay", file.read_text()), file


def test_a_folder_of_html_serves_only_what_is_for_everybody(tmp_path: Path) -> None:
    for path in ("tea.html", "hr/pay.html", "hr/index.html", "style.css"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"<title>{path}</title>")
    everybody = Rule(path="tea.html", groups=("everybody",))
    rules = Rules({"pay": Rule(path="hr/", groups=("hr",)), "tea": everybody})
    client = TestClient(site.app(tmp_path, rules=rules))
    statuses = {
        path: client.get(path).status_code
        for path in (
            "/tea.html",
            "/style.css",
            "/hr/pay.html",
            "/hr/",
            "/%68r/pay.html",
            "/x/../hr/",
        )
    }
    assert [path for path, status in statuses.items() if status == 200] == [
        "/tea.html",
        "/style.css",
    ]
    assert "hr/" not in client.get("/").text
    assert "tea.html" in client.get("/").text
