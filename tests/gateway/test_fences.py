"""Which lines are fenced code."""

import random

import pytest
from markdown_it import MarkdownIt

from wiki.pages.fences import FencedCode, fenced

FENCES = (
    *("```", "````", "~~~", "```js", "~~~ sh", '```js title="x"', "   ```", "``` ```"),
    *("```npm i```", "``` a `b`"),
)
PLAIN = ("a", "b c", "", "# h", *FENCES)
QUOTED = (*PLAIN, "> a", "> b", "> ```", "> ~~~", "> ````")


def as_in_commonmark(lines: list[str]) -> list[bool]:
    is_code = [False] * len(lines)
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        if token.type == "fence" and token.map:
            for number in range(token.map[0], min(token.map[1], len(lines))):
                is_code[number] = True
    return is_code


@pytest.mark.parametrize("kinds", [PLAIN, QUOTED], ids=["plain", "quoted"])
def test_the_lines_of_code_are_those_of_commonmark(kinds: tuple[str, ...]) -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        # The parser does not count empty lines at the end.
        lines = [*chance.choices(kinds, k=chance.randint(1, 8)), "end"]
        assert fenced(lines) == as_in_commonmark(lines), lines


def test_code_in_a_list_need_not_be_indented() -> None:
    assert fenced(["1. ```sh", "ls", "```", "next"]) == [True, True, True, False]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("```sh", "```"), ("  ~~~~", "  ~~~~"), ("- ```", "  ```"), ("> - ```", ">   ```"), ("a", "")],
)
def test_open_code_is_closed_within_its_list_or_quotation(opening: str, closing: str) -> None:
    code = FencedCode()
    code.takes(opening)
    assert code.closing == closing
