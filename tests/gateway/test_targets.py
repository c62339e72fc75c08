"""The targets of links in Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiki.pages.targets import referenced, retarget


@pytest.mark.parametrize(
    ("text", "inline"),
    [
        ("[a][b]\n\n[b]: c", "[a](c)"),
        ("[b][]\n\n[b]: c", "[b](c)"),
        ("[b]\n\n[B]: <c d> 'T'", "[b](<c d> 'T')"),
        ('![a][b] x\n\n[b]: c "T"', '![a](c "T") x'),
        ("[a `x` *y*][b]\n\n[b]: c", "[a `x` *y*](c)"),
        ("[two\nlines][Two  words]\n\n[two words]: c", "[two\nlines](c)"),
        ("[a][b]\n\n[b]: first\n[b]: second", "[a](first)"),
        ("`[a][b]`\n\n    [a][b]\n\n[b]: c", "`[a][b]`\n\n    [a][b]"),
        ("```\n[a][b]\n```\n\n[b]: c", "```\n[a][b]\n```"),
        ("[a](d) [x] [^1] \\[b] [a][gone]\n\n[b]: c", "[a](d) [x] [^1] \\[b] [a][gone]"),
        ("[a][b]\n\n```\n[b]: c\n```", "[a][b]\n\n```\n[b]: c\n```"),
    ],
)
def test_a_reference_is_written_out_where_it_stands(text: str, inline: str) -> None:
    assert referenced(text).startswith(inline)
    assert len(referenced(text).split("\n")) == len(text.split("\n"))


TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["[", "](", ")", "]", "<", ">", "`", "```", "\n", "    ", "\\", "[a]: b", "a"]
        ),
        st.sampled_from(["<a href='x'>", "<!--", "-->", " ", "- ", '"', "![", "#x", "http://y"]),
        st.text(max_size=4),
    ),
    max_size=25,
).map("".join)


@given(TEXT)
def test_what_is_not_changed_stays_to_the_letter(text: str) -> None:
    assert retarget(text, str) == text


@given(TEXT)
def test_no_line_is_added_or_lost_and_nothing_but_targets_changes(text: str) -> None:
    changed = retarget(text, lambda target: target + "¶")
    assert changed.replace("¶", "") == text.replace("¶", "")
    assert referenced(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "piece", ["[", "` ", "```", "](", "](a(", "<!--", "<a ", '<a href="', "[a]: b\n"]
)
def test_long_nonsense_takes_no_long_time(piece: str) -> None:
    text = piece * 20_000
    assert retarget(text, str) == text
    assert len(referenced(text)) >= len(text)
