"""Citations of HTML exports and of a site that MkDocs made, opened in a browser."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.sources.exports import CONFLUENCE, FILLING, MEDIAWIKI
from tests.widget.stand_in import serve
from tests.wikis.host import browsing
from wiki.pages.page import Page
from wiki.sources.export import HtmlFolder
from wiki.sources.folder import Folder
from wiki.sources.source import Changed, Source

pytestmark = pytest.mark.slow

# Every place at which pages by hand have the anchor of a heading.
BY_HAND = f"""<title>By hand</title><h1>By hand</h1>{FILLING}
<h2 id=own>Own</h2>{FILLING}<h2><a name=inside></a>Inside</h2>{FILLING}
<a name="just before"></a><h2>Just before</h2>{FILLING}
<p><a id=paragraph></a></p><h2>In a paragraph before</h2>{FILLING}
<section id=section><h2>Section</h2>{FILLING}</section>
<h2 id="a%20b&amp;c(d)">Signs</h2>{FILLING}<h2 id="größe">Größe <code>x</code> 🎉</h2>{FILLING}
<table><tr><td><h2 id=cell>In a table that arranges</h2>{FILLING}</table>
<h2 id=twice>Twice</h2>{FILLING}<h3 id=unique>Twice</h3>{FILLING}"""
WORDS = "Words to scroll past.\n\n" * 25
MARKDOWN = {
    "index.md": f"# Home\n\nSee [how](guide/setup.md#set-it-up).\n\n## Where\n\n{WORDS}",
    "guide/setup.md": f"""# Set `up`

!!! note
    Take care.

{WORDS}
## Set it up

| a | b |
| - | - |
| 1 | [home](../index.md) |

```python
x = 1
```

{WORDS}
### On *Linux* & co. {{#linux}}

{WORDS}
## Set it up

{WORDS}""",
    "größe.md": f"# Größe\n\n{WORDS}\n## Überall 🎉\n\n{WORDS}",
}
# The element that the address names, and the heading that a reader has before them.
WHERE = """() => {
  const id = location.hash.slice(1);
  const element = document.querySelector(":target");
  if (!element) return null;
  const words = (element) => {
    const copy = element.cloneNode(true);
    copy.querySelectorAll(".headerlink, .mw-editsection").forEach((part) => part.remove());
    copy.querySelectorAll("img[alt]").forEach((image) => image.replaceWith(image.alt));
    return copy.textContent.trim().replace(/\\s+/g, " ");
  };
  const seen = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter((heading) => {
    const top = heading.getBoundingClientRect().top;
    return top >= -1 && top < innerHeight;
  });
  return {target: words(element), seen: seen.map(words)};
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sites")
    exports = {"confluence": CONFLUENCE, "mediawiki": MEDIAWIKI, "hand": {"by hand.html": BY_HAND}}
    for folder, files in exports.items():
        for name, text in files.items():
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            # A page by hand says no encoding.
            head = '<meta charset="utf-8">' if folder == "hand" else ""
            (root / folder / name).write_text(head + text, encoding="utf-8")
    for name, text in MARKDOWN.items():
        file = root / "mkdocs-source" / "docs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (root / "mkdocs-source/mkdocs.yml").write_text(
        f"site_name: Wiki\nsite_dir: {root / 'mkdocs'}\n"
        "theme: {name: material, font: false}\n"
        "markdown_extensions: [admonition, attr_list, tables, toc: {permalink: true}]\n"
    )
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet"],
        check=True,
        cwd=root / "mkdocs-source",
        stderr=subprocess.DEVNULL,
    )
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[str]:
    with serve(Starlette(routes=[Mount("/", StaticFiles(directory=root, html=True))])) as url:
        yield url


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browsing() as browser:
        yield browser.new_page(viewport={"width": 900, "height": 500})


def pages(source: Source) -> dict[str, Page]:
    return {one.page.path: one.page for one in source.read({}) if isinstance(one, Changed)}


@pytest.mark.parametrize(
    ("folder", "least"), [("confluence", 5), ("mediawiki", 6), ("hand", 10), ("mkdocs", 6)]
)
def test_each_citation_opens_at_its_heading(
    root: Path, site: str, tab: Tab, folder: str, least: int
) -> None:
    opened = 0
    for page in pages(HtmlFolder(root / folder, f"{site}/{folder}/")).values():
        for section in page.sections:
            if not section.anchor:
                continue
            url = page.section_url(section)
            tab.goto("about:blank")
            answer = tab.goto(url, wait_until="load")
            assert answer is not None
            assert answer.ok, url
            found = tab.evaluate(WHERE)
            assert found, url
            assert section.heading in found["seen"], f"{url} {found}"
            opened += 1
    assert opened >= least


def test_the_pages_of_a_built_site_are_those_of_its_markdown(root: Path, site: str) -> None:
    """What MkDocs made of a folder is the same wiki: addresses, titles, headings and anchors."""
    built = pages(HtmlFolder(root / "mkdocs", f"{site}/mkdocs/"))
    written = pages(Folder(root / "mkdocs-source", f"{site}/mkdocs/"))
    assert {page.url: _places(page) for page in built.values()} == {
        page.url: _places(page) for page in written.values()
    }
    setup = built["guide/setup/index.html"]
    assert setup.title == "Set up"
    assert "| a | b |\n| --- | --- |\n| 1 | [home](../../) |" in setup.text
    assert "```python\nx = 1\n```" in setup.text


def _places(page: Page) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(section.anchor, section.heading, section.path) for section in page.sections]
