"""The access log: one line of JSON for a request, whatever is in it and whatever the disk does."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from core.tasks import Tasks
from gateway.telemetry import access_log
from gateway.telemetry.access_log import AccessLog, AccessLogEntry, _Sink
from tests.counting import calls
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def entry(**fields: Any) -> AccessLogEntry:
    known = {
        "request_id": "r1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "duration": 1.23456,
    }
    return AccessLogEntry(**{**known, **fields})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


class Drops(list[int]):
    def __call__(self, lines: int) -> None:
        self.append(lines)

    @property
    def total(self) -> int:
        return sum(self)


# The line


def test_a_line_says_all_that_is_known_of_a_request(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.write(
        entry(
            ttft=0.25,
            key_id="k1",
            key_name="laptop",
            team="it",
            alias="docs",
            model="docs@v7",
            lane="fast",
            stream=True,
            grounded=True,
            refused=True,
            prompt_tokens=10,
            completion_tokens=3,
            fallback="timeout",
            client="10.0.0.1",
        )
    )
    log.close()
    [line] = lines(tmp_path / "log")
    written = datetime.fromisoformat(line.pop("time"))
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert line == {
        "request_id": "r1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "key_id": "k1",
        "key_name": "laptop",
        "team": "it",
        "alias": "docs",
        "model": "docs@v7",
        "lane": "fast",
        "stream": True,
        "grounded": True,
        "refused": True,
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "ttft_ms": 250.0,
        "duration_ms": 1234.6,
        "fallback": "timeout",
        "client": "10.0.0.1",
    }


def test_the_time_is_utc_in_rfc_3339(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.write(entry())
    log.close()
    assert lines(tmp_path / "log")[0]["time"].endswith("Z")


def test_questions_and_answers_are_written_only_when_switched_on(tmp_path: Path) -> None:
    for prompts in (False, True):
        path = tmp_path / f"log-{prompts}"
        log = AccessLog(str(path), prompts)
        assert log.wants_prompts is prompts
        log.write(entry(prompt="my secret question", answer="grün"))
        log.close()
        [line] = lines(path)
        if prompts:
            assert (line["prompt"], line["answer"]) == ("my secret question", "grün")
        else:
            assert "prompt" not in line
            assert b"secret" not in path.read_bytes()


def test_without_a_path_there_is_no_log() -> None:
    for path in (None, ""):
        log = AccessLog(path, prompts=True)
        assert not log.is_on
        assert not log.wants_prompts
        log.write(entry())
        log.close()


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_no_text_of_a_client_breaks_or_forges_a_line(path: str, alias: str) -> None:
    line = access_log._line(entry(path=path, alias=alias, prompt=path), prompts=True)
    text = line.decode()
    assert text.splitlines() == [text[:-1]]
    assert not any(0x7F <= ord(character) < 0xA0 for character in text)
    read = json.loads(text)
    clean = path.encode("utf-8", "replace").decode()
    assert read["prompt"] == clean
    assert read["path"] == clean[: access_log.LONGEST]
    assert read["request_id"] == "r1"


@pytest.mark.parametrize(
    "text",
    [
        'x"}\n{"status":200}',
        "a\r\nb",
        "a\u2028b",
        "a\x85b",
        "a\x9b31mb",
        "a\x7f",
        "a\x00",
        "\ud800",
    ],
)
def test_a_line_stays_one_line(text: str) -> None:
    line = access_log._line(entry(path=text), prompts=False).decode()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["path"] == text.encode("utf-8", "replace").decode()


def test_what_a_client_made_up_is_cut_short(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.write(entry(path="/" + "x" * 100_000, alias="y" * 100_000, method="Z" * 100_000))
    log.close()
    assert (tmp_path / "log").stat().st_size < 2500


def test_a_failure_nobody_thought_of_is_shown_and_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = _Sink.write, [RuntimeError("odd")]

    def odd(sink: _Sink, lines: list[bytes]) -> int:
        if failures:
            raise failures.pop()
        return write(sink, lines)

    monkeypatch.setattr(_Sink, "write", odd)
    monkeypatch.setattr("core.tasks.FIRST_PAUSE", 0.01)
    tasks = Tasks()
    log = AccessLog(str(tmp_path / "log"), tasks=tasks)
    log.write(entry(path="/first"))
    log.close(30)
    assert tasks.failing == ["access log"]
    assert json.loads((tmp_path / "log").read_text())["path"] == "/first"


# The file


def test_a_renamed_file_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    log.write(entry(request_id="before"))
    until(lambda: path.stat().st_size > 0)
    path.rename(tmp_path / "log.1")
    log.write(entry(request_id="after"))
    log.close()
    assert [line["request_id"] for line in lines(tmp_path / "log.1")] == ["before"]
    assert [line["request_id"] for line in lines(path)] == ["after"]


def test_a_truncated_file_goes_on_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(str(path))
    log.write(entry())
    until(lambda: path.stat().st_size > 0)
    os.truncate(path, 0)
    log.write(entry(request_id="after"))
    log.close()
    assert [line["request_id"] for line in lines(path)] == ["after"]


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"access_log: .*/no/log cannot be written .*folder"):
        AccessLog(str(tmp_path / "no" / "log"))


def test_a_pipe_without_a_reader_is_refused_at_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AskdocsError, match="pipe cannot be written"):
        AccessLog(str(tmp_path / "pipe"))


def test_lines_that_a_full_disk_refuses_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    drops = Drops()
    log = AccessLog("/dev/full", on_drop=drops)
    log.write(entry())
    log.write(entry())
    log.close()
    assert drops.total == 2
    assert "No space left" in caplog.text
    assert len(caplog.records) == 1


def test_a_folder_that_comes_back_gets_lines_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    drops = Drops()
    log = AccessLog(str(folder / "log"), on_drop=drops)
    (folder / "log").unlink()
    folder.rmdir()
    log.write(entry())
    until(lambda: drops.total == 1)
    folder.mkdir()
    log.write(entry(request_id="after"))
    log.close()
    assert [line["request_id"] for line in lines(folder / "log")] == ["after"]


def test_half_a_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    sink = access_log._Sink(str(tmp_path / "log"))
    os.write(sink._fd, b'{"half')
    sink._is_torn = True
    assert sink.write([b'{"request_id":"whole"}\n']) == 0
    sink.close()
    assert (tmp_path / "log").read_bytes() == b'{"half\n{"request_id":"whole"}\n'


def test_a_reader_that_stands_still_stops_no_request(tmp_path: Path) -> None:
    """The log goes to a pipe that nobody reads; when it is full, lines wait, and then drop."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    drops = Drops()
    log = AccessLog(str(pipe), prompts=True, on_drop=drops)
    try:
        for _ in range(4000):
            log.write(entry(prompt="x" * 10_000))  # one that waited would wait for ever
        assert 1000 < drops.total < 3000  # 40 MB of lines, of which 16 MiB wait
        log.close(timeout=0.1)
        assert drops.total > 3900  # and what still waited at the end is counted, too
    finally:
        os.close(reader)


