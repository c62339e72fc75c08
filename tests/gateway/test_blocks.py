"""Where Markdown may be cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiki.pages.blocks import alone, beginning, blocks, parts

CODE = "```sh\nfirst\n\nsecond\n\n# a comment\n```"
LONG = "This is said. " * 40
TABLE = "| a | b |\n|---|---|\n" + "\n".join(f"| row {n} | {n} |" for n in range(30))


def test_paragraphs_are_blocks() -> None:
    assert blocks("\none\nand more\n\n\ntwo\n\n- three\n- four\n") == [
        "one\nand more",
        "two",
        "- three\n- four",
    ]


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_a_blank_line_within_code_is_no_border(fence: str) -> None:
    code = f"{fence}sh\nfirst\n\nsecond\n{fence}"
    assert blocks(f"Before.\n\n{code}\n\nAfter.") == ["Before.", code, "After."]


def test_a_longer_fence_is_not_closed_by_a_shorter_one() -> None:
    code = "````md\n```\n\nx\n```\n\ny\n````"
    assert blocks(f"{code}\n\nAfter.") == [code, "After."]


def test_code_in_a_list_is_whole() -> None:
    text = "1. Do this:\n\n    ```\n    a\n\n    b\n    ```\n\n2. Then that."
    assert blocks(text)[0].endswith("b\n    ```")


def test_code_that_is_never_closed_goes_on_to_the_end() -> None:
    assert blocks("a\n\n```\nb\n\nc") == ["a", "```\nb\n\nc"]


def test_what_is_announced_belongs_to_its_announcement() -> None:
    assert blocks(f"Type this:\n\n{CODE}\n\nAfter.") == [f"Type this:\n\n{CODE}", "After."]


def test_the_beginning_ends_between_blocks() -> None:
    assert beginning(f"One.\n\n{CODE}\n\nTwo.", 40) == "One."
    assert beginning(f"One.\n\n{CODE}\n\nTwo.", 60) == f"One.\n\n{CODE}\n\nTwo."
    assert beginning("", 10) == ""
    assert beginning("longlonglonglong", 10) == "longlonglo"


def test_a_long_code_block_is_cut_between_lines_and_closed_and_opened_again() -> None:
    lines = [f"line {n}" for n in range(100)]
    found = parts("Type this:\n\n```py\n" + "\n".join(lines) + "\n```", 100)
    assert found[0] == "Type this:"
    for part in found[1:]:
        assert part.startswith("```py\nline ")
    assert all(part.count("```") == 2 and part.endswith("\n```") for part in found[1:])
    assert [line for part in found for line in part.split("\n") if line in lines] == lines


def test_long_code_below_text_and_within_a_list_is_closed_and_opened_again() -> None:
    lines = "\n".join(f"line {n}" for n in range(20))
    named = parts(f"**a.js**\n```js\n{lines}\n```\nThat is all.", 100)
    assert named == [
        "**a.js**",
        f"```js\n{lines[:85]}\n```",
        f"```js\n{lines[86:]}\n```\n\nThat is all.",
    ]
    assert parts("1. Run:\n\n   ```sh\n" + "   do it\n" * 5 + "   ```", 50) == [
        "1. Run:",
        "   ```sh\n   do it\n   do it\n   do it\n   ```",
        "   ```sh\n   do it\n   do it\n   ```",
    ]


def test_a_long_table_has_its_head_again() -> None:
    found = parts(TABLE, 120)
    assert len(found) > 3
    assert all(part.startswith("| a | b |\n|---|---|\n| row ") for part in found)
    assert "\n".join(part.split("\n", 2)[2] for part in found) == TABLE.split("\n", 2)[2]


def test_only_a_line_that_alone_is_too_long_is_cut_within() -> None:
    assert parts("x" * 250, 100) == ["x" * 100, "x" * 100, "x" * 50]


def test_a_wrapped_paragraph_is_cut_behind_a_sentence_too() -> None:
    text = (
        "The first sentence is wrapped by\nhand and ends here. The second one goes on over\nthe end"
        " of its line. A third one is\nhere as well."
    )
    assert parts(text, 60) == [
        "The first sentence is wrapped by\nhand and ends here.",
        "The second one goes on over\nthe end of its line.",
        "A third one is\nhere as well.",
    ]


def test_items_and_broken_lines_are_still_cut_between() -> None:
    items = [f"- This is item {number} of\n  a long list" for number in range(4)]
    assert parts("\n".join(items), 70) == ["\n".join(items[:2]), "\n".join(items[2:])]
    broken = [f"Street {number} in the city  " for number in range(4)]
    assert parts("\n".join(broken), 60) == ["\n".join(broken[:2]), "\n".join(broken[2:]).rstrip()]


def test_a_long_paragraph_is_cut_behind_a_sentence_and_a_long_sentence_behind_a_word() -> None:
    sentences = [f"Step {n} takes a while, and is noted down." for n in range(9)]
    assert parts(" ".join(sentences), 100) == [
        " ".join(sentences[n : n + 2]) for n in range(0, 9, 2)
    ]
    words = [f"word{n}" for n in range(100, 200)]
    found = parts(" ".join(words), 60)
    assert all(len(part) <= 60 for part in found)
    assert " ".join(found).split() == words
    assert parts("終わりです。" * 20, 40) == ["終わりです。" * 6] * 3 + ["終わりです。" * 2]


@given(
    st.lists(
        st.sampled_from(
            ["word " * 9, LONG, CODE, TABLE, "Announced:", "```", "short", "- item", ""]
        ),
        max_size=8,
    ),
    st.integers(60, 400),
)
def test_no_part_is_too_long_and_no_word_is_lost(texts: list[str], most: int) -> None:
    text = "\n\n".join(texts)
    found = parts(text, most)
    assert all(len(part) <= most for part in found)
    said = " ".join(found).split()
    assert all(said.count(word) >= text.split().count(word) for word in set(text.split()))


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("Text.\n\n---", "Text."),
        ("---\n\nText.\n\n* * *\n", "Text."),
        ("A title\n---", "A title\n---"),
        ("Text.\n\nAnmerkung", "Text."),
        ("Text.\n\n**Note:**\n\n---", "Text."),
        ("Text:\n\n- tip\n\nA tip", "Text:\n\n- tip\n\nA tip"),
        ("Note", "Note"),
        ("Text.\n\n```js\nrun()\n---", "Text.\n\n```js\nrun()\n---\n```"),
        ("1. Do:\n\n   ```\n   run", "1. Do:\n\n   ```\n   run\n   ```"),
        ("> ```\n> run", "> ```\n> run\n> ```"),
        ("  It is on.\n\n- **port**\n\n  A number.", "It is on.\n\n- **port**\n\n  A number."),
        ("    - deep\n      more\n- next", "- deep\n  more\n- next"),
        ("    code()\n    more()", "    code()\n    more()"),
        ('<a id="run"></a>\n\nRun it.', "Run it."),
        ('One.\n\n<a id="two"></a>\n\nTwo.', "One.\n\nTwo."),
        ('One.\n<a name="two"></a> Two.\n\n<!-- three -->', "One.\nTwo."),
        ("See [it](/it).\n\n[it]: /it 'It'\n[all]: <http://a.b/c>", "See [it](/it)."),
        ('```\n<a id="run"></a>\n[it]: /it\n```', '```\n<a id="run"></a>\n[it]: /it\n```'),
        ("[^1]: A footnote.", "[^1]: A footnote."),
        ("[it]: /it", "[it]: /it"),
        ("---", "---"),
        ("", ""),
    ],
)
def test_a_part_is_shown_by_itself(part: str, shown: str) -> None:
    assert alone(part) == shown


def test_a_part_of_nothing_but_rules_takes_linear_time() -> None:
    began = time.process_time()
    assert alone("Text.\n\n" + "---\n\n" * 50_000) == "Text."
    assert time.process_time() - began < 5  # 0.1 s; with the square of its lines minutes
