"""`askdocs eval check`: the measures of the check on labelled answers, and its page."""

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from askdocs.cli import app

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
