"""What of a page stands in front of a question."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.grounding.excerpt import (
    CUT,
    FOCUS,
    LATER,
    Excerpt,
    beginning,
    excerpt,
    focus,
    pieces,
    spoken,
    whole,
)
from gateway.wiki.page import Page, Section
from gateway.wiki.words import stems
from tests.gateway.conftest import page

PAGE = page(
    "a.md",
    "# Manual\n\nAbout everything.\n\n## Fruit\n\nGrows.\n\n### Apples\n\nRed and round apples.\n\n"
    "### Pears\n\nYellow pears.\n\n## Tools\n\nMade.\n\n### Hammers\n\nHeavy hammers hit.",
)


def lengths(sections: Iterable[Section]) -> list[int]:
    """A token for each four characters."""
    return [len(section.text + "\n\n") // 4 + 1 for section in sections]


def take(read: Page, budget: int, question: str) -> Excerpt:
    if part := whole(read, lengths(read.sections), budget):
        return part
    parts = pieces(read, lengths(read.sections), budget)
    sizes = lengths(part.section for part in parts)
    return excerpt(read, parts, sizes, budget, question, dict.fromkeys(stems(question), 1.0))


def headings(part: Excerpt) -> list[str]:
    return [section.heading for section in part.sections]


def test_a_page_that_fits_stands_whole() -> None:
    part = take(PAGE, 1000, "hammers")
    assert part.is_whole
    assert part.text == PAGE.text
    assert part.tokens == sum(lengths(PAGE.sections))


def test_a_page_that_fits_exactly_is_whole_and_one_token_less_is_not() -> None:
    assert take(PAGE, sum(lengths(PAGE.sections)), "hammers").is_whole
    assert not take(PAGE, sum(lengths(PAGE.sections)) - 1, "hammers").is_whole


def test_the_best_sections_are_chosen_and_stand_in_page_order() -> None:
    best = take(PAGE, 22, "heavy hammers and red apples")
    assert headings(best) == ["Apples", "Hammers"]
    assert best.tokens <= 22


def test_a_section_out_of_its_place_keeps_the_headings_above_it() -> None:
    text = take(PAGE, 22, "heavy hammers and red apples").text
    assert text == (
        "(Fruit)\n\n### Apples\n\nRed and round apples.\n\n"
        "(Tools)\n\n### Hammers\n\nHeavy hammers hit."
    )


def test_headings_that_stand_there_already_are_not_repeated() -> None:
    part = Excerpt(PAGE, tuple(s for s in PAGE.sections if "Fruit" in s.path), 1)
    assert headings(part) == ["Fruit", "Apples", "Pears"]
    assert "(" not in part.text


LONG = page("a.md", "## Long\n\n" + "\n\n".join(f"Paragraph x{n} is here." for n in range(200)))


def test_a_section_larger_than_the_budget_is_cut_between_paragraphs_and_says_so() -> None:
    part = take(LONG, 200, "paragraph")
    section = part.sections[0]
    assert section.text.startswith("## Long\n\nParagraph x0 is here.\n\nParagraph x1")
    assert section.text.endswith(f"is here.\n\n{CUT}")
    assert not part.is_whole
    assert 100 < part.tokens <= 200


def test_of_a_section_that_is_too_long_the_part_that_answers_is_read() -> None:
    part = take(LONG, 200, "what is x150?")
    assert "Paragraph x150 is here." in part.text
    for section in part.sections:
        assert section.text.startswith(f"## Long\n\n{LATER}\n\nParagraph x")
        assert section.anchor == "long"
        assert spoken(section).startswith("Paragraph x")
        assert spoken(section).endswith("is here.")


def test_parts_that_follow_each_other_are_one_again() -> None:
    sections = take(LONG, 400, "which paragraph is x150?").sections
    (section,) = (section for section in sections if "x150 " in section.text)
    assert section.text.count(LATER) == section.text.count(CUT) == 1
    said = [int(text.split()[1][1:]) for text in spoken(section).split("\n\n")]
    assert said == list(range(said[0], said[0] + len(said)))
    assert 150 in said
    assert len(said) > 30


def test_a_paragraph_larger_than_the_budget_is_cut_within() -> None:
    part = take(page("a.md", "word " * 5000), 200, "word")
    assert part.text.startswith("word word")
    assert CUT in part.text
    assert len(part.text) / 4 <= 200


def test_one_huge_page_without_headings_is_read_where_it_answers() -> None:
    text = "\n\n".join(f"Item {n} is about topic{n}. " * 5 for n in range(3000))
    part = take(page("a.md", text), 1000, "what about topic2345?")
    assert "topic2345." in part.text
    assert part.tokens <= 1000


def test_a_whole_section_is_preferred_to_none_however_small_the_budget() -> None:
    assert take(PAGE, 1, "hammers").sections


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=8),
    st.integers(100, 1000),
    st.sampled_from(["apples", "pears", "the", "apples pears zebras"]),
)
def test_an_excerpt_is_never_over_its_budget_and_never_empty(
    sizes: list[int], budget: int, question: str
) -> None:
    words = ("apples", "pears", "plums")
    read = page(
        "a.md",
        "\n\n".join(
            f"## {n}\n\n" + f"{words[n % 3]} more.\n\n" * size for n, size in enumerate(sizes)
        ),
    )
    part = take(read, budget, question)
    assert part.sections
    assert part.tokens <= budget
    assert sum(len(s.text) for s in part.sections) / 4 <= budget
    order = [s.anchor for s in read.sections]
    assert sorted(order.index(s.anchor) for s in part.sections) == [
        order.index(s.anchor) for s in part.sections
    ]


def test_a_question_of_no_content_takes_the_page_from_its_beginning() -> None:
    assert headings(take(PAGE, 16, "what is this?"))[:1] == ["Manual"]


def test_the_focus_is_the_section_that_fits_the_question_best() -> None:
    part = Excerpt(PAGE, PAGE.sections, 1)
    best = focus([part], "which hammers?", {"hammer": 1.0})
    assert best is not None
    assert best.heading == "Hammers"


def test_a_heading_without_text_is_no_focus() -> None:
    read = page("a.md", "# Hammers\n\n## Sub\n\nsomething else")
    best = focus([Excerpt(read, read.sections, 1)], "which hammers?", {"hammer": 1.0})
    assert best is not None
    assert best.heading == "Sub"
    bare = page("a.md", "# Only\n\n## Headings")
    assert focus([Excerpt(bare, bare.sections, 1)], "headings", {"head": 1.0}) is None
    assert focus([], "headings", {"head": 1.0}) is None


def test_the_beginning_leaves_the_heading_out_and_ends_between_paragraphs() -> None:
    long = page("a.md", "## H\n\n" + "\n\n".join(["x" * 100] * 30)).sections[0]
    text = beginning(long)
    assert text.startswith("xxx")
    assert len(text) <= FOCUS
    assert set(text.split("\n\n")) == {"x" * 100}
