"""What is found by reading rows alone, and what of it is mended."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from training.data.check import entries, fix, plain
from training.data.check.entries import DatasetLine
from training.data.check.rules import RULES, Finding
from wiki.pages.page import Page, Section

ANSWER = "Press the green button for five seconds until the lamp is on, then let go of it."
CLEAN = {
    "question": "How do I start the pump?",
    "answer": ANSWER,
    "context": "The pump.\n\n" + ANSWER,
}
OTHER = {"question": "Who wrote this page?", "answer": "", "answerable": False}


def read(
    *rows: object, data: bytes = b"", names: dict[str, str] | None = None
) -> list[DatasetLine]:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.jsonl")
        file.write_bytes(data or b"\n".join(lines))
        return entries.read(file, names or {})


def found(lines: Sequence[DatasetLine], wiki: Sequence[Page] = ()) -> list[Finding]:
    rows = [entry.row for entry in lines if entry.row]
    return [
        *plain.broken(lines),
        *plain.nameless(lines),
        *plain.encoding(lines, False),
        *plain.texts(lines),
        *plain.duplicates(rows),
        *plain.contradictions(rows),
        *plain.leaks(rows, {}, {}),
        *(plain.pages(rows, wiki) if wiki else ()),
        *plain.prefixes(rows, wiki),
    ]


def test_a_clean_file_has_no_finding_and_stays_as_it_is() -> None:
    lines = read(CLEAN, OTHER)
    assert found(lines) == []
    assert fix.fix(lines, False) == ([entry.data for entry in lines], [])


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ("unreadable", b"{"),
        ("unreadable", b'{"question": "caf\xe9"}'),
        ("unreadable", b"[1]"),
        ("field", {"question": "Why?"}),
        ("field", {"question": 7, "answer": "x"}),
        ("encoding", b'{"question": "Why so?", "answer": "Because."}\r'),
        ("control", {**OTHER, "question": "Who\x07?"}),
        ("nfc", {**OTHER, "question": "A cafe\u0301?"}),
        ("white-space", {**OTHER, "question": "Who? "}),
        ("html", {**OTHER, "question": "<p>Who?</p>"}),
        ("mojibake", {**OTHER, "question": "Caf\ufffd?"}),
        ("personal", {**OTHER, "question": "Is ana@firm.example.org.uk a user?"}),
        ("duplicate", {**CLEAN, "source": "other"}),
        ("contradiction", {**CLEAN, "answer": "You cannot."}),
        ("prefix", {**CLEAN, "question": "What then?", "context": f"**{ANSWER}** And so on."}),
    ],
)
def test_each_rule_fires_on_a_row_made_for_it_at_its_line(rule: str, row: Any) -> None:
    (finding,) = (one for one in found(read(CLEAN, row)) if one.rule == rule)
    assert finding.line == 2


def test_addresses_that_belong_to_nobody_are_not_personal() -> None:
    row = {**OTHER, "question": "Is me@example.com or x@mail.example a user?"}
    assert found(read(row)) == []


def test_pages_are_looked_up_and_their_beginnings_compared() -> None:
    wiki = [Page("pump.md", "Pump", "", (Section("Pump", "", (), f"# Pump\n\n{ANSWER} More."),))]
    copied = {"question": "How?", "answer": ANSWER, "context_doc": "docs/pump.md"}
    unknown = {"question": "Why?", "answer": "So.", "context_doc": "lamp.md"}
    rules = {(one.rule, one.line) for one in found(read(copied, unknown), wiki)}
    assert rules == {("prefix", 1), ("page", 2)}


def test_the_validated_one_of_equal_rows_is_kept() -> None:
    fixed = fix.fix(read(CLEAN, {**CLEAN, "validated_by": "ana"}, CLEAN), False)
    assert [json.loads(line).get("validated_by") for line in fixed.lines] == ["ana"]
    assert [(one.rule, one.line) for one in fixed.changes] == [("duplicate", 1), ("duplicate", 3)]


def test_a_row_of_train_goes_where_its_cluster_is_held_out_and_no_other() -> None:
    rows = [
        {**CLEAN, "question": f"Question {number}?", "split": split, "cluster": cluster}
        for number, (split, cluster) in enumerate(
            [("train", "a"), ("test", "a"), ("validation", "a"), ("train", "b")]
        )
    ]
    lines = read(*rows)
    leaks = {(one.rule, one.line) for one in found(lines)}
    assert leaks == {("contaminated", 1), ("contaminated-held-out", 3)}
    fixed = fix.fix(lines, False)
    assert fixed.lines == [entry.data for entry in lines[1:]]


def test_near_rows_of_another_split_or_file_are_leaks() -> None:
    lines = read({**CLEAN, "split": "train"}, {**OTHER, "split": "validation"})
    rows = [entry.row for entry in lines if entry.row]
    near = {(0, 1): [(0, 2), (1, 7)]}
    leak, against = plain.leaks(rows, {"eval.jsonl": rows}, near)
    assert (leak.rule, leak.line, against.rule, against.line) == (
        "contaminated",
        1,
        "contaminated-against",
        1,
    )
    assert against.message.startswith("duplicates or nearly duplicates eval.jsonl:7")


def test_rows_of_a_cluster_that_is_evaluated_are_leaks_unless_they_are_of_test() -> None:
    lines = read(*({**CLEAN, "cluster": "a", "split": split} for split in ("test", "train")))
    rows = [entry.row for entry in lines if entry.row]
    evaluated = {"eval.jsonl": rows[:1]}
    said = [(one.rule, one.line) for one in plain.leaks(rows, evaluated, {})]
    assert said == [("contaminated", 2), ("contaminated-against", 2)]


def test_fields_of_an_export_are_read_by_their_paths_and_kept() -> None:
    thread = {
        "title": "Pump",
        "content": "<p>How do I start it?</p>",
        "answers": [{"text": ANSWER}],
    }
    said = [one.message for one in plain.nameless(read(thread))]
    assert "--field question=PATH; the fields are title, content, answers.0.text" in said[0]
    lines = read(thread, names={"question": "content", "answer": "answers.0.text"})
    (line,) = fix.fix(lines, False).lines
    assert json.loads(line) == {**thread, "question": "How do I start it?", "answer": ANSWER}


@pytest.mark.parametrize("option", ["question", "=x", "name=x", "answer="])
def test_a_field_option_that_means_nothing_is_refused(option: str) -> None:
    with pytest.raises(AskdocsError, match=r"--field .*write FIELD=PATH"):
        entries.named([option])


def test_a_row_that_has_no_text_once_it_is_clean_is_left_out_and_said() -> None:
    fixed = fix.fix(read({**CLEAN, "question": "<br>"}, CLEAN), False)
    assert len(fixed.lines) == 1
    assert {(one.rule, one.line) for one in fixed.changes} == {("html", 1), ("field", 1)}


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("mine")
    with pytest.raises(AskdocsError, match="not overwritten"):
        fix.write(file, [b"{}"])
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_kill_while_a_file_is_written_leaves_none_at_its_place(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    code = f"""
import os, signal
from pathlib import Path
from training.data.check import fix
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
fix.write(Path({str(file)!r}), [b"{{}}"] * 1000)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    fix.write(file, [b"{}"])
    assert file.read_bytes() == b"{}\n"


