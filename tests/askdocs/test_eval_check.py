"""`askdocs eval check`: the measures of the check on labelled answers, and its page."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askdocs.cli import app
from askdocs.state.home import Home
from tests.training.versions import FACTS, trained
from training.versions.open import open_store
from wiki.search.rerank import BUNDLED

FOLDER = Path(__file__).parents[1] / "answers"


def test_the_measures_come_with_a_page_that_has_the_roc(tmp_path: Path) -> None:
    answers, page = tmp_path / "<b>answers.jsonl", tmp_path / "check.html"
    rows = (FOLDER / "own_docs.jsonl").read_text().splitlines()
    answers.write_text("\n".join(rows))
    arguments = ["eval", "check", str(answers), "--docs", str(FOLDER / "wiki")]
    told = CliRunner().invoke(app, [*arguments, "--report", str(page), "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    html = page.read_text()
    assert f"{found['auc']:.3f}" in html
    assert "supported sentences marked" in html
    assert re.search(r'<svg viewBox="[^"]*" role="img" aria-labelledby="roc-title">', html)
    assert 'id="roc-title"' in html
    assert "<b>answers" not in html
    # The dot of the threshold in use is on the curve, give or take a step of it.
    alarms, recall = found["used"]
    assert 0 <= alarms <= 0.2
    assert 0.3 <= recall <= 1


def test_a_threshold_is_fitted_on_answers_of_a_version_and_stored_with_it(
    home: Home, tmp_path: Path
) -> None:
    store = open_store(None, home.root)
    name = store.add("docs", trained(tmp_path / "run"), FACTS)
    words = ["eval", "check", str(FOLDER / "own_docs.jsonl"), "--docs", str(FOLDER / "wiki")]
    words += ["--version", name, "--home", str(home.root)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert f"stored with {name}, for rules" in told.stdout
    (fitted,) = store.thresholds(name)
    assert fitted.supported >= 200
    assert 0 < fitted.false_alarms <= 0.05  # 4 % of them, or fewer where scores are equal
    stricter = [*words[:5], "--threshold", "0.9", "--json"]
    alarms = json.loads(CliRunner().invoke(app, stricter).stdout)["false_alarms"]["value"]
    assert alarms > fitted.false_alarms
    again = [*words[:5], "--threshold", str(fitted.value), "--json"]
    measured = json.loads(CliRunner().invoke(app, again).stdout)
    assert measured["false_alarms"]["value"] == pytest.approx(fitted.false_alarms)


def test_no_threshold_is_stored_that_the_checker_did_not_give(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(None, home.root)
    name = store.add("docs", trained(tmp_path / "run"), FACTS)
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join((FOLDER / "own_docs.jsonl").read_text().splitlines()[:5]))
    words = ["eval", "check", str(few), "--docs", str(FOLDER / "wiki"), "--home", str(home.root)]
    told = CliRunner().invoke(app, [*words, "--version", name])
    assert "a threshold needs 100: add answers of docs@v1" in str(told.exception)
    monkeypatch.setenv("ASKDOCS_GATEWAY_CHECKER", "engine")
    monkeypatch.setenv("ASKDOCS_GATEWAY_ENGINE_URL", "http://127.0.0.1:9/v1")
    told = CliRunner().invoke(app, [*words, "--version", name])
    assert "engine: the checker does not answer" in str(told.exception)
    assert store.thresholds(name) == []


def test_a_judge_is_measured_beside_the_rules(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join((FOLDER / "own_docs.jsonl").read_text().splitlines()[:3]))
    words = ["eval", "check", str(few), "--docs", str(FOLDER / "wiki"), "--json"]
    rules = json.loads(CliRunner().invoke(app, [*words, "--threshold", "0.65"]).stdout)
    words += ["--checker", str(BUNDLED)]
    judged = json.loads(CliRunner().invoke(app, words).stdout)
    assert judged["roc"] != rules["roc"]
    assert judged["sentences"] == rules["sentences"]
    told = CliRunner().invoke(app, [*words, "--checker-url", "http://127.0.0.1:9/v1"])
    assert "name one checker: --checker or --checker-url" in str(told.exception)
