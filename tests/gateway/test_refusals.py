"""Refusals, half-answers and answers: `tests/answers/README.md` says how they were written."""

import json
from pathlib import Path

import pytest

from gateway.answering.claims import drafts, refuses
from gateway.answering.grounding import wording

FOLDER = Path(__file__).parents[1] / "answers" / "refusals"


def test_plain_refusals_are_known_and_hardly_any_half_answer_or_negation_is_one() -> None:
    lines = [line for file in FOLDER.iterdir() for line in file.read_text("utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    kinds = [row["kind"] for row in rows if refuses(drafts(row["answer"]))]
    refusals = sum(row["kind"] == "refusal" for row in rows)
    assert kinds.count("refusal") > 0.24 * refusals
    assert kinds.count("refusal") > 0.98 * len(kinds)


@pytest.mark.parametrize("sentence", wording.REFUSALS)
def test_the_refusal_that_the_prompt_asks_for_is_known_in_every_language(sentence: str) -> None:
    assert refuses(drafts(sentence))
    assert not refuses(drafts("バックアップは14個まで保存されます。"))


@pytest.mark.parametrize(
    ("sentence", "gap", "claim"),
    [
        ("The pages do not say how long it takes.", True, False),
        ("The pages don't say how long it takes, but it runs at night.", True, True),
        ("Although the pages do not state a port, the server listens on 8443.", True, True),
        ("The export does not include comments.", False, True),
        ("Open the page and choose Copy.", False, True),
    ],
)
def test_a_sentence_may_have_a_gap_and_a_claim(sentence: str, gap: bool, claim: bool) -> None:
    [draft] = drafts(sentence)
    assert (draft.refuses, draft.claims) == (gap, claim)
