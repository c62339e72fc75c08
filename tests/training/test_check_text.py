"""Texts as a model shall learn them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.data.check.text import clean, has_markup, problems

PIECES = (
    *("<p>", "</p>", "<b>", "</b>", "<br>", "<pre>", "</pre>", "<code>", "</code>", "<name>"),
    *("<a href='x'>", "</a>", "&lt;", "&amp;", "&amp;lt;", "&#60;", "<!-- c -->", "<", "x>"),
    *("`", "```\n", "\n", "\n\n", " ", "  ", "\t", "\r\n", "a", "b_c", "*", "\\", "#", "- "),
    *("é", "e\u0301", "\x07", "\u200b", "\ufdd0", "1. ", "| a | b |\n|---|---|\n"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("</b>```\n```\n<p>&lt;")
@example("x>1. </a>```\n```\n</code>&amp;lt;")
def test_a_cleaned_text_has_nothing_left_to_clean(text: str) -> None:
    cleaned = clean(text)
    assert list(problems(cleaned)) == []
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "rule", "cleaned"),
    [
        ("Press\x07 it", "control", "Press it"),
        ("cafe\u0301", "nfc", "café"),
        (" Press it \r\nnow ", "white-space", "Press it\nnow"),
        ("<p>Press <b>it</b></p><p>now</p>", "html", "Press **it**\n\nnow"),
        (
            "See <a href='http://x.y/?a=1&amp;b=2'>here</a>",
            "html",
            "See [here](http://x.y/?a=1&b=2)",
        ),
    ],
)
def test_each_rule_finds_and_mends_what_it_is_for(text: str, rule: str, cleaned: str) -> None:
    assert rule in problems(text)
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "Write `<b>` in HTML.",
        "```html\n<p>x</p>\n```",
        "Run `askdocs up --home <dir>` or use <name>.",
        "Is 3 < 4 and 5 > 2?",
        r"A tag, \<b>, as text",
        "A line  \nbroken in Markdown",
    ],
)
def test_markdown_stays_as_it_is(text: str) -> None:
    assert not has_markup(text)
    assert clean(text) == text


def test_a_tag_that_html_shows_as_text_is_still_shown() -> None:
    assert clean("<p>Type &lt;b&gt; there</p>") == r"Type \<b> there"
    assert clean("<p>Type <code>&lt;b&gt;</code></p>") == "Type `<b>`"


def test_markup_within_markdown_leaves_the_markdown_around_it() -> None:
    assert clean("# Steps\n\n- one<br>two\n- `<b>`") == "# Steps\n\n- one  \n  two\n- `<b>`"
