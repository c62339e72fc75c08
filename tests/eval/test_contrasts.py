"""The contrasts of a run: declared before it, and tested as one family."""

from pathlib import Path

import pytest

from eval.report import cost
from eval.report.build import report
from eval.report.markdown import markdown
from eval.scoring.scored import score
from eval.statistics.contrasts import declared
from eval.statistics.paired import holm
from eval.systems.systems import NAMES
from tests.eval import runs
from tests.eval.runs import Behaviour


def test_training_is_tested_under_each_way_of_reading_and_the_product_beside_rag() -> None:
    assert declared(NAMES) == (
        ("tuned-closed", "base-closed"),
        ("tuned-pages", "base-pages"),
        ("tuned-rag", "base-rag"),
        ("tuned-oracle", "base-oracle"),
        ("tuned-pages", "base-rag"),
    )


@pytest.mark.parametrize(
    ("systems", "expected"),
    [
        (["base-pages", "base-rag"], (("base-pages", "base-rag"),)),
        (["base-pages", "first-sentence"], ()),
        (["tuned-rag", "base-rag"], (("tuned-rag", "base-rag"),)),
    ],
)
def test_only_what_a_run_can_test_is_declared(
    systems: list[str], expected: tuple[tuple[str, str], ...]
) -> None:
    assert declared(systems) == expected


def test_they_are_corrected_as_one_family_whatever_else_was_compared(tmp_path: Path) -> None:
    systems = {
        "base-pages": Behaviour(accuracy=0.4),
        "tuned-pages": Behaviour(accuracy=0.7),
        "base-rag": Behaviour(accuracy=0.55),
        "tuned-rag": Behaviour(accuracy=0.6),
        "first-sentence": Behaviour(first_sentence=True),
    }
    made = report(score(runs.write(tmp_path, systems)), cost.read())
    assert [(one.first, one.second) for one in made.contrasts] == [
        ("tuned-pages", "base-pages"),
        ("tuned-rag", "base-rag"),
        ("tuned-pages", "base-rag"),
    ]
    assert {one.measure for one in made.contrasts} == {made.accuracy}
    assert [one.holm for one in made.contrasts] == holm([one.p for one in made.contrasts])
    assert made.contrasts[0].says == "better"
    page = markdown(made)
    assert page.index("## Declared contrasts") < page.index("Exploratory,")


def test_a_run_that_declared_none_has_none(tmp_path: Path) -> None:
    made = report(score(runs.write(tmp_path, {"base-pages": Behaviour()})), cost.read())
    assert made.contrasts == []
    assert "Declared contrasts" not in markdown(made)
