"""What a run says of its time and cost before it starts."""

from pathlib import Path

import pytest

from eval.report import cost
from eval.running import run
from eval.running.estimate import BESIDE, estimate
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
    faster = new.model_copy(update={"at_once": 32})
    assert estimate(faster, prices, [tmp_path / "new"]).measured == 0
