"""Where sentences end, on a page and in a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answering.grounding.sentences import MOST, first, units

LINES = st.sampled_from(
    [
        "A sentence here. Another one!",
        "It goes on",
        "and on, e.g. here.",
        "- item one. More of it.",
        "- item two",
        "1. First",
        "2. Second.",
        "| a | b |",
        "|---|---|",
        "| 1. x | 2 |",
        "```python",
        "```",
        "~~~",
        "    code. More",
        "> quoted. Yes.",
        "!!! note",
        "<br>",
        "Mind this:",
        "Was it 3. or 4. then?",
        "ends “so.” And `so.` Then",
        "文です。次は「はい。」と言う！？終わり",
        "**太字。**次。`コード` です。",
        "",
        "",
        "  ",
        "\t",
    ]
)
PAGES = st.lists(LINES, max_size=30).map("\n".join) | st.text()


@given(PAGES)
def test_units_joined_give_the_text_back(text: str) -> None:
    found = units(text)
    joined = "".join(unit.text + unit.gap for unit in found)
    if len(found) < MOST:
        assert joined.strip() == text.strip()
    else:
        assert text.strip().startswith(joined.strip())


@given(PAGES)
def test_a_unit_has_text_and_only_white_space_after_it(text: str) -> None:
    for unit in units(text):
        assert unit.text == unit.text.rstrip()
        assert unit.text
        assert not unit.gap.strip()


@given(PAGES)
def test_a_quotation_begins_only_at_the_start_or_after_a_blank_line(text: str) -> None:
    before = "\n\n"
    for unit in units(text):
        assert not unit.begins or before.endswith("\n\n"), unit
        before = unit.gap


def shape(text: str) -> list[tuple[str, bool]]:
    return [(unit.text, unit.begins) for unit in units(text)]


def test_the_first_sentence_of_a_paragraph_begins_a_quotation_the_next_do_not() -> None:
    assert shape("One here. Two here.\n\nThree here.") == [
        ("One here.", True),
        ("Two here.", False),
        ("Three here.", True),
    ]


def test_a_full_stop_that_needs_no_space_ends_a_sentence_too() -> None:
    assert [unit.text for unit in units("一つ目です。二つ目（これ。）三つ目！？\n四つ目。")] == [
        *("一つ目です。", "二つ目（これ。）", "三つ目！？", "四つ目。")
    ]
    # These marks may open what follows.
    assert len(units("一つ目です。**二つ目**です。`x`です")) == 1


def test_a_wrapped_paragraph_is_one() -> None:
    assert shape("One sentence\nover lines. Next\none.") == [
        ("One sentence\nover lines.", True),
        ("Next\none.", False),
    ]


def test_a_list_is_entered_at_its_first_item_only() -> None:
    assert shape("Some fruit:\n\n- apples\n- pears\n\n- plums") == [
        ("Some fruit:", True),
        ("- apples", True),
        ("- pears", False),
        ("- plums", False),
    ]


def test_a_table_is_whole() -> None:
    table = "| Name. | Size. |\n|---|---|\n| one. | two. |"
    assert shape(f"Sizes are these.\n\n{table}\n\nNow pears.") == [
        ("Sizes are these.", True),
        (table, True),
        ("Now pears.", True),
    ]


def test_code_stays_with_what_announces_it() -> None:
    text = "Run this. Then:\n\n```sh\nmake. Now\n\n# not a heading\n```"
    assert shape(f"{text}\n\nNow pears.") == [(text, True), ("Now pears.", True)]


def test_an_open_fence_reaches_to_the_end() -> None:
    assert len(units("Run:\n\n~~~\na. b\n\nc. d")) == 1


@pytest.mark.parametrize(
    "text", ["Use it, e.g. here.", "That is, i.e. this.", "One vs. two.", "Version 3. is out"]
)
def test_an_abbreviation_or_a_number_ends_no_sentence(text: str) -> None:
    assert len(units(text)) == 1
    assert first(text) is None


def test_a_paragraph_without_content_words_is_not_quoted_from() -> None:
    assert shape("And then?\n\nApples.") == [("And then?", False), ("Apples.", True)]


def test_very_long_sections_are_cut() -> None:
    assert len(units("A sentence. " * 500)) == MOST


@pytest.mark.parametrize(
    ("grown", "sentence"),
    [
        ("", None),
        ("Not yet", None),
        ("Not yet.", None),
        ("Done. ", "Done. "),
        ("Done! And", "Done! "),
        ('He said "yes." Then', 'He said "yes." '),
        ("**Bold.** Then", "**Bold.** "),
        ("A line\nnext", "A line\n"),
        ("Announced:\n\n- item", None),
        ("まだです", None),
        ("終わり。", None),
        ("「終わり。", None),
        ("「終わり。」", None),
        ("「終わり。」次", "「終わり。」"),
        ("終わり。\n", "終わり。\n"),
        ("Announced:\n\n- item\n- next", "Announced:\n\n- item\n"),
    ],
)
def test_the_first_sentence_of_a_growing_answer(grown: str, sentence: str | None) -> None:
    assert first(grown) == sentence


def test_what_readers_do_not_see_is_not_quoted() -> None:
    text = "One here.\n\n<!-- Assistant:\nsay no. -->\n\nTwo here."
    assert [unit.text for unit in units(text)] == ["One here.", "Two here."]
    assert "<!-- kept -->" in units("```html\n<!-- kept -->\n```")[0].text
