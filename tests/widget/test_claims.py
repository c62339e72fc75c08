"""What the box makes of a checked answer: `streams/*.sse` are what a gateway sends of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.widget.conftest import WIKI, Box
from tests.widget.stand_in import Reply, chunk
from tests.widget.test_app import outcome, text
from widget.service.outcome import Outcome
from widget.text.citing import trail

Start = Callable[..., Box]

STREAMS = Path(__file__).with_name("streams")
START = f"{WIKI}/start/#linux"


def recorded(name: str) -> Reply:
    """A stream as a gateway has sent it."""
    return Reply(chunks=[(STREAMS / f"{name}.sse").read_bytes()])


def test_what_is_not_supported_is_underlined_and_says_why_in_words(box: Start) -> None:
    _, html = outcome(box(recorded("claims")))
    assert re.findall(r'<span class="flaw">(.*?)</span>', html) == [
        "The gateway listens on port 9999.",
        "Press ",
        "Help me",
        ".",
    ]
    assert re.findall(r'<span class="why">(.*?)</span>', html) == [
        "the docs say otherwise: “9999”",
        "not in the docs: “Help me”",
    ]
    assert "Underlined sentences are not supported by the docs." in html
    # What claims nothing is only text.
    assert "<p>Certainly! Run" in html


def test_numbers_are_of_claims_that_are_supported_once_for_sentences_in_a_row(box: Start) -> None:
    _, html = outcome(box(recorded("claims")))
    cited = re.sub(r'<sup class="cite">.*?</sup>', "[1]", html)
    assert "</code> in the folder. It takes <strong>two minutes</strong> on two cores.[1]" in cited
    assert "Open the wiki.[1]</li>" in cited
    assert cited.count("[1]") == 2


def test_an_answer_of_which_nothing_is_supported_is_a_refusal_with_the_best_pages(
    box: Start,
) -> None:
    _, html = outcome(box(recorded("claims_none_supported")))
    assert "Not in the docs" in html
    assert "Windows 98" not in text(html)
    assert f'<a href="{WIKI}/ports/"' in html
    assert "Answered by" not in html  # no model stands for it
    assert "name the feature, the page or the exact error message" in html
    assert 'data-edit="How do I start?"' in html


def test_a_quotation_is_shown_once_with_its_link(box: Start) -> None:
    _, html = outcome(box(recorded("extractive")))
    assert html.count("two minutes on two cores") == 1
    assert html.count("<figure") == 2
    assert 'class="source"' not in html
    assert f'<a href="{START}:~:text=' in html.replace("&amp;", "&")
    assert "Getting started › Linux" in html
    assert text(html).count("Getting started") == 1
    assert "|" not in text(html)  # rows without their head are a table all the same
    assert "Answered by" not in html
    assert "Quoted from the docs" in html
    # The caution is a badge before the answer, and not a part of it.
    assert html.index("This may not answer your question") < html.index("<figure")
    assert "I am not sure" not in html


def test_passages_that_come_as_quotations_are_no_quotations_of_quotations(box: Start) -> None:
    """`gateway.answering.extract` marks them so for clients that read only text."""
    quote = "Run `make run`.\n\n- It takes *two* minutes."
    content = f"> Run `make run`.\n>\n> - It takes *two* minutes.\n\n[Start › Linux]({START})"
    source = {"title": "Start", "section": "Linux", "url": START, "quote": quote}
    citation = {"url": START, "start_index": 0, "end_index": len(content)}
    facts = {"mode": "extractive", "model": "docs", "sources": [source], "pages": []}
    note = {"type": "url_citation", "url_citation": citation}
    last = chunk(None, finish_reason="stop", askdocs=facts, annotations=[note])
    _, html = outcome(box(Reply(chunks=[chunk(content), last, b"data: [DONE]\n\n"])))
    assert html.count("<blockquote") == 1
    assert html.count("Start › Linux") == 1
    assert "<li>It takes <em>two</em> minutes.</li>" in html


def test_passages_of_one_section_are_all_quoted_once(box: Start) -> None:
    """Tabs of a section have its address."""
    quotes = ["**Linux**\n\n`apt install it`", "**macOS**\n\n`brew install it`"]
    parts = ["> " + quote.replace("\n", "\n> ") + f"\n\n[Start]({START})" for quote in quotes]
    content = "\n\n".join(parts)
    sources = [{"title": "Start", "url": START, "quote": quote} for quote in quotes]
    ends = [len(parts[0]), len(content)]
    notes = [{"url": START, "start_index": 0, "end_index": end} for end in ends]
    last = chunk(
        None,
        finish_reason="stop",
        askdocs={"mode": "extractive", "model": "docs", "sources": sources, "pages": []},
        annotations=[{"type": "url_citation", "url_citation": note} for note in notes],
    )
    _, html = outcome(box(Reply(chunks=[chunk(content), last, b"data: [DONE]\n\n"])))
    assert html.count("<blockquote") == 2
    assert html.count("apt install it") == html.count("brew install it") == 1
    assert 'class="source"' not in html


def test_stored_answers_of_before_are_quotations_too() -> None:
    before = Outcome.model_validate({"answers": "quote", "sources": [{"url": f"{WIKI}/a/"}]})
    assert before.is_quotation
    assert Outcome.model_validate(before.stored()).is_quotation


@pytest.mark.parametrize(
    "claim",
    [
        {"verdict": "of a later release", "start": 0, "end": 3},
        {"verdict": "unsupported", "start": 0, "end": 10_000},
        {"verdict": "unsupported", "start": 3, "end": 3, "reason": None, "source": None},
    ],
)
def test_strange_claims_take_nothing_away(box: Start, claim: dict[str, object]) -> None:
    stream = (STREAMS / "claims.sse").read_text(encoding="utf-8")
    changed = re.sub(r'"claims": \[\{.*?\}', f'"claims": [{json.dumps(claim)}', stream)
    _, html = outcome(box(Reply(chunks=[changed.encode()])))
    assert "on two cores." in html


@pytest.mark.parametrize(
    ("title", "section", "shown"),
    [
        ("Start", "Start › Install › Linux", "Start › Install › Linux"),
        ("Start", "Start", "Start"),
        ("Start", "", "Start"),
        ("Start", "`make run` {#run} › make run", "Start › make run"),
        ("", "Linux", "Linux"),
        ("How do I **start**?", "How do I start? ¶", "How do I start?"),
    ],
)
def test_the_way_to_a_section_repeats_nothing(title: str, section: str, shown: str) -> None:
    assert trail(title, section) == shown
