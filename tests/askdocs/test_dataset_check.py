"""`askdocs dataset check` as a process, with the real libraries.

Their environment is looked for in `.cache/dataset`, or where TEST_DATASET_HOME says.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from askdocs import environments
from tests.askdocs.conftest import ROOT, Run
from tests.parts import require

pytestmark = pytest.mark.slow

HOME = Path(os.environ.get("TEST_DATASET_HOME", ROOT / ".cache" / "dataset"))
INSTALL = ".venv/bin/python -m askdocs.environments dataset --home .cache/dataset"
TOPICS = ("pump", "lamp", "fan", "drill", "valve", "sensor", "spring", "cable", "filter", "switch")
KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    require(environments.find(environments.DATASET, HOME) is not None, INSTALL)
    monkeypatch.setenv("ASKDOCS_HOME", str(HOME))


def rows() -> list[dict[str, Any]]:
    """A clean file."""
    answers = [
        {
            "question": f"How often does somebody have to replace the old {topic} of the machine?",
            "answer": f"Replace the {topic} every {number + 3} weeks, and clean its place first.",
            "id": str(number),
            "split": "test" if number == 9 else "train",
        }
        for number, topic in enumerate(TOPICS)
    ]
    refused = [
        {"question": "Who will win the next election here?", "answer": "", "answerable": False},
        {"question": "Which wine goes well with fish?", "answer": "", "answerable": False},
    ]
    return [*answers, *refused]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def checked(done: subprocess.CompletedProcess[str]) -> set[tuple[str, int]]:
    return {(one["rule"], one["line"]) for one in json.loads(done.stdout)["findings"]}


def test_each_rule_of_a_library_fires_on_the_row_made_for_it(askdocs: Run, tmp_path: Path) -> None:
    near = "How often does somebody have to replace the old {} of this machine?"
    french = "Comment remplacer la pompe de la machine quand elle ne fonctionne plus du tout ?"
    answer = "Il faut dévisser le couvercle avant de retirer la pompe de son emplacement."
    bad: list[dict[str, Any]] = [
        {"question": "Is there a token?", "answer": f"Yes, it is {KEY} for now."},
        {"question": french, "answer": answer},
        {"question": "Is it broken text?", "answer": "It doesnâ€™t work, and thatâ€™s all."},
        {"question": "What is a long story?", "answer": "and then" * 600, "split": "training"},
        {"question": "Is that too short?", "answer": "No"},
        {"question": "What long context is it?", "answer": "Long.", "context": "so on" * 5000},
        {"question": "Whose id is this then?", "answer": "Of two rows.", "id": "0"},
        {"question": near.format("switch"), "answer": "As below.", "split": "train"},
        {"question": near.format("pump"), "answer": "As above.", "split": "train"},
    ]
    file = write(tmp_path / "rows.jsonl", [*rows(), *bad])
    other = write(tmp_path / "eval.jsonl", [{"question": "Is that too short?", "answer": "Yes."}])
    done = askdocs("dataset", "check", str(file), "--against", str(other), "--json")
    assert done.returncode == 1
    assert KEY not in done.stdout
    assert checked(done) == {
        ("refusals", 0),
        ("id", 1),
        ("secret", 13),
        ("language", 14),
        ("mojibake", 15),
        ("long-answer", 16),
        ("split", 16),
        ("short", 17),
        ("contaminated-against", 17),
        ("long-row", 18),
        ("short", 18),
        ("id", 19),
        ("contaminated", 20),
        ("near-duplicate", 21),
    }
    shape = json.loads(done.stdout)
    assert (shape["rows"], shape["errors"], shape["report"]) == (21, 7, None)
    assert shape["findings"][1] == {
        "place": f"{file}:1",
        "line": 1,
        "rule": "id",
        "severity": "error",
        "field": "id",
        "value": "0",
        "message": "id is '0'",
        "fix": "Give each row a unique id.",
        "safe": False,
    }


def test_warnings_alone_are_no_failure_and_too_few_refusals_are_one(
    askdocs: Run, tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", rows()[:10])
    done = askdocs("dataset", "check", str(file))
    assert done.returncode == 0
    assert "0 of 10 rows are unanswerable" in done.stdout
    assert done.stdout.endswith(f"{file}: 10 rows, errors: 0, warnings: 1\n")


def test_a_file_with_other_names_is_reported_so_in_a_few_lines(
    askdocs: Run, tmp_path: Path
) -> None:
    file = write(tmp_path / "rows.jsonl", [{"title": f"Post {n}", "body": []} for n in range(300)])
    done = askdocs("dataset", "check", str(file))
    assert done.returncode == 1
    assert "--field question=PATH; the fields are title" in done.stdout
    assert len(done.stdout.splitlines()) < 12


def test_whatever_json_can_hold_is_a_finding_and_no_crash(askdocs: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        b'{"question": "Half \\ud800 a pair?", "answer": "Yes, it is."}',
        b'{"question": ["x"], "answer": {"a": 1}, "split": ["a"], "id": {}}',
        b'{"question": "", "answer": null, "answerable": "no", "context": 7}',
        b'{"question": "Is $this a {template} %s?", "answer": "It is &amp; $$ ${x}.", "id": "$id"}',
        b"[" * 100_000,
        b"\x00",
        b"\xff\xfe",
    ]
    file.write_bytes(b"\n".join(lines))
    done = askdocs("dataset", "check", str(file), "--report", "report", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    broken = {("unreadable", n) for n in (5, 6, 7)} | {("field", n) for n in (1, 2, 3)}
    assert checked(done) == {*broken, ("html", 4), ("refusals", 0)}


def test_the_report_shows_rules_and_lines_and_nothing_runs_or_loads_in_it(
    askdocs: Run, tmp_path: Path
) -> None:
    bad = {"question": "<script>alert(1)</script>Who?", "answer": "<b>I</b> am", "id": "<i>0</i>"}
    file = write(tmp_path / "rows.jsonl", [*rows(), bad, bad])
    done = askdocs("dataset", "check", str(file), "--report", "report")
    assert done.returncode == 1
    assert done.stdout.endswith("as a web page: report/index.html\n")
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "repeats line 13" in html
    assert "Keep one of them; `--out` keeps the first" in html
    assert "<script>alert" not in html
    assert "<i>0</i>" not in html
    for loading in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert loading not in html
    again = askdocs("dataset", "check", str(file), "--report", "report")
    assert again.returncode == 2
    assert "not overwritten" in again.stderr


def test_out_takes_near_rows_from_train_alone_and_fixes_its_own_file_to_itself(
    askdocs: Run, tmp_path: Path
) -> None:
    near = {**rows()[9], "question": rows()[9]["question"] + " Thanks", "id": "x", "split": "train"}
    file = write(tmp_path / "rows.jsonl", [*rows(), near])
    before = file.read_bytes()
    done = askdocs("dataset", "check", str(file), "--out", "mended.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["repaired"]
    assert [(one["rule"], one["line"]) for one in said["changes"]] == [("contaminated", 13)]
    assert said["written"] == 12
    assert file.read_bytes() == before
    mended = tmp_path / "mended.jsonl"
    assert mended.read_bytes() == before[: len(mended.read_bytes())]
    clean = askdocs("dataset", "check", str(mended), "--out", "again.jsonl", "--json")
    assert (clean.returncode, json.loads(clean.stdout)["findings"]) == (0, [])
    assert (tmp_path / "again.jsonl").read_bytes() == mended.read_bytes()


def test_out_overwrites_neither_its_input_nor_another_file(askdocs: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", rows())
    other = Path(shutil.copy(file, tmp_path / "other.jsonl"))
    for out in (file, other):
        done = askdocs("dataset", "check", str(file), "--out", str(out))
        assert done.returncode == 2
        assert "not overwritten" in done.stderr


def test_out_names_the_page_of_each_context(askdocs: Run, tmp_path: Path) -> None:
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    text = "Press the red button for two seconds and the pump will stop at once."
    (wiki / "start.md").write_text("# Start\n\nPress the green button until the lamp is on.")
    (wiki / "stop.md").write_text(f"# Stop\n\n{text}")
    there = {"question": "How do I stop the pump?", "answer": text, "context": text}
    nowhere = {**rows()[0], "context": "Words that no page of this small wiki has anywhere."}
    nowhere = {key: value for key, value in nowhere.items() if not key.startswith("context_doc")}
    file = write(tmp_path / "rows.jsonl", [there, nowhere])
    done = askdocs(
        *("dataset", "check", str(file), "--docs", str(wiki), "--out", "out.jsonl", "--json")
    )
    assert json.loads(done.stdout)["repaired"]["pages"] == {"located": 1, "not found": 1}
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert first == {**there, "context_doc": "stop.md"}
    assert second == nowhere
