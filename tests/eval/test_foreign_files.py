"""Files of questions and answers that somebody else made, and that nobody has looked at."""

import os
import threading
from pathlib import Path

import pytest

from core.errors import AskdocsError
from eval.questions import rows
from eval.systems.recorded import Recorded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize("depth", [*range(950, 1000), 200_000])
def test_deep_json_is_a_problem_of_its_line(file: Path, depth: int) -> None:
    file.write_text(f'{{"question": {"[" * depth}{"]" * depth}, "answer": "a"}}\n')
    (problem,) = rows.parse(file)
    assert isinstance(problem, rows.Problem)
    with pytest.raises(AskdocsError, match=r"rows.jsonl:1: is not a recorded answer"):
        Recorded(file)


def test_nesting_that_no_rule_reads_is_refused_too(file: Path) -> None:
    deep = "[" * 101 + "]" * 101
    file.write_text(f'{{"question": "q", "answer": "a", "more": {deep}}}\n')
    (problem,) = rows.parse(file)
    assert isinstance(problem, rows.Problem)
    assert "more than 100 nested objects and lists" in problem.fix
    flat = "[" + ", ".join(["[]"] * 300) + "]"
    file.write_text(f'{{"question": "q", "answer": "a", "more": {flat}}}\n')
    assert [row.answer for row in rows.read(file)] == ["a"]


def test_half_a_surrogate_pair_is_refused_before_anything_is_written(file: Path) -> None:
    file.write_text('{"question": "q", "answer": "\\ud800"}\n')
    with pytest.raises(AskdocsError, match=r"rows.jsonl:1: is not a recorded answer"):
        Recorded(file)


def test_a_line_or_file_without_end_is_read_up_to_a_bound(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(file)

    def write(text: bytes) -> None:
        with file.open("wb", buffering=0) as pipe:
            try:
                while True:
                    pipe.write(text)
            except BrokenPipeError:
                pass

    monkeypatch.setattr(rows, "LONGEST", 2**18)
    monkeypatch.setattr(rows, "MOST", 1000)
    for text in (b"a" * 2**16, b'{"question": "q", "answer": "a"}\n'):
        writer = threading.Thread(target=write, args=(text,), daemon=True)
        writer.start()
        with pytest.raises(AskdocsError, match="is too large"):
            rows.read(file)
        writer.join(30)
        assert not writer.is_alive()


def test_a_byte_order_mark_and_blank_lines_are_passed_over(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf\r\n\n{"question": "q", "answer": "a"}')
    assert [(row.line, row.question) for row in rows.read(file)] == [(3, "q")]
