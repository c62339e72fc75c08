"""What of a page stands in front of a question."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.answering.grounding.excerpt import Excerpt, chosen_sections, spoken
from gateway.answering.grounding.ground import pack
from tests.gateway.conftest import page
from wiki.index.passages import passages
from wiki.index.quotation import GAP
from wiki.pages.page import Page
from wiki.search.hits import Hit, PassageHit

PAGE = page(
    "a.md",
    "# Manual\n\nAbout everything.\n\n## Fruit\n\nGrows.\n\n### Apples\n\nRed and round apples.\n\n"
    "### Pears\n\nYellow pears.\n\n## Tools\n\nMade.\n\n### Hammers\n\nHeavy hammers hit.",
)
OPTIONS = page(
    "o.md",
    "## Options\n\n"
    + "\n\n".join(f"**`--option-{n}`**\n\nDoes the thing of number {n}." for n in range(9)),
)


def sizes(read: Page) -> list[int]:
    """A token for each four characters."""
    return [len(section.text + "\n\n") // 4 + 1 for section in read.sections]


def take(budget: int, *wanted: tuple[Page, Sequence[int]]) -> list[Excerpt]:
    """Pages, the passages of each in the order of their scores; the first page is the best."""
    hits = []
    for place, (read, order) in enumerate(wanted):
        cut = passages(read)
        rest = [n for n in range(len(cut)) if n not in order]
        found = tuple(
            PassageHit(read, cut[n], 2.0 - place / 100 - rank, 1.0, None)
            for rank, n in enumerate([*order, *rest])
        )
        hits.append(Hit(read, 2.0 - place / 100, found))
    return pack(hits, [sizes(hit.page) for hit in hits], budget)


def headings(part: Excerpt) -> list[str]:
    return [section.heading for section in part.sections]


def test_a_page_that_fits_stands_whole() -> None:
    (part,) = take(1000, (PAGE, [5]))
    assert part.is_whole
    assert part.text == PAGE.text
    assert part.tokens == sum(sizes(PAGE))


def test_the_best_passages_are_chosen_and_stand_in_page_order() -> None:
    (part,) = take(sum(sizes(PAGE)[2:4]) + 14, (PAGE, [3, 2]))
    assert headings(part) == ["Apples", "Pears"]
    assert part.text.startswith("(Fruit)\n\n### Apples")


def test_a_part_of_a_section_has_its_heading_and_says_what_is_left_out() -> None:
    (section,) = chosen_sections(OPTIONS, {2, 3, 7})
    assert section.heading == "Options"
    assert section.text == (
        f"## Options\n\n{GAP}\n\n**`--option-2`**\n\nDoes the thing of number 2.\n\n"
        f"**`--option-3`**\n\nDoes the thing of number 3.\n\n{GAP}\n\n"
        f"**`--option-7`**\n\nDoes the thing of number 7.\n\n{GAP}"
    )
    assert GAP not in spoken(section).split("\n\n")[0]
    assert not spoken(section).endswith(GAP)


def test_a_later_part_of_a_definition_has_its_term() -> None:
    text = "\n\n".join(" ".join(f"w{n}" for n in range(90)) for _ in range(3))
    read = page("a.md", f"# T\n\n**port**\n\n{text}")
    (section,) = chosen_sections(read, {1})
    assert section.text.startswith(f"# T\n\n{GAP}\n\n**port**\n\nw0 ")


def test_all_passages_of_a_section_are_the_section() -> None:
    assert chosen_sections(OPTIONS, set(range(9))) == OPTIONS.sections
    assert chosen_sections(PAGE, {2}) == (PAGE.sections[2],)


def test_pages_share_the_budget_by_their_best_passages() -> None:
    one, other = take(60, (OPTIONS, [4]), (PAGE, [2]))
    assert "--option-4" in one.text
    assert "Red and round" in other.text
    assert one.tokens + other.tokens <= 60


def test_what_is_left_fills_up_the_sections_and_pages_that_answer() -> None:
    (first,) = take(sum(sizes(PAGE)), (PAGE, [2]))
    assert first.is_whole
    both = take(sum(sizes(OPTIONS)) + sum(sizes(PAGE)) - 5, (OPTIONS, [4]), (PAGE, [2]))
    assert [part.is_whole for part in both].count(True) == 1


def test_the_best_passage_stands_there_even_where_it_is_too_long() -> None:
    (part,) = take(3, (PAGE, [5]))
    assert headings(part) == ["Hammers"]


@settings(max_examples=60)
@given(
    chosen=st.sets(st.integers(0, 8), min_size=1),
    order=st.permutations(range(9)),
    budget=st.integers(40, 300),
)
def test_an_excerpt_is_of_the_page_and_within_the_budget(
    chosen: set[int], order: list[int], budget: int
) -> None:
    text = "\n\n".join(section.text for section in chosen_sections(OPTIONS, chosen))
    kept = [block for block in text.split("\n\n") if block != GAP]
    assert all(block in OPTIONS.text for block in kept)
    assert all(f"number {n}." in text for n in chosen)
    (part,) = take(budget, (OPTIONS, order))
    assert part.tokens <= budget
    assert len(part.text) / 4 <= budget + 5
