"""Whether pages support what a model is to answer, and how its target cites them."""

import asyncio
from collections.abc import Iterator

import pytest

from eval.scoring.groundedness import Rarity
from gateway.answering.grounding.excerpt import Excerpt
from training.data.support import cite, claims, quote, support, uncited
from wiki.sources.markdown import parse

PAGE = parse(
    "pump.md",
    "# The pump\n\nHow to service it.\n\n## Filter\n\nReplace the filter every 14 weeks with a"
    " wrench.\n\n## Motor\n\nThe motor takes oil of the type XK30. Never open its case.\n",
    "http://wiki/",
)
OTHER = parse("lamp.md", "# The lamp\n\nA lamp takes a bulb of 60 watts.\n", "http://wiki/")
EXCERPTS = [Excerpt(page, page.sections, 0) for page in (PAGE, OTHER)]
IDF = Rarity(page.text for page in (PAGE, OTHER))
FILTER = next(n for n, s in enumerate(PAGE.sections, 1) if s.heading == "Filter")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


def test_each_supported_sentence_cites_its_section(runner: asyncio.Runner) -> None:
    answer = (
        "Replace the filter every 14 weeks. The motor takes oil of the type XK30.\n\n- Ask Bob!"
    )
    found = claims(runner, answer, EXCERPTS, IDF, "How do I service the pump?")
    assert cite(answer, found, EXCERPTS) == (
        f"Replace the filter every 14 weeks [{FILTER}]. The motor takes oil of the type XK30"
        f" [{FILTER + 1}].\n\n- Ask Bob!"
    )
    quoted = [*quote(answer, found, EXCERPTS, IDF)]
    assert quoted[0] == f"> Replace the filter every 14 weeks with a wrench. [{FILTER}]"
    assert quoted[1] == f"> The motor takes oil of the type XK30. [{FILTER + 1}]"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Replace the filter every 14 weeks.", "supported"),
        ("Replace the filter every 15 weeks.", "unsupported"),
        ("Replace the filter every 14 weeks. The shop in Berlin sells them.", "unsupported"),
        ("Yes.", "nothing"),
    ],
)
def test_the_worst_sentence_decides(runner: asyncio.Runner, answer: str, expected: str) -> None:
    assert support(claims(runner, answer, EXCERPTS, IDF, "Which filter?")) == expected


def test_numbers_of_another_prompt_are_taken_out() -> None:
    answer = "Open it [2]. Then close it. [1][3]\n\n```\nlist [2]\n```\n\nUse `a[0]` and [4](x.md)."
    assert uncited(answer) == (
        "Open it. Then close it.\n\n```\nlist [2]\n```\n\nUse `a[0]` and [4](x.md)."
    )
