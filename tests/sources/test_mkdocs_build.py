"""Anchors and addresses, compared with what MkDocs makes of the same folder."""

import asyncio
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown import Markdown

from askdocs.state.home import Home
from askdocs.wikis import site
from tests.sources.built import Built
from tests.sources.conftest import SITE
from tests.sources.nasty import PAGES
from wiki.pages.page import Page
from wiki.sources import mkdocs_config
from wiki.sources.folder import Folder
from wiki.sources.rendered import Renderer
from wiki.sources.source import Changed

DOCS = Path(__file__).parents[2] / "docs"

OWN_SETTINGS = """
site_name: Nasty
theme: material
site_url: https://wiki.example.com/
use_directory_urls: false
docs_dir: wiki
exclude_docs: |
  /drafts/
  *.secret.md
markdown_extensions:
  - admonition
  - attr_list
  - md_in_html
  - def_list
  - footnotes
  - abbr
  - smarty
  - sane_lists
  - pymdownx.details
  - pymdownx.superfences:
      custom_fences:
        - name: mermaid
          class: mermaid
          format: !!python/name:pymdownx.superfences.fence_code_format
  - pymdownx.tabbed:
      alternate_style: true
      slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}
  - pymdownx.blocks.tab: {alternate_style: true}
  - pymdownx.blocks.admonition
  - pymdownx.blocks.details
  - pymdownx.arithmatex: {generic: true}
  - pymdownx.betterem
  - pymdownx.caret
  - pymdownx.highlight: {anchor_linenums: true}
  - pymdownx.inlinehilite
  - pymdownx.keys
  - pymdownx.mark
  - pymdownx.tasklist: {custom_checkbox: true}
  - pymdownx.snippets: {base_path: [parts, wiki], auto_append: [terms.md]}
  - pymdownx.emoji:
      emoji_index: !!python/name:material.extensions.emoji.twemoji
      emoji_generator: !!python/name:material.extensions.emoji.to_svg
  - pymdownx.magiclink
  - pymdownx.tilde
  - toc:
      permalink: true
      separator: _
      slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}
"""
OWN_PAGES = {
    "snippets": '## Before\n\n--8<-- "part.md"\n\n## After\n\n--8<-- "lines.md:2:3"\n\n'
    '--8<-- "lines.md:cut"\n\n-8<-\nlines.md:5:5\n-8<-\n\n;--8<-- "part.md"\n\n--8<-- "gone.md"\n\n'
    '    --8<-- "part.md"\n\n## Last',
    "emoji": "## :smile: Happy\n\n## :material-home: Home\n\n## :nothing: here\n\n## HTML",
    "inline": "## `#!python x = 1` in code\n\n## ++ctrl+c++ keys\n\n## ==marked== and ^^this^^\n\n"
    '## $x^2$ sum\n\n## H~2~O x^2^ ~~no~~\n\n## www.x.example #12 @name\n\n## -- dash --- "q" ...',
    "blocks": "/// tab | Linux\n## In a tab\n///\n\n/// tab | Mac\n\n## On Mac\n\n///\n\n"
    "/// note | Title\n## In a note\n///\n\n/// details | More\n    open: true\n\n"
    "### In details\n///\n\n"
    '=== "Linux"\n\n    text\n\n=== "Mac"\n\n    ## Mac\n\n## Linux\n\n- [ ] task\n\n## After',
    "drafts/x": "# Draft",
    "a.secret": "# Secret",
    "templates/x": "# Template",
    "in/templates/x": "# No template",
}
PARTS = {
    "parts/part.md": '## From the part\n\nText [setup](setup.md).\n\n--8<-- "inner.md"\n',
    "parts/inner.md": "### From the inner part\n",
    "parts/lines.md": "# One\n## Two\n## Three\n<!-- --8<-- [start:cut] -->\n## Cut\n"
    "<!-- --8<-- [end:cut] -->\n## Six\n",
    "parts/terms.md": "*[HTML]: Hyper Text\n",
}


