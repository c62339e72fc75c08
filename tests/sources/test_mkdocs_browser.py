"""Citations and links of a wiki, opened in a browser on the site that MkDocs Material makes."""

import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import Page as Tab
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from gateway.answering.grounding.links import absolute
from tests.sources.built import Built
from tests.sources.nasty import PAGES
from tests.widget.stand_in import serve
from tests.wikis.host import browsing
from wiki.pages.page import Page
from wiki.pages.targets import retarget
from wiki.sources.folder import Folder
from wiki.sources.source import Changed

pytestmark = pytest.mark.slow

SETTINGS = """
site_name: Wiki
site_url: SITE
theme:
  name: material
  font: false
  features: [navigation.tabs, header.autohide]
markdown_extensions:
  - admonition
  - attr_list
  - md_in_html
  - footnotes
  - def_list
  - pymdownx.details
  - pymdownx.superfences
  - pymdownx.tabbed: {alternate_style: true}
  - pymdownx.snippets: {base_path: [docs]}
  - toc: {permalink: true}
"""
LINKED = {
    "links/all": """# Links

[one](../plain.md) [two](../plain.md#first "Title") [three](<../a b/c d.md#one>)
[four](../../guide/) [five](../guide/index.md#in-a-folder)
[six](../manual/README.md#in-a-readme) [seven](#own-part)
[eight](../%C3%BCber/gr%C3%B6%C3%9Fe.md#eins) [nine][] [ten][nine] [eleven](next.md)
[up](../index.md) [signs](<../100%25 & more%23x.md#two>) [paper](files/paper.txt)
![dot](files/dot.png) <a href="../next/">twelve</a>

`[code](../plain.md)`

    [code](../plain.md)

--8<-- "links/part.txt"

[nine]: ../twice.md#setup_1

## Own part
""",
    "links/next": "# Next\n\n[back](all.md#own-part) [self](next.md#x)\n\n## X",
    "index": "# Home\n\n[all](links/all.md) [deep](guide/index.md)",
}
# The element that the address names, whether it is the browser's target, and where it is.
WHERE = """() => {
  const element = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!element) return null;
  const copy = element.cloneNode(true);
  copy.querySelectorAll(".headerlink").forEach((link) => link.remove());
  const box = element.getBoundingClientRect();
  return {
    tag: element.tagName, text: copy.textContent.trim().replace(/\\s+/g, " "),
    target: element.matches(":target"), seen: box.top >= -1 && box.top < innerHeight,
  };
}"""
# A heading that is not shown cannot be scrolled to; these are in a tab or a box that is closed.
FOLDED = ("On Mac", "Deeper", "In details", "In both")


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Page]]:
    """The pages of a wiki below a path, while its site is served."""
    root = tmp_path_factory.mktemp("wiki")
    filling = "\n\n" + "Some words to scroll past.\n\n" * 25
    for name, text in {**PAGES, **LINKED}.items():
        file = root / "docs" / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + filling, encoding="utf-8")
    (root / "docs/links/files").mkdir()
    (root / "docs/links/files/paper.txt").write_text("paper")
    (root / "docs/links/files/dot.png").write_bytes(b"")
    (root / "docs/links/part.txt").write_text("[part](../plain.md#deep)\n")
    site = root / "site"
    site.mkdir()
    with serve(Starlette(routes=[Mount("/wiki", StaticFiles(directory=site, html=True))])) as url:
        (root / "mkdocs.yml").write_text(SETTINGS.replace("SITE", f"{url}/wiki/"))
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet"]
        subprocess.run(command, check=True, cwd=root, stderr=subprocess.DEVNULL)
        yield [one.page for one in Folder(root, "").read({}) if isinstance(one, Changed)]


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browsing() as browser:
        yield browser.new_page(viewport={"width": 900, "height": 500})


def test_each_citation_opens_at_its_heading(wiki: list[Page], tab: Tab) -> None:
    seen = 0
    for page in wiki:
        for section in page.sections:
            answer = tab.goto(page.section_url(section), wait_until="domcontentloaded")
            assert answer is None or answer.ok, page.section_url(section)
            if not section.anchor:
                continue
            found = tab.evaluate(WHERE)
            where = f"{page.section_url(section)} {found}"
            assert found, where
            assert found["target"], where
            assert found["tag"] in ("H1", "H2", "H3", "H4", "H5", "H6"), where
            if page.path not in ("marks.md", "private.md", "footnotes.md"):
                assert found["text"] == section.heading, where
            assert found["seen"] or section.heading in FOLDED, where
            seen += 1
    assert seen > 100


def test_each_link_in_the_text_leads_where_it_leads_on_the_site(wiki: list[Page]) -> None:
    bodies: dict[str, str] = {}
    for page in wiki:
        if not page.path.startswith(("links/", "index")) or not page.path.endswith(".md"):
            continue
        ours = set(_links(absolute(page.text, page)))
        with httpx.Client(trust_env=False) as http:
            built = Built(http.get(page.url).text)
            theirs = {urljoin(page.url, link) for link in built.links}
            pictures = {link for link in ours if "dot.png" in link}
            assert {*map(unquote, ours - pictures)} <= {*map(unquote, theirs)}
            for link in ours:
                bare, anchor = urldefrag(link)
                if bare not in bodies:
                    answer = http.get(bare)
                    assert answer.status_code == 200, link
                    bodies[bare] = answer.text
                assert not anchor or unquote(anchor) in Built(bodies[bare]).ids, link
        assert ours
    text = next(page.text for page in wiki if page.path == "links/all.md")
    assert "`[code](../plain.md)`\n\n    [code](../plain.md)" in text
    assert "[one](../../plain/)" in text
    assert len(_links(text)) == 18


def _links(text: str) -> list[str]:
    found: list[str] = []

    def note(target: str) -> str:
        found.append(target)
        return target

    retarget(text, note)
    return found


def test_the_site_is_below_a_path(wiki: list[Page]) -> None:
    assert all(urlsplit(page.url).path.startswith("/wiki/") for page in wiki)
