"""The worst answers, which a report shows to a writer."""

from pathlib import Path

import pytest

from eval.report import cost
from eval.report.build import report
from eval.running.answer import Answer
from eval.scoring.scored import score
from gateway.answering.grounding.prompt import REFUSAL
from tests.eval import runs
from tests.eval.runs import Behaviour

WRONG, REFUSED, FAILED, RIGHT = range(4)


def worst(folder: Path, answerable: list[int], unanswerable: list[int]) -> list[int]:
    """The lines of the worst, of questions that get these answers. A later one of two wrong answers
    is less like the written one, and it is surer of it."""
    asked = runs.questions(len(answerable), len(unanswerable))
    kinds = dict(zip((one.id for one in asked), answerable + unanswerable, strict=True))
    lines = {one.id: one.line for one in asked}

    def change(given: Answer) -> Answer:
        line, kind = lines[given.question], kinds[given.question]
        texts = {WRONG: f"wrong {line}", RIGHT: asked[line - 1].answer or REFUSAL}
        return given.model_copy(
            update={
                "text": {**texts, REFUSED: REFUSAL, FAILED: ""}[kind],
                "error": "the engine went away" if kind == FAILED else "",
                "confidence": line / 1000,
            }
        )

    def similar(said: str, gold: str) -> float:
        return 1.0 if said == gold else 0.5 - int(said.removeprefix("wrong ")) / 1000

    run = runs.write(folder, {"tuned-pages": Behaviour()}, asked, change=change)
    return [case.line for case in report(score(run, similar), cost.read()).worst]


def test_what_failed_is_no_wrong_answer(tmp_path: Path) -> None:
    assert worst(tmp_path, [FAILED] * 30 + [WRONG, RIGHT], [FAILED, WRONG, REFUSED]) == [31, 34]


def test_both_kinds_of_wrong_answers_are_shown(tmp_path: Path) -> None:
    found = worst(tmp_path, [REFUSED] * 3 + [WRONG] * 15 + [RIGHT], [WRONG] * 12 + [REFUSED])
    assert found == [*range(18, 8, -1), *range(31, 21, -1)]


@pytest.mark.parametrize(
    ("answerable", "unanswerable", "shown"),
    [
        ([REFUSED] * 3 + [WRONG] * 2, [WRONG] * 30, [5, 4, 3, 2, 1, *range(35, 20, -1)]),
        ([REFUSED] * 3 + [WRONG] * 18, [WRONG], [*range(21, 3, -1), 3, 22]),
        ([WRONG], [WRONG], [1, 2]),
    ],
)
def test_where_there_are_few_of_one_kind_more_of_the_other_are_shown(
    tmp_path: Path, answerable: list[int], unanswerable: list[int], shown: list[int]
) -> None:
    assert worst(tmp_path, answerable, unanswerable) == shown
