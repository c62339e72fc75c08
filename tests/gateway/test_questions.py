"""Questions that are mined from headings."""

from gateway.knowledge.sources.markdown import parse
from gateway.knowledge.wiki.questions import mined

LONG = "This is a section that says enough to answer what its heading asks, in some sentences."


def test_headings_that_ask_are_questions_one_of_each_page_first() -> None:
    pages = [
        parse("a.md", f"# A\n\n## How do I a?\n\n{LONG}\n\n## Why a?\n\n{LONG}\n", "/a"),
        parse("b.md", f"# B\n\n## How do I b?\n\n{LONG}\n", "/b"),
        parse("getting-started.md", f"# S\n\n## How do I start?\n\n{LONG}\n", "/s"),
    ]
    assert mined(pages) == ["How do I start?", "How do I a?", "How do I b?", "Why a?"]


def test_a_heading_without_an_answer_or_of_several_pages_asks_for_nothing() -> None:
    text = f"# A\n\n## Why?\n\n{LONG}\n\n## And then?\n\nNothing.\n\n## What is it?\n\n{LONG}\n"
    other = f"# B\n\n## Why?\n\n{LONG}\n"
    assert mined([parse("a.md", text, "/a"), parse("b.md", other, "/b")]) == ["What is it?"]


def test_without_such_headings_pages_are_asked_for_that_say_what_they_are() -> None:
    empty = parse("a.md", "# A\n\nShort.\n", "/a")
    page = parse("coffee.md", f"# The coffee machine\n\n{LONG}\n", "/coffee")
    found = mined([empty, page])
    assert found[:2] == ["What is The coffee machine?", "The coffee machine"]
    assert mined([]) == []
