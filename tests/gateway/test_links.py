"""Links of a page, made to work from anywhere."""

import pytest

from gateway.answering.grounding.links import absolute
from tests.gateway.conftest import SITE
from wiki.pages.page import Page

PAGE = Page("guide/a.md", "A", f"{SITE}guide/a/", ())


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("../b/", "guide/b/"),
        ("../b/#x", "guide/b/#x"),
        ("../../c/?q=1#x", "c/?q=1#x"),
        ("../..", ""),
        ("./", "guide/a/"),
        ("../my%20page/", "guide/my%20page/"),
        ("#x", "guide/a/#x"),
        ("/files/x.pdf", "files/x.pdf"),
    ],
)
def test_a_link_is_relative_to_the_pages_address(target: str, result: str) -> None:
    assert absolute(f"See [it]({target}).", PAGE) == f"See [it]({SITE}{result})."


@pytest.mark.parametrize(
    "target",
    ["https://x.example/b.md", "mailto:a@b.example", "tel:+49", "HTTP://x.example", "http://["],
)
def test_an_absolute_link_stays(target: str) -> None:
    assert absolute(f"[it]({target})", PAGE) == f"[it]({target})"


def test_a_link_that_leaves_the_protocol_open_gets_the_pages() -> None:
    assert absolute("[it](//x.example/)", PAGE) == "[it](https://x.example/)"


def test_pictures_titles_and_brackets_stay_around_the_target() -> None:
    assert absolute('![p](i.png "Title") [b](<../b/>)', PAGE) == (
        f'![p]({SITE}guide/a/i.png "Title") [b](<{SITE}guide/b/>)'
    )


def test_definitions_and_html_are_links_too() -> None:
    text = '[b][ref] <a class="x" href="../b/">b</a> <img src=\'i.png\'>\n\n[ref]: ../b/ "Title"'
    assert absolute(text, PAGE) == (
        f'[b][ref] <a class="x" href="{SITE}guide/b/">b</a> <img src=\'{SITE}guide/a/i.png\'>\n\n'
        f'[ref]: {SITE}guide/b/ "Title"'
    )


@pytest.mark.parametrize(
    "code",
    [
        "`[b](b)`",
        "``a ` [b](b)``",
        "```md\n[b](b)\n```",
        "~~~\n[b](b)\n```\n[c](c)\n~~~",
        "- item\n\n  ```\n  [b](b)\n  ```",
        "text\n\n    [b](b)\n\n    [c]: d",
        "<!-- [b](b) -->",
        "````\n```\n[b](b)\n````",
    ],
)
def test_code_and_comments_are_untouched(code: str) -> None:
    assert absolute(code, PAGE) == code
    around = f"[x](x)\n\n{code}\n\n[y](y)"
    assert absolute(around, PAGE) == (f"[x]({SITE}guide/a/x)\n\n{code}\n\n[y]({SITE}guide/a/y)")


@pytest.mark.parametrize(
    "text",
    [
        "- item\n\n    [b](b)",
        "1. item\n\n    [b](b)",
        '!!! note "N"\n\n    [b](b)',
        '=== "Tab"\n\n    [b](b)',
        "a paragraph\n    [b](b)",
    ],
)
def test_indented_text_that_belongs_to_a_block_is_no_code(text: str) -> None:
    assert absolute(text, PAGE) == text.replace("(b)", f"({SITE}guide/a/b)")


def test_a_site_below_a_path_keeps_it() -> None:
    page = Page("guide/a.md", "A", "https://x.example/wiki/guide/a/", ())
    assert absolute("[b](../b/)", page) == "[b](https://x.example/wiki/guide/b/)"


@pytest.mark.parametrize(
    "text",
    ["a (b) [c] ![]() f(x)[0]", "\\[a\\](b)", "a ` b [c] d", "x\x0c[c]", "", "<a href>", "[^1]: b"],
)
def test_text_without_links_is_untouched(text: str) -> None:
    assert absolute(text, PAGE) == text


def test_no_line_is_added_or_lost() -> None:
    text = "[a](b)\r\n\n\x0c[c](<d e>)\u2028[f](g (h) i.md)\n"
    assert [line.split("](")[0] for line in absolute(text, PAGE).splitlines()] == [
        line.split("](")[0] for line in text.splitlines()
    ]
