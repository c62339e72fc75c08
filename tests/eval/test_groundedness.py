"""The share of an answer's claims that the pages support."""

from pathlib import Path

import pytest

from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring.groundedness import Groundedness
from eval.scoring.mark import mark
from wiki.sources.markdown import parse

PAGE = parse(
    "gate.md",
    "# Tide gate\n\nThe tide gate is opened with the brass wheel, which takes 12 turns.\n\n"
    "Close the gate before the storm alarm sounds.\n",
    "https://wiki.example.com/",
)
ASKED = Question(
    id="q1", line=1, text="How is the tide gate opened?", answer="With the brass wheel.",
    answerable=True, pages=("gate.md",), type="how",
)  # fmt: skip
GOOD = "The tide gate is opened with the brass wheel."


def answer(text: str, *pages: str) -> Answer:
    return Answer(system="base-pages", question="q1", text=text, prompt_pages=pages)


async def test_supported_sentences_are_counted_and_kept(tmp_path: Path) -> None:
    given = {
        "whole": answer(GOOD, "gate.md"),
        "half": answer(f"{GOOD} The brass wheel takes 47 turns of the tide gate.", "gate.md"),
        "none": answer("The harbour office sells 99 postcards of lighthouses.", "gate.md"),
        "unread": answer(GOOD),
    }
    grounded, told = Groundedness(tmp_path, [PAGE]), list[tuple[int, int]]()
    pairs = [(ASKED, one) for one in given.values()]
    await grounded.measure(pairs, lambda *far: told.append(far))
    found = {name: grounded(ASKED, one) for name, one in given.items()}
    assert found == {"whole": 1.0, "half": 0.5, "none": 0.0, "unread": None}
    again = Groundedness(tmp_path, [PAGE])
    await again.measure(pairs, lambda *_: pytest.fail("it was measured before"))
    assert again(ASKED, given["half"]) == 0.5
    changed = parse("gate.md", "# Tide gate\n\nIt is closed for good.\n", "https://example.com/")
    assert Groundedness(tmp_path, [changed])(ASKED, given["half"]) is None


async def test_a_refusal_has_no_share(tmp_path: Path) -> None:
    refused = answer(GOOD, "gate.md").model_copy(update={"refused": True})
    assert mark(ASKED, refused, grounded=lambda *_: 1.0).grounded is None
    assert mark(ASKED, answer(GOOD, "gate.md"), grounded=lambda *_: 0.5).grounded == 0.5
