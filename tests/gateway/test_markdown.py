"""Pages: titles, sections, and the anchors and addresses that MkDocs gives them."""

import html
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from askdocs import site
from askdocs.home import Home
from gateway.sources import folder
from gateway.sources.markdown import page_url
from tests.gateway.conftest import SITE, page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

# Headings whose anchors are not the obvious ones. Each entry is a page of its own.
NASTY = {
    "plain": "# Title\n\nText.\n\n## First\n\n### Deep\n\n## Second\n\n#### Skipped levels",
    "twice": "## Setup\n\n## Setup\n\n## Setup_1\n\n## Setup",
    "code": "## The `--docs` option\n\n## GET `/users/{id}`\n\n## ``a`b`` twice",
    "attributes": "## A {#own}\n\n## B {: #other .c }\n\n## C {.c}\n\n## D {#one #two}\n\n"
    "## E {#v1.2:x}\n\n## F{#glued}\n\n## G {{ var }}\n\n## H {}\n\n## I {#Ünï}",
    "named-later": "## Setup\n\n## Other {#setup}\n\n## Setup",
    "setext": "Top\n===\n\ntext\n\nBelow\n---\n\nmore\n\n---\n\nTwo lines\nof text\n---",
    "fences": "```\n# no\n```\n\n~~~md\n## no\n~~~\n\n    # no\n\n## yes\n\n````\n```\n# no\n````",
    "comment": "<!--\n## no\n-->\n\n## yes",
    "nested": "> ## Setup\n\n- ## Setup\n\n## Setup",
    "indented": "text\n\n   ## text as well\n\n## Heading",
    "marks": "## A & B &amp; C\n\n## <b>bold</b> *it* __strong__ snake_case\n\n## a\\_b \\# c\n\n"
    "## [Link](http://x.example)\n\n## ![alt](x.png) Picture\n\n## <https://x.example>\n\n"
    "## Trailing ##\n\n## C#\n\n## <kbd>Ctrl</kbd>+C\n\n## What's “new”? --- “50 %”",
    "letters": "## Größe\n\n## 日本語\n\n## 日本\n\n## emoji 🎉 party\n\n## !!!\n\n## ???",
    "lines": "a\u2028b\x0cc\u0085d\n\n## After odd line ends\n\nx",
    "table": "| # a | b |\n|---|---|\n| ## 1 | 2 |\n\n## Table",
    "meta": "---\ntitle: Front\n---\n\n# Heading one",
    "no-heading": "Only text.",
    "guide/index": "# Guide\n\n## In a folder",
    "manual/README": "# Manual",
    "a b/c d": "# Spaces",
    "über/größe": "# Umlaute",
    "100% & more#x": "# Signs",
    "readme": "# Small readme",
    "old.name": "# A dot",
}


def test_every_anchor_and_address_exists_on_the_site_that_mkdocs_builds(tmp_path: Path) -> None:
    wiki = tmp_path / "wiki"
    for name, text in NASTY.items():
        file = wiki / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for file in DOCS.glob("*.md"):
        (wiki / "own").mkdir(exist_ok=True)
        (wiki / "own" / file.name).write_text(file.read_text())
    home = Home(tmp_path / "home")
    home.make()
    config = tmp_path / "mkdocs.yml"
    config.write_text(yaml.safe_dump(site.config(wiki, home, SITE, "http://127.0.0.1:1")))
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", config],
        check=True,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,  # it warns of links to pictures that were not copied
    )

    reading = folder.read(wiki, SITE)
    assert not reading.problems
    assert len(reading.pages) == len(NASTY) + len(list(DOCS.glob("*.md")))
    for read in reading.pages:
        where = unquote(urlsplit(read.url).path).lstrip("/")
        assert where == "" or where.endswith("/")
        built = home.site / where / "index.html"
        assert built.is_file(), read.url
        made = re.findall(r'<h[1-6][^>]* id="([^"]*)"', built.read_text(encoding="utf-8"))
        anchors = [section.anchor for section in read.sections if section.heading]
        assert anchors == [html.unescape(a) for a in made if html.unescape(a) in anchors], read.path


