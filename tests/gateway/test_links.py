"""Links of a page, made to work from anywhere."""

import pytest

from gateway.grounding.links import absolute
from tests.gateway.conftest import SITE, page

PAGE = page("guide/a.md", "# A\n\ntext")


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("b.md", "guide/b/"),
        ("b.md#x", "guide/b/#x"),
        ("./b.md", "guide/b/"),
        ("../c.md#x", "c/#x"),
        ("../index.md", ""),
        ("index.md", "guide/"),
        ("README.md", "guide/"),
        ("sub/d.markdown", "guide/sub/d/"),
        ("my%20page.md", "guide/my%20page/"),
        ("#x", "guide/a/#x"),
        ("/files/x.pdf", "files/x.pdf"),
    ],
)
def test_a_relative_link_becomes_the_address_on_the_site(target: str, result: str) -> None:
    assert absolute(f"See [it]({target}).", PAGE, SITE) == f"See [it]({SITE}{result})."


@pytest.mark.parametrize(
    "target",
    ["https://x.example/b.md", "//x.example/", "mailto:a@b.example", "tel:+49", "HTTP://x.example"],
)
def test_an_absolute_link_stays(target: str) -> None:
    assert absolute(f"[it]({target})", PAGE, SITE) == f"[it]({target})"


def test_pictures_titles_and_brackets_stay_around_the_target() -> None:
    assert absolute('![p](i.png "Title") [b](<b.md>)', PAGE, SITE) == (
        f'![p]({SITE}guide/a/i.png "Title") [b](<{SITE}guide/b/>)'
    )


def test_a_site_below_a_path_keeps_it() -> None:
    assert absolute("[b](b.md)", PAGE, "https://x.example/wiki") == (
        "[b](https://x.example/wiki/guide/b/)"
    )


def test_text_without_links_is_untouched() -> None:
    text = "a (b) [c] ![]() f(x)[0]"
    assert absolute(text, PAGE, SITE) == text
