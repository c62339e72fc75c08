"""`askdocs bench writing`: what the gateway adds to recorded answers."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askdocs.cli import app
from askdocs.commands import bench
from gateway.core.errors import AskdocsError

FOLDER = Path(__file__).parents[1] / "answers"


@pytest.mark.slow
def test_recorded_answers_are_timed_alone_and_through_the_gateway(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = (FOLDER / "own_docs.jsonl").read_text().splitlines()
    file.write_text("\n".join(row for row in rows if '"kind": "good"' in row))
    arguments = ["writing", str(file), "--docs", str(FOLDER / "wiki"), "--rounds", "1", "--json"]
    told = CliRunner().invoke(bench.app, arguments)
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["answers"] > 10
    assert found["added_ms"] == pytest.approx(found["gateway_first_ms"] - found["writer_first_ms"])
    assert found["check_ms"] > 0


@pytest.mark.parametrize(
    ("text", "why"),
    [("no JSON", "JSON lines"), ('{"question": "How?"}', "answer"), ("", "no answers")],
)
def test_a_file_without_answers_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(text)
    told = CliRunner().invoke(app, ["bench", "writing", str(file), "--docs", str(FOLDER / "wiki")])
    assert isinstance(told.exception, AskdocsError)
    assert str(file) in str(told.exception)
    assert why in str(told.exception)
