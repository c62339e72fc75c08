"""A report whose answers two recorded judges decide, asked through the gateway in Anthropic's and
OpenAI's formats. A judge's verdict follows from the words of the answer.
"""

import json
from pathlib import Path

import pytest

from eval.report import cost, tables
from eval.report.build import BETWEEN, report
from eval.scoring import mark
from eval.scoring.judge import RUBRIC, Judge, Panel
from eval.scoring.measures import JUDGED
from eval.scoring.scored import score
from eval.statistics import bootstrap
from tests import starting
from tests.conformance.conftest import Lane
from tests.eval import runs
from tests.eval.runs import Behaviour

pytestmark = pytest.mark.slow


async def test_two_families_judge_a_run_and_labels_correct_them(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 150)
    monkeypatch.setattr(bootstrap, "SAMPLES_OF_PERCENTILES", 60)
    name, asked = "tuned-pages", runs.questions(50, 5)
    run = runs.write(tmp_path / "run", {name: Behaviour(accuracy=0.5)}, asked)
    pages = {
        question.pages[0]: f"# Valve\n\n{question.answer}" for question in asked if question.pages
    }
    judges = [
        Judge(run, model, lane.gateway.url, starting.KEY, pages) for model in ("claude", "gpt")
    ]
    plain = [marked for marks in mark.marks(*mark.read(run)).values() for marked in marks]
    for judge in judges:
        await judge.ask(mark.attempted_answers(plain), lambda *_: None)

    wire = dict(lane.providers.asked)
    of_claude, of_gpt = wire["/v1/messages"], wire["/gpt/v1/chat/completions"]
    assert RUBRIC.splitlines()[0] in json.dumps(of_claude["system"], ensure_ascii=False)
    assert (of_claude["model"], of_claude["max_tokens"]) == ("claude-sonnet-4-5", 200)
    assert of_gpt["messages"][0]["content"] == RUBRIC
    shown = json.loads(of_gpt["messages"][1]["content"])
    assert set(shown) == {"question", "reference", "pages", "answer"}
    assert shown["reference"] in "".join(shown["pages"].values())
    assert name not in json.dumps([of_claude, of_gpt]), "a judge does not know whose answer it is"

    # A person knows what is right: every other answer has a label.
    true = {marked.question.id: marked.near for marked in plain if marked.question.answerable}
    labels = {(name, id): right for id, right in list(true.items())[::2]}
    panel = Panel(judges)
    made = report(
        score(run, judged=panel), cost.read(), judge=panel.name, labels=labels, panel=panel
    )
    (system,) = made.systems
    share = sum(true.values()) / len(true)
    judged, corrected = system.measures[JUDGED], system.corrected
    assert corrected is not None
    assert judged.value > share + 0.05, "judges that are not too kind test nothing"
    assert corrected.low <= share <= corrected.high
    assert abs(corrected.value - share) < abs(judged.value - share)
    agreed = {row.rater: row for row in made.agreements}
    assert {"claude", "gpt", BETWEEN} < agreed.keys()
    for who in ("claude", "gpt", BETWEEN):
        kappa = agreed[who].kappa
        assert kappa is not None
        assert agreed[who].low < kappa < agreed[who].high < 1
    assert agreed[BETWEEN].n > agreed["claude"].n, "all answers, not the labelled ones alone"
    assert agreed["claude"].share > agreed["gpt"].share
    assert "decided by judges" in tables.summary(made)
