"""What a run says of its time and cost before it starts."""

from pathlib import Path

import pytest

from eval.report import cost
from eval.running import run
from eval.running.estimate import BESIDE, estimate
from eval.systems.rag.settings import RagSettings
from eval.systems.systems import NAMES
from tests.eval import runs
from tests.eval.runs import Behaviour


def test_tokens_bound_the_cost_and_earlier_runs_tell_the_time(tmp_path: Path) -> None:
    does = {name: Behaviour() for name in ("base-closed", "base-pages", "always-refuse")}
    new = run.read(runs.write(tmp_path / "new", does, runs.questions(30, 10)))
    prices = cost.read()
    found = estimate(new, prices, [tmp_path / "none"])
    assert (found.answers, found.systems, found.measured) == (120, 3, 0)
    assert found.prompt_tokens == 40 * (BESIDE + BESIDE + new.page_budget)
    assert found.completion_tokens == 40 * 2 * new.max_tokens
    dollars = cost.token_dollars(found.prompt_tokens, found.completion_tokens, prices)
    assert found.dollars == pytest.approx(dollars)
    known = estimate(new, prices, [tmp_path / "new"])
    assert known.measured == 3
    assert known.seconds == pytest.approx(40 * 3 * 10 / 40)
    told = new.model_copy(update={"systems": (*new.systems, "recorded-tool")})
    assert estimate(told, prices, []) == found  # it is not asked
    faster = new.model_copy(update={"at_once": 32})
    assert estimate(faster, prices, [tmp_path / "new"]).measured == 0


def test_a_thousand_questions_to_eleven_systems_have_a_time_and_a_price(tmp_path: Path) -> None:
    new = run.read(runs.write(tmp_path / "new", dict.fromkeys(NAMES, Behaviour())))
    ids = tuple(f"q{number}" for number in range(1000))
    questions = new.questions.model_copy(update={"ids": ids})
    new = new.model_copy(update={"questions": questions, "rag": RagSettings(budget=16_000)})
    found = estimate(new, cost.read(), [])
    assert (found.answers, found.systems) == (11_000, 11)
    read = 8 * BESIDE + 4 * new.page_budget + 2 * 16_000
    assert found.prompt_tokens == 1000 * read
    assert found.completion_tokens == 8000 * new.max_tokens
    assert found.seconds > 600
    assert found.dollars > 1