words = st.sampled_from(
    ["<b>How</b>", "do", "I", "start\x07", " ", "it?\r\n", "cafe\u0301", "a@b.cc"]
)
texts = st.lists(words, max_size=4).map(" ".join)
rows = st.fixed_dictionaries(
    {"question": texts, "answer": texts},
    optional={
        "split": st.sampled_from(["train", "validation", "test"]),
        "cluster": st.sampled_from(["1", "2"]),
        "answerable": st.booleans(),
        "note": st.text(max_size=3),
    },
)
line = st.one_of(
    rows.map(lambda row: json.dumps(row).encode()),
    rows.map(lambda row: json.dumps(row).encode() + b"\r"),
    st.sampled_from([b"{", b"\xff", b"7", b'{"question": 3}']),
)


@given(st.lists(line, min_size=1, max_size=8), st.booleans())
def test_a_fixed_file_has_no_safe_finding_and_is_fixed_to_itself(
    data: list[bytes], mark: bool
) -> None:
    lines = read(data=(b"\xef\xbb\xbf" if mark else b"") + b"\n".join(data))
    for finding in found(lines):
        entry = next(one for one in lines if one.line == finding.line or not finding.line)
        if finding.rule != "unreadable" and finding.field in entry.fields and finding.line:
            assert finding.value.removesuffix("...") in str(entry.fields[finding.field])
    fixed = fix.fix(lines, mark)
    if fixed.lines:
        again = read(data=b"\n".join(fixed.lines))
        assert [one for one in found(again) if RULES[one.rule].safe] == []
        assert fix.fix(again, False) == (fixed.lines, [])
    held = {b'"split": "test"', b'"split": "validation"'}
    gone = {one.line for one in fixed.changes if one.rule == "contaminated"}
    assert all(not any(split in one.data for split in held) for one in lines if one.line in gone)