# Processes

WRITER = """
import sys
from gateway.telemetry.access_log import AccessLog, AccessLogEntry
log = AccessLog(sys.argv[1])
for number in range(int(sys.argv[2])):
    entry = AccessLogEntry(request_id=f"{sys.argv[3]}-{number}", method="GET", path="/" + "x" * 300,
                           status=200, duration=0.1)
    log.write(entry)
    if number == 0:
        import time; time.sleep(0.3); print("begun", file=sys.stderr, flush=True)
log.close()
"""


def start(path: str, count: int, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, str(count), name],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_workers_that_write_to_one_file_lose_and_mix_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    workers = [start(str(path), 3000, name) for name in "abcd"]
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    ids = [line["request_id"] for line in lines(path)]
    assert sorted(ids) == sorted(f"{name}-{number}" for name in "abcd" for number in range(3000))
    assert [i for i in ids if i.startswith("a")] == [f"a-{number}" for number in range(3000)]


def test_a_dash_is_standard_output() -> None:
    output, _ = start("-", 500, "a").communicate(timeout=60)
    ids = [json.loads(line)["request_id"] for line in output.splitlines()]
    assert ids == [f"a-{number}" for number in range(500)]


def test_a_killed_worker_leaves_whole_lines_but_for_the_last(tmp_path: Path) -> None:
    path = tmp_path / "log"
    worker = start(str(path), 10_000_000, "a")
    assert worker.stderr
    assert worker.stderr.readline() == b"begun\n"
    until(lambda: path.stat().st_size > 100_000)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    *whole, last = path.read_bytes().split(b"\n")
    assert len([json.loads(line) for line in whole]) > 100
    assert last == b"" or last.startswith(b'{"time":')


def test_a_line_that_a_kill_cut_off_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"time":"2026-11-25T17:14:04')
    worker = start(str(path), 3, "a")
    worker.communicate()
    cut, *whole = path.read_bytes().splitlines()
    assert cut == b'{"time":"2026-11-25T17:14:04'
    assert [json.loads(line)["request_id"] for line in whole] == ["a-0", "a-1", "a-2"]


def test_a_line_costs_a_few_calls(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    line = entry()
    log.write(line)
    # 7 microseconds on the machine of docs/how-to/monitoring.md.
    assert calls(lambda: log.write(line)) <= 30
    log.close()
