"""Citations in the text: numbered as the answer cites them, however its text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.renumbered import Place, Renumbered
from wiki.pages.page import Page, Section

PLACES: dict[int, Place] = {
    number: (Page(f"{number}.md", f"Page\n{number}", f"http://wiki/{number}/", ()), section)
    for number in range(1, 30)
    for section in [Section("Part", "part", (f"Page\n{number}", "Part"), "## Part\n\nText.")]
}


def renumbered(*pieces: str) -> tuple[str, Renumbered]:
    state = Renumbered(PLACES)
    text = "".join(map(state.feed, pieces)) + state.rest()
    return text, state


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("One [14][2]. Two [14].", "One [1][2]. Two [1]."),
        ("[99], [x], [5](http://a/), `a[7]`", "[99], [x], [5](http://a/), `a[7]`"),
        ("```\na[3]\n```\nIt is [3]", "```\na[3]\n```\nIt is [1]"),
        ("An open ` ends with its line\n[8] [", "An open ` ends with its line\n[1] ["),
    ],
)
def test_citations_are_numbered_in_their_order(text: str, shown: str) -> None:
    assert renumbered(text)[0] == shown
    assert renumbered(*text)[0] == shown


@given(st.lists(st.sampled_from(["[", "1", "2]", "`", "``", "\n", "](", "a", "[14]"])))
def test_the_pieces_of_a_stream_do_not_matter(pieces: list[str]) -> None:
    assert renumbered(*pieces)[0] == renumbered("".join(pieces))[0]


def test_the_cited_sections_are_listed_once_with_their_address() -> None:
    _, state = renumbered("One [14][2]. Two [14].")
    assert state.listed([]) == (
        "\n\nSources:\n- [1] Page 14 › Part: http://wiki/14/#part"
        "\n- [2] Page 2 › Part: http://wiki/2/#part"
    )
    _, none = renumbered("No number.")
    assert none.listed([]) == ""
    assert none.listed([PLACES[3]]) == "\n\nSources:\n- Page 3 › Part: http://wiki/3/#part"
