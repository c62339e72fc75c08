"""Scores of labelled answers, by kind."""

import json
from pathlib import Path

import pytest

from eval.studies.instrument import area, main

PAGE = (
    "# Tide gate\n\nThe tide gate is opened with the brass wheel, which takes 12 turns.\n\n"
    "Close the tide gate before the storm alarm sounds.\n"
)
GOOD = "The tide gate is opened with the brass wheel."
ANSWERS = {
    "good": GOOD,
    "partial": f"{GOOD} The page does not say who keeps its key.",
    "wrong:number": "The brass wheel of the tide gate takes 47 turns.",
    "hallucination": "The harbour office sells 99 postcards of lighthouses.",
    "refusal": "The wiki pages given do not answer this.",
}


def test_each_score_is_measured_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gate.md").write_text(PAGE)
    row = {"id": "r1", "question": "How is the tide gate opened?", "answer": GOOD}
    questions, file = tmp_path / "qa.jsonl", tmp_path / "answers.jsonl"
    questions.write_text(json.dumps({**row, "context_doc": "gate.md"}) + "\n")
    rows = [
        {
            "row_id": "r1", "question": row["question"], "pages": ["gate.md"], "answer": text,
            "kind": kind, "split": "test", "answerable_from_pages": kind[0] in "gpw",
        }
        for kind, text in ANSWERS.items()
    ]  # fmt: skip
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    words = [str(file), "--docs", str(tmp_path), "--questions", str(questions), "--split", "test"]
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    lines = {line.split(" | ")[0].strip("| "): line for line in out}
    assert lines["token F1"].split(" | ")[1] == "1.00"
    assert lines["groundedness"].split(" | ")[1] == "1.00"
    assert lines["groundedness"].split(" | ")[4] == "0.00"
    assert any(line.startswith("answered: good 1.00") for line in lines.values())
    assert any("refusal 1.00" in line for line in lines.values() if line.startswith("true_ref"))
    file.write_text('{"kind": "good"}\n')
    assert main(words) == 2
    assert "answers.jsonl:1: not a labelled answer" in capsys.readouterr().err


def test_the_area_is_the_chance_of_a_higher_score() -> None:
    good = [(f"p{n}", 1.0) for n in range(20)]
    assert area(good, [(f"p{n}", 0.0) for n in range(20)]) == (1.0, 1.0, 1.0)
    assert area(good, good).value == 0.5
    mixed = [(f"p{n}", n / 20) for n in range(20)]
    found = area(mixed, [(where, 0.25) for where, _ in mixed])
    assert found.low < found.value == 0.725 < found.high
