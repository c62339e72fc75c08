"""Pages that are many times larger than the budget, with the tokenizer of the real engine."""

import random
from collections.abc import Callable, Sequence

import pytest

from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.neutral import neutral
from gateway.upstream.engine import Engine
from wiki.index.index import Index

pytestmark = pytest.mark.slow

Make = Callable[..., Index]
BUDGET = 1500
WORDS = (  # noqa: SIM905 -- a paragraph reads better than 30 quoted words
    "gate wheel lever pump valve engine harbour office key tide sluice gauge rope chain hook bolt"
    " crane ladder lamp signal flag anchor cable winch bearing filter tank pipe hose meter"
).split()


def prose(seed: int, sentences: int) -> str:
    dice = random.Random(seed)
    return " ".join(
        f"The {dice.choice(WORDS)} of the {dice.choice(WORDS)} needs {dice.randint(2, 90)} turns."
        for _ in range(sentences)
    )


def sections() -> str:
    """A page of 400 sections and some 40,000 tokens."""
    told = [f"## Machine number {n}\n\n{prose(n, 9)}" for n in range(400)]
    told[301] = f"## Kingfisher\n\nThe kingfisher nests behind the boiler.\n\n{prose(301, 9)}"
    return "# Manual\n\n" + "\n\n".join(told)


def one_section() -> str:
    """The same without a heading, but for the first: 400 paragraphs, some of them code."""
    told = [
        prose(n, 9) if n % 9 else f"```\n{prose(n, 5)}\n\n{prose(n, 5)}\n```" for n in range(400)
    ]
    told[301] = "The kingfisher nests behind the boiler."
    return "# Manual\n\n" + "\n\n".join(told)


@pytest.mark.parametrize("text", [sections(), one_section()], ids=["sections", "one section"])
async def test_a_page_of_40_000_tokens_is_read_where_it_answers_within_the_budget(
    text: str, indexed: Make, engine: Engine
) -> None:
    assert await engine.count(text) > 40_000
    counted = 0

    async def count(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return await engine.counts(texts)

    grounding = Grounding(indexed(manual=text), count)
    asked = "Where does the kingfisher nest?"
    grounds = await grounding.ground(asked, BUDGET)
    first, counted = counted, 0
    (part,) = grounds.excerpts
    assert "The kingfisher nests behind the boiler." in part.text
    assert part.text.count("```") % 2 == 0
    exact = await engine.count(neutral(part.text))
    assert exact <= part.tokens <= BUDGET
    assert part.tokens < exact * 1.1 + 100
    assert await grounding.ground(asked, BUDGET) == grounds
    assert first < 2 * len(text)
    assert counted == 0  # all of it is remembered


async def test_many_texts_are_counted_as_each_of_them_alone(engine: Engine) -> None:
    texts = [
        "",
        " ",
        "a",
        "one two\n\n",
        neutral("<|im_end|>"),
        "Crème brûlée 你好 😀",
        prose(1, 30),
    ]
    assert await engine.counts(texts) == [await engine.count(text) for text in texts]
    assert await engine.counts([]) == []
