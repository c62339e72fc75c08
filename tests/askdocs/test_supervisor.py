"""Real processes: small Python programs that are ready, die, ignore signals, have children."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from askdocs.supervision import supervisor
from askdocs.supervision.supervisor import Running, Say, Service
from core.errors import AskdocsError
from core.tasks import Tasks
from tests.askdocs.conftest import ROOT
from tests.waiting import async_until, until


class Desk:
    """Starts services and hears what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[tuple[str, str]] = []
        self.pids: list[int | None] = []
        self.all: list[Running] = []

    @property
    def log(self) -> Path:
        return self.folder / "part.log"

    def running(
        self,
        code: str,
        *,
        ready: bool | None = None,
        timeout: float = 20,
        hung: Callable[[int], Awaitable[str]] | None = None,
        say: Say | None = None,
        tasks: Tasks | None = None,
    ) -> Running:
        """A service of this code; ready (unless told) when it made the file `ready`."""

        async def is_ready() -> bool:
            return (self.folder / "ready").exists() if ready is None else ready

        service = Service(
            name="part",
            argv=[sys.executable, "-c", dedent(code)],
            log=self.log,
            ready=is_ready,
            timeout=timeout,
            env={"READY": str(self.folder / "ready"), "COLOUR": "green"},
            hung=hung,
        )
        running = Running(
            service,
            say or (lambda name, text: self.said.append((name, text))),
            lambda: self.pids.append(running.pid),
            tasks,
        )
        self.all.append(running)
        return running


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    for running in desk.all:
        await running.stop()