@pytest.mark.slow
def test_the_site_of_askdocs_has_every_heading_at_its_address(tmp_path: Path) -> None:
    wiki = _written(tmp_path / "wiki", PAGES)
    for file in DOCS.rglob("*.md"):
        copy = wiki / "own" / file.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    home = Home(tmp_path / "home")
    home.make()
    asyncio.run(site.build(wiki, home, SITE, "http://127.0.0.1:1"))
    read = _pages(Folder.preview(wiki, SITE))
    assert len(read) == len(PAGES) - 1 + len(list(DOCS.rglob("*.md")))
    _compare(read, home.site)


@pytest.mark.slow
def test_a_site_with_settings_of_its_own_has_every_heading_at_its_address(tmp_path: Path) -> None:
    _written(tmp_path / "wiki", {**PAGES, **OWN_PAGES})
    for name, text in PARTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    _build(tmp_path / "mkdocs.yml", OWN_SETTINGS)
    read = _pages(Folder(tmp_path, ""))
    assert {page.path for page in read} >= {"in/templates/x.md", "snippets.md"}
    assert not {"drafts/x.md", "a.secret.md", "templates/x.md"} & {page.path for page in read}
    _compare(read, tmp_path / "site")
    (snippets,) = (page for page in read if page.path == "snippets.md")
    # Only the code of the indented snippet keeps its headings to itself.
    assert [section.heading for section in snippets.sections] == [
        *("Before", "From the part", "From the inner part"),
        *("After", "Two", "Three", "Cut", "Cut", "Last"),
    ]


def _compare(pages: list[Page], built: Path) -> None:
    for page in pages:
        where = unquote(urlsplit(page.url).path).lstrip("/")
        file = built / where
        file = file / "index.html" if where in ("", ".") or where.endswith("/") else file
        assert file.is_file(), page.url
        anchors = [(s.anchor, s.heading) for s in page.sections if s.heading or s.anchor]
        expected = Built(file.read_text(encoding="utf-8")).headings
        assert [anchor for anchor, _ in anchors] == [
            anchor for anchor, text in expected if text != "Raw"
        ], page.path
        if page.path not in ("emoji.md", "private.md", "marks.md", "footnotes.md"):
            assert anchors == [(a, text) for a, text in expected if text != "Raw"], page.path


def _pages(folder: Folder) -> list[Page]:
    return [one.page for one in folder.read({}) if isinstance(one, Changed)]


def _written(wiki: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        file = wiki / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return wiki


def _build(config: Path, settings: str) -> None:
    config.write_text(settings)
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", config],
        check=True,
        cwd=config.parent,
        stderr=subprocess.DEVNULL,  # it warns of links to pictures that were not copied
    )


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("", "# A", "## A", "##A", "text", "A\n---", "A\n===", "    ## A", "> ## A"),
                *(
                    "- item",
                    "1. item",
                    "```",
                    "~~~",
                    "***",
                    "---",
                    "===",
                    "<div>",
                    "</div>",
                    "{#a}",
                ),
                *('!!! note "T"', "    text", "    ## B {#b}", "??? tip", '=== "T"', "<!--", "-->"),
                *("[^1]: note", "a[^1]", "*[A]: B", "| a | b |", "|---|---|", "Term", ":   ## D"),
                *("## `a` *b* [c](d)", "## A ##", "<div markdown>", "#", "## ", "- ## A", "\\## A"),
            ]
        ),
        st.text(alphabet="#ab `*_-=~>{}[]()<&;:!\\\t.1é\u2028", max_size=12),
    ),
    max_size=14,
)


CONFIG = mkdocs_config.default(Path())
RENDERER = Renderer(CONFIG.extensions, CONFIG.options)


@pytest.mark.slow
@given(LINES)
@settings(max_examples=200)
def test_marks_and_bare_text_change_no_anchor(lines: list[str]) -> None:
    text = "\n".join(lines)
    lines = text.split("\n")
    html = Markdown(extensions=CONFIG.extensions, extension_configs=CONFIG.options).convert(text)
    expected = Built(f"<article>{html}</article>").headings
    found = RENDERER.headings(lines)
    ours = Counter(heading.anchor for heading in found)
    theirs = Counter(anchor for anchor, _ in expected)
    assert not ours - theirs
    # A fence, a box or a tag that is underlined is not seen as the heading it then is.
    odd = any(set(b.strip()) in ({"-"}, {"="}) and not a[:1].isalnum() for a, b in pairwise(lines))
    assert odd or not theirs - ours
    assert all(0 <= heading.line < len(lines) for heading in found)
