"""The process that trains, played by small real ones."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from askdocs.models import finetuning
from askdocs.models.finetuning import LOG, follow
from core.errors import AskdocsError
from training.tuning.events import Event

SAY = """
import json, os, signal, subprocess, sys, time
def say(**event): print(json.dumps(event), flush=True)
"""


def run(folder: Path, script: str) -> list[Event]:
    return list(follow([sys.executable, "-c", SAY + script], folder))


def gone(pid: int) -> bool:
    """Is it no more, within 10 seconds? (A zombie whose parent is slow is no more.)"""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_events_come_in_order_and_what_else_it_prints_is_in_the_log(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
say(event="start", steps=2)
print("Unsloth: hello"); print("[1, 2]"); print('{"no": "event"}')
print("warned", file=sys.stderr)
say(event="step", step=1, loss=2.5)
say(event="done", step=2)
""",
    )
    assert [event["event"] for event in found] == ["start", "step", "done"]
    log = (tmp_path / LOG).read_text()
    assert all(text in log for text in ("Unsloth: hello", "[1, 2]", '{"no": "event"}', "warned"))


def test_a_problem_is_reported_in_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"^max_length = 9: too short: set 16$"):
        run(tmp_path, 'say(event="problem", message="max_length = 9: too short: set 16"); exit(1)')


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('raise ValueError("boom")', r"exit code 1\): .*ValueError: boom"),
        ("os.kill(os.getpid(), signal.SIGKILL)", r"signal SIGKILL; it may have run out of memory"),
        ('say(event="step", step=1, loss=1.0)', r"ended early \(exit code 0\)"),
        ('print("{\\"event\\": \\"do", end="")', r"ended early \(exit code 0\)"),
    ],
)
def test_an_end_that_is_none_is_an_error_with_the_last_words(
    tmp_path: Path, script: str, said: str
) -> None:
    with pytest.raises(AskdocsError, match=said) as caught:
        run(tmp_path, script)
    assert str(tmp_path / LOG) in str(caught.value)
    assert "\n" not in str(caught.value)


# It starts another one, as `accelerate launch` does, which holds its output open.
PARENT = """
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
say(event="start", pids=[os.getpid(), other.pid])
"""


def test_whoever_stops_reading_stops_it_and_what_it_started(tmp_path: Path) -> None:
    events = follow([sys.executable, "-c", SAY + PARENT + "time.sleep(60)"], tmp_path)
    pids = next(events)["pids"]
    events.close()
    assert all(gone(pid) for pid in pids)


def test_one_that_dies_takes_what_it_started_along(tmp_path: Path) -> None:
    began = time.monotonic()
    events = follow([sys.executable, "-c", SAY + PARENT + "os._exit(3)"], tmp_path)
    pids = next(events)["pids"]
    with pytest.raises(AskdocsError, match="ended early"):
        next(events)
    assert time.monotonic() - began < 20
    assert all(gone(pid) for pid in pids)


def test_one_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "GRACE", 0.5)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(event='start', pid=os.getpid())"
    events = follow([sys.executable, "-c", f"{SAY}{deaf}\ntime.sleep(60)"], tmp_path)
    pid = next(events)["pid"]
    events.close()
    assert gone(pid)


def test_a_kill_of_the_one_that_reads_leaves_none(tmp_path: Path) -> None:
    child = f"{SAY}say(event='start', pid=os.getpid()); time.sleep(60)"
    reader = (
        "import sys; from pathlib import Path; from askdocs.models.finetuning import follow\n"
        f"for event in follow([sys.executable, '-c', {child!r}], Path({str(tmp_path)!r})):\n"
        "    print(event['pid'], flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", reader], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        pid = int(said.readline())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert gone(pid)


def test_a_thread_may_start_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(run, tmp_path, 'say(event="done")').result()
    assert [event["event"] for event in found] == ["done"]


# The child tells its reader to stop before it is what it is to be: the reader is in Popen then.
STOPPED = """
import os, signal, sys, time
from pathlib import Path
from askdocs.models import finetuning

def early():
    finetuning.Path(sys.argv[1], "pid").write_text(str(os.getpid()))
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(0.5)

finetuning.end_with_parent = early
try:
    next(finetuning.follow(["sleep", "60"], Path(sys.argv[1])))
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.stdin.read()
"""


def test_a_stop_while_it_is_started_leaves_none(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", STOPPED, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "stopped\n"
        assert gone(int((tmp_path / "pid").read_text()))