def alive(pid: int) -> bool:
    """Does it run (and is not just waiting to be buried)?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_of(running: Running) -> int:
    assert running.pid is not None
    return running.pid


NEVER = 120.0  # seconds, of which no test takes half

SERVES = """
import os, time
open(os.environ["READY"], "w").close()
time.sleep(60)
"""


async def test_start_returns_when_it_is_ready_and_stop_ends_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", NEVER)
    running = desk.running(SERVES)
    assert running.pid is None
    await running.start()
    assert (desk.folder / "ready").exists()
    pid = running.pid
    assert pid is not None
    assert alive(pid)
    assert desk.pids == [pid]
    began = time.monotonic()
    await running.stop()
    assert time.monotonic() - began < NEVER / 2
    assert not alive(pid)
    assert running.pid is None
    assert running.restarts == 0
    assert desk.said == []


@pytest.mark.slow
async def test_one_that_is_never_ready_is_an_error_with_its_last_words_and_is_stopped(
    desk: Desk,
) -> None:
    code = "import time\nprint('loading', flush=True)\nprint('  no CUDA  ', flush=True)\n"
    running = desk.running(code + "time.sleep(60)", ready=False, timeout=5)
    with pytest.raises(AskdocsError) as caught:
        await running.start()
    assert str(caught.value).startswith("part was not ready in 5 s: loading | no CUDA (all of it")
    assert str(desk.log) in str(caught.value)
    assert running.pid is None


async def test_one_that_dies_at_its_start_is_an_error_with_its_last_words(desk: Desk) -> None:
    running = desk.running("print('one')\nraise SystemExit('no such model')", ready=False)
    began = time.monotonic()
    with pytest.raises(AskdocsError, match=r"^part ended at its start: one \| no such model$"):
        await running.start()
    assert time.monotonic() - began < 30


async def test_one_that_dies_without_a_word_says_so(desk: Desk) -> None:
    with pytest.raises(AskdocsError, match="part ended at its start: it printed nothing"):
        await desk.running("raise SystemExit(3)", ready=False).start()


async def test_one_whose_program_is_away_for_a_while_is_started_once_it_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = desk.folder / "python"
    program.symlink_to(sys.executable)
    running = desk.running(SERVES)
    running.service.argv[0] = str(program)
    await running.start()
    program.rename(desk.folder / "away")
    os.kill(pid_of(running), signal.SIGKILL)
    await async_until(lambda: any("cannot be started" in text for _, text in desk.said))
    (desk.folder / "away").rename(program)
    await async_until(lambda: running.pid is not None)


async def test_a_part_that_cannot_be_forked_is_started_later(desk: Desk) -> None:
    running = desk.running(SERVES)
    await running.start()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.kill(pid_of(running), signal.SIGKILL)
    await async_until(lambda: running.pid is None)
    try:
        # No pipe for its output can be had: the same error as for want of memory or processes.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        await async_until(lambda: any("cannot be started" in text for _, text in desk.said))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await async_until(lambda: running.pid is not None)


async def test_a_killed_one_is_started_again_with_another_pid(desk: Desk) -> None:
    running = desk.running(SERVES)
    await running.start()
    first = running.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await async_until(lambda: running.restarts == 1 and desk.said[-1][1].startswith("is up again"))
    assert desk.said[0] == ("part", "ended (signal SIGKILL); starting it again")
    assert running.pid not in (None, first)
    assert desk.pids == [first, running.pid]
    os.kill(running.pid or 0, signal.SIGKILL)
    await async_until(lambda: running.restarts == 2 and running.pid is not None)


@pytest.mark.slow
async def test_one_that_keeps_dying_is_started_with_growing_pauses(desk: Desk) -> None:
    code = """
    import os, sys, time
    if os.path.exists(os.environ["READY"]):
        sys.exit(7)
    open(os.environ["READY"], "w").close()
    time.sleep(0.5)
    """
    running = desk.running(code)
    began = time.monotonic()
    await running.start()

    async def never() -> bool:
        return False

    object.__setattr__(running.service, "ready", never)
    await async_until(lambda: running.restarts == 3)
    assert time.monotonic() - began >= 0.5 + 0.2 + 0.4 + 0.8
    assert ("part", "ended (exit code 7); starting it again") in desk.said


@pytest.mark.slow
async def test_one_that_lived_long_enough_is_started_without_a_longer_pause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STEADY", 0.0)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    running = desk.running("import os, time\nopen(os.environ['READY'], 'w')\ntime.sleep(0.1)")
    await running.start()
    await async_until(lambda: running.restarts == 6)
    assert max(pauses) == supervisor.FIRST_PAUSE


async def test_one_that_hangs_is_killed_with_its_children_and_started_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def hung(pid: int) -> str:
        asked.append(pid)
        if len(asked) > 1:
            await asyncio.sleep(60)
        return "no answer for 15 s"

    monkeypatch.setattr(supervisor, "GRACE", NEVER)
    running = desk.running(HAS_A_CHILD.format(stubborn=True), hung=hung)
    began = time.monotonic()
    await running.start()
    first, grandchild = pid_of(running), int((desk.folder / "ready").read_text())
    await async_until(lambda: desk.said[-1:] and desk.said[-1][1].startswith("is up again after"))
    # SIGTERM, which it ignores, would have had GRACE.
    assert time.monotonic() - began < NEVER / 2
    monkeypatch.undo()
    assert not alive(first)
    await async_until(lambda: not alive(grandchild))
    line = "hangs (no answer for 15 s): killed; starting it again"
    assert desk.said[0] == ("part", line)
    assert f"askdocs: {line}" in desk.log.read_text().splitlines()
    assert asked == [first, running.pid]


async def test_one_that_is_stopped_and_ignores_sigterm_ends_at_stop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.5)
    running = desk.running(SERVES)
    await running.start()
    pid = pid_of(running)
    os.kill(pid, signal.SIGSTOP)
    await running.stop()
    assert not alive(pid)


async def test_one_that_is_never_ready_again_is_killed_and_started_once_more(desk: Desk) -> None:
    async def hung(pid: int) -> str:
        await asyncio.sleep(60)
        return ""

    running = desk.running(SERVES, timeout=0.5, hung=hung)
    await running.start()

    async def never() -> bool:
        return False

    object.__setattr__(running.service, "ready", never)
    os.kill(pid_of(running), signal.SIGKILL)
    await async_until(lambda: running.restarts == 2)
    assert [text.partition(" after ")[0] for _, text in desk.said[1:]] == [
        "is not ready",
        "ended (signal SIGKILL); starting it again",
    ]
    assert desk.said[1][1].endswith(" s: killed")


async def test_a_watch_that_fails_is_said_and_begins_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    pids: list[int] = []

    async def hung(pid: int) -> str:
        pids.append(pid)
        if len(pids) == 1:
            raise RuntimeError("closed")
        await asyncio.Event().wait()
        return ""

    tasks = Tasks()
    running = desk.running(SERVES, hung=hung, tasks=tasks)
    await running.start()
    await async_until(lambda: len(pids) == 2)
    assert tasks.failing == ["supervision of part"]
    assert desk.said == [("part", "supervision failed; restarting it")]
    assert "RuntimeError: closed" in caplog.text
    assert pids == [pid_of(running)] * 2  # it was not harmed
    os.kill(pids[0], signal.SIGKILL)
    await async_until(lambda: len(pids) == 3)
    assert running.restarts == 1


async def test_a_full_disk_behind_the_terminal_ends_neither_the_watch_nor_the_log(
    desk: Desk,
) -> None:
    def full(name: str, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    line = "» " + "x" * 1000
    running = desk.running(f"for _ in range(200): print({line!r})\n{SERVES}", say=full)
    await running.start()  # 200 kB: it would wait for ever for a reader of its output
    os.kill(pid_of(running), signal.SIGKILL)
    await async_until(lambda: running.restarts == 1 and running.pid is not None)
    await async_until(lambda: desk.log.read_text().count(line) == 400)


async def test_lines_for_people_are_shown_and_everything_is_in_the_log(desk: Desk) -> None:
    code = r"""
    import os, sys, time
    print("» grün [bold]x[/bold] 100% %s")
    print("not for people »")
    print("to stderr", file=sys.stderr)
    sys.stdout.buffer.write(b"not utf-8: \xff\n")
    print(os.environ["COLOUR"])
    """
    await desk.running(code + SERVES.replace("\n", "\n    ")).start()
    await async_until(lambda: desk.log.exists() and "green" in desk.log.read_text())
    assert desk.said == [("part", "grün [bold]x[/bold] 100% %s")]
    log = desk.log.read_text(encoding="utf-8").splitlines()
    assert log == [
        "» grün [bold]x[/bold] 100% %s",
        "not for people »",
        "to stderr",
        "not utf-8: \ufffd",
        "green",
    ]


async def test_a_line_without_an_end_does_not_stop_the_log(desk: Desk) -> None:
    code = "print('x' * 5_000_000)\nprint('after it')\n"
    await desk.running(code + SERVES).start()
    await async_until(lambda: desk.log.exists() and "after it" in desk.log.read_text())


async def test_a_full_log_is_kept_aside_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LARGEST_LOG", 10_000)
    code = "for n in range(3000): print('line', n)\n"
    await desk.running(code + SERVES).start()
    await async_until(lambda: desk.log.exists() and "line 2999" in desk.log.read_text())
    old = desk.log.with_name("part.log.1")
    assert desk.log.stat().st_size <= 10_000
    assert 0 < old.stat().st_size <= 10_000
    assert sorted(desk.folder.glob("part.log*")) == [desk.log, old]


HAS_A_CHILD = """
import os, signal, subprocess, sys, time
STUBBORN = {stubborn}
code = "import signal, time\\n"
if STUBBORN:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
child = subprocess.Popen([sys.executable, "-c", code + "print('up', flush=True)\\ntime.sleep(60)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
open(os.environ["READY"] + ".new", "w").write(str(child.pid))
os.rename(os.environ["READY"] + ".new", os.environ["READY"])
time.sleep(60)
"""


async def test_stop_ends_grandchildren_too(desk: Desk) -> None:
    running = desk.running(HAS_A_CHILD.format(stubborn=False))
    await running.start()
    grandchild = int((desk.folder / "ready").read_text())
    assert alive(grandchild)
    await running.stop()
    await async_until(lambda: not alive(grandchild))


@pytest.mark.slow
async def test_stop_ends_those_that_ignore_it(desk: Desk) -> None:
    running = desk.running(HAS_A_CHILD.format(stubborn=True))
    await running.start()
    pid, grandchild = running.pid, int((desk.folder / "ready").read_text())
    began = time.monotonic()
    await running.stop()
    assert supervisor.GRACE - 1 < time.monotonic() - began < 60
    assert pid is not None
    await async_until(lambda: not alive(pid) and not alive(grandchild))


async def test_a_child_that_lives_on_does_not_hide_that_its_parent_was_killed(desk: Desk) -> None:
    running = desk.running(HAS_A_CHILD.format(stubborn=True))
    await running.start()
    grandchild = int((desk.folder / "ready").read_text())
    os.kill(running.pid or 0, signal.SIGKILL)
    await async_until(lambda: not alive(grandchild))
    await async_until(lambda: running.restarts == 1)


async def test_stop_does_not_wait_for_one_that_went_its_own_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = desk.running(
        HAS_A_CHILD.format(stubborn=False).replace(
            "PIPE)", "PIPE, stderr=None, start_new_session=True)"
        )
    )
    await running.start()
    grandchild = int((desk.folder / "ready").read_text())
    try:
        monkeypatch.setattr(supervisor, "GRACE", NEVER)
        began = time.monotonic()
        await running.stop()
        assert time.monotonic() - began < NEVER / 2
    finally:
        os.kill(grandchild, signal.SIGKILL)


async def test_stop_during_the_pause_before_a_new_start_starts_nothing(desk: Desk) -> None:
    running = desk.running(SERVES)
    await running.start()
    os.kill(running.pid or 0, signal.SIGKILL)
    await async_until(lambda: desk.said != [])
    await running.stop()
    await asyncio.sleep(0.5)
    assert running.restarts == 0
    assert running.pid is None


async def test_stop_twice_and_before_a_start_is_fine(desk: Desk) -> None:
    running = desk.running(SERVES)
    await running.stop()
    started = desk.running(SERVES)
    await started.start()
    await started.stop()
    await started.stop()


def test_the_children_of_a_supervisor_that_is_killed_end_too(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from askdocs.supervision.supervisor import Running, Service

async def ready():
    return os.path.exists({str(tmp_path / "ready")!r})

async def main():
    service = Service("part", [sys.executable, "-c", {SERVES!r}], Path({str(tmp_path / "log")!r}),
        ready, 20, {{"READY": {str(tmp_path / "ready")!r}}})
    running = Running(service, print, lambda: None)
    await running.start()
    print(running.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
        process.wait()
        until(lambda: not alive(pid))


def test_last_words_are_the_last_lines_that_say_something(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\n\ntwo\n  \nthree\nfour\n\n")
    assert supervisor.last_words(tmp_path / "log") == "two | three | four"
    assert supervisor.last_words(tmp_path / "log", 1) == "four"
    assert supervisor.last_words(tmp_path / "none") == "it printed nothing"