@pytest.mark.parametrize("name", [n for n in NASTY if n != "nested"])
def test_headings_outside_quotes_and_lists_all_begin_a_section(name: str) -> None:
    read = page("p.md", NASTY[name])
    assert len({s.anchor for s in read.sections}) == len(read.sections)


def test_the_title_is_the_front_matters_then_the_first_h1_then_the_files_name() -> None:
    assert page("a.md", "---\ntitle: Front\n---\n# Heading").title == "Front"
    assert page("a.md", "text\n\n## Two\n\n# The one\n\n# Another").title == "The one"
    assert page("how-to_start.md", "## Only two").title == "How to start"
    assert page("guide/index.md", "text").title == "Guide"
    assert page("guide/README.md", "text").title == "Guide"
    assert page("index.md", "text").title == "Home"


@pytest.mark.parametrize("front", ["title: [a, b]", "title: 5", "title: ''", "title: ' '", ": : {"])
def test_a_title_that_is_no_text_is_passed_over(front: str) -> None:
    assert page("a.md", f"---\n{front}\n---\n# Heading").title == "Heading"


def test_front_matter_is_not_part_of_the_text() -> None:
    assert page("a.md", "---\ntitle: T\nsecret: x\n---\n\nHello").text == "Hello"


def test_a_section_reaches_from_its_heading_to_the_next_of_any_level() -> None:
    read = page("a.md", "above\n\n# T\n\nintro\n\n## A\n\na\n\n### A1\n\na1\n\n## B\n\nb")
    assert [(s.heading, s.path, s.body) for s in read.sections] == [
        ("", (), "above"),
        ("T", (), "intro"),
        ("A", ("A",), "a"),
        ("A1", ("A", "A1"), "a1"),
        ("B", ("B",), "b"),
    ]


def test_no_text_is_lost_between_sections() -> None:
    for name, text in NASTY.items():
        if name != "meta":
            assert page("a.md", text).text.split() == text.split(), name


def test_a_setext_headings_underline_is_not_body() -> None:
    read = page("a.md", "Top\n===\n\nintro\n\nBelow\n---\nmore")
    assert [(s.heading, s.body) for s in read.sections] == [("Top", "intro"), ("Below", "more")]


def test_a_rule_under_a_hash_heading_is_taken_for_its_underline_and_nothing_else() -> None:
    assert page("a.md", "## A\n---\ntext").sections[0].body == "text"


def test_a_nul_is_replaced_as_markdown_has_it() -> None:
    assert page("a.md", "# A\0\n\nb\0").text == "# A\ufffd\n\nb\ufffd"


@pytest.mark.parametrize("text", ["", " \n\n\t\n", "---\ntitle: T\n---\n"])
def test_an_empty_page_has_no_sections(text: str) -> None:
    assert page("a.md", text).sections == ()


def test_a_section_without_heading_is_cited_by_the_pages_address() -> None:
    read = page("a.md", "text\n\n## H")
    assert [read.section_url(s) for s in read.sections] == [f"{SITE}a/", f"{SITE}a/#h"]


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("index.md", ""),
        ("README.md", ""),
        ("a.md", "a/"),
        ("a/index.md", "a/"),
        ("a/README.md", "a/"),
        ("a/b/c.markdown", "a/b/c/"),
        ("a b/c d.md", "a%20b/c%20d/"),
        ("größe.md", "gr%C3%B6%C3%9Fe/"),
        ("a#b?c.md", "a%23b%3Fc/"),
    ],
)
def test_addresses_are_mkdocs_own(path: str, url: str) -> None:
    assert page_url(path, "https://wiki.example.com") == f"https://wiki.example.com/{url}"
    assert page_url(path, "https://x.example/wiki") == f"https://x.example/wiki/{url}"
    assert page_url(path, "https://x.example/wiki/") == f"https://x.example/wiki/{url}"
