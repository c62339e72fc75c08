"""Pages: titles, sections, and the anchors and addresses that MkDocs gives them."""

import pytest

from tests.gateway.conftest import SITE, page
from tests.sources.nasty import INFOS, PAGES
from wiki.sources.mkdocs import page_url


@pytest.mark.parametrize("name", [n for n in PAGES if n != "nested"])
def test_no_two_sections_of_a_page_have_one_anchor(name: str) -> None:
    read = page("p.md", PAGES[name])
    assert len({s.anchor for s in read.sections}) == len(read.sections)


def test_the_title_is_the_front_matters_then_that_of_the_h1_at_the_top() -> None:
    assert page("a.md", "---\ntitle: Front\n---\n# Heading").title == "Front"
    assert page("a.md", "# The one\n\ntext\n\n# Another").title == "The one"


@pytest.mark.parametrize(
    "above",
    [
        "<!-- markdownlint-disable MD041\nMD013 -->\n",
        "[![Build](https://x.example/b.svg)](https://x.example/ci)\n![Done](d.svg)\n\n",
        "[![Build][b]][ci] [All pages](index.md)\n\n[b]: b.svg\n[ci]: https://x.example/ci\n\n",
        '<p align="center">\n  <img src="logo.svg" alt="Logo">\n</p>\n\n',
        '<h1 align="center">Fruit</h1>\n\n',
        "import Tabs from '@theme/Tabs';\nimport Item from '@theme/TabItem';\n\n",
        "[TOC]\n\n---\n\n",
    ],
)
def test_above_the_title_may_stand_what_is_no_text(above: str) -> None:
    assert page("a.md", f"{above}# Pears\n\ntext").title == "Pears"


@pytest.mark.parametrize(
    "text",
    [
        "text\n\n# Below text",
        "## Two\n\n# Below a heading",
        "## Two\n\nSee\n[#945](https://x.example/945),\n#946](https://x.example/946) and more",
        "> # Quoted",
    ],
)
def test_an_h1_further_down_is_no_title(text: str) -> None:
    assert page("how-to_start.md", text).title == "How to start"


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("how-to_start.md", "How to start"),
        ("LTS.md", "LTS"),
        ("Type-Providers.md", "Type Providers"),
        ("TypeScript.md", "TypeScript"),
        *(("guide/index.md", "Guide"), ("guide/README.md", "Guide"), ("API/Index.md", "API")),
        *(("index.md", "Home"), ("INDEX.md", "Home")),
    ],
)
def test_without_a_title_a_page_is_called_by_its_file_or_folder(path: str, title: str) -> None:
    assert page(path, "text").title == title


@pytest.mark.parametrize(
    "front", ["title: [a, b]", "title: 5", "title: ''", "title: ' '", "title: a: b"]
)
def test_a_title_that_is_no_text_is_passed_over(front: str) -> None:
    assert page("a.md", f"---\n{front}\n---\n# Heading").title == "Heading"


def test_comments_in_code_are_no_headings_whatever_its_fence_says() -> None:
    headings = [section.heading for section in page("a.md", PAGES["infos"]).sections]
    assert headings == ["", "Code in a line", *(f"Yes {n}" for n in range(len(INFOS))), "Last"]


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
    for name, text in PAGES.items():
        # Front matter is no text, and references are written out.
        if name not in ("meta", "marks"):
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
