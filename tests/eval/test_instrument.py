"""Scores of labelled answers, by kind."""

import json
import math
from pathlib import Path

import pytest

from eval.studies.instrument import PAIRS, areas, labelled, main, order

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
    assert lines["token F1"].split(" | ")[1] == "1.00, n = 1"
    grounded = lines["groundedness"].strip("| ").split(" | ")
    assert (grounded[1], grounded[4]) == ("1.00, n = 1", "0.00, n = 1")
    # Good before wrong and hallucinated; the partial one is as well supported, and so a tie.
    heads = lines["score"].strip("| ").split(" | ")
    shown = dict(zip(heads, grounded, strict=True))
    assert shown["good over wrong"].startswith("1.00 (")
    assert shown["good over partial"].startswith("0.50 (")
    assert float(shown["order"].split()[0]) > 0.8
    gap = lines["groundedness, then no gap admitted"].strip("| ").split(" | ")
    shown = dict(zip(heads, gap, strict=True))
    assert shown["good over partial"].startswith("1.00 (")
    assert shown["order"].startswith("0.92 ("), "wrong and hallucinated ones are a tie: 5.5 of 6"
    worth = lines["utility by groundedness"].strip("| ").split(" | ")
    assert [cell.split(",")[0] for cell in worth[1:5]] == ["1.00", "0.50", "-1.00", "-1.00"]
    shown = dict(zip(heads, worth, strict=True))
    for pair in ("good over partial", "partial over wrong"):
        assert shown[pair].startswith("1.00 ("), pair
    assert any(line.startswith("answered: good 1.00") for line in lines.values())
    assert any("refusal 1.00" in line for line in lines.values() if line.startswith("true_ref"))
    file.write_text('{"kind": "good"}\n')
    assert main(words) == 2
    assert "answers.jsonl:1: not a labelled answer" in capsys.readouterr().err


def test_the_area_is_the_chance_of_a_higher_score() -> None:
    good = [(f"p{n}", 1.0) for n in range(20)]
    found = areas({"good": good, "wrong": [(f"p{n}", 0.0) for n in range(20)], "partial": good})
    assert found["good", "wrong"] == found["partial", "wrong"] == (1.0, 1.0, 1.0)
    assert found["good", "partial"].value == 0.5
    mixed = [(f"p{n}", n / 20) for n in range(20)]
    found = areas({"good": mixed, "wrong": [(where, 0.25) for where, _ in mixed]})
    area = found["good", "wrong"]
    assert area.low < area.value == 0.725 < area.high


def test_the_order_of_kinds_is_one_number() -> None:
    kinds = ("good", "partial", "wrong", "hallucination")
    ranked = {
        kind: [(f"p{n}", 3.0 - rank + n / 50) for n in range(20)] for rank, kind in enumerate(kinds)
    }
    assert order(ranked) == (1.0, 1.0, 1.0)
    backwards = {kind: [(at, -score) for at, score in ranked[kind]] for kind in kinds}
    assert order(backwards).value == 0.0
    swapped = {**ranked, "partial": ranked["wrong"], "wrong": ranked["partial"]}
    assert order(swapped).value == 1 - 1 / len(PAIRS)
    same = dict.fromkeys(kinds, ranked["good"])
    assert order(same).low <= order(same).value == 0.5 <= order(same).high
    assert math.isnan(order({"good": ranked["good"]}).value)


def test_several_splits_are_measured_together(tmp_path: Path) -> None:
    row = {"id": "r1", "question": "How?", "answer": GOOD, "context_doc": "gate.md"}
    questions, file = tmp_path / "qa.jsonl", tmp_path / "answers.jsonl"
    questions.write_text(json.dumps(row) + "\n")
    rows = [
        {"row_id": "r1", "question": "How?", "pages": ["gate.md"], "answer": GOOD, "kind": "good",
         "split": split, "answerable_from_pages": True}
        for split in ("train", "validation", "test")
    ]  # fmt: skip
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    for split, size in ((None, 3), ("test", 1), ("validation,test", 2)):
        assert len(labelled(file, questions, split)) == size
