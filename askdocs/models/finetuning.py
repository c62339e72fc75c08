"""Runs processes in other environments, mainly training: starts them, parses output, cleans up."""

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import training
from askdocs.supervision.supervisor import end_with_parent, how, last_words, signal_group
from askdocs.terminal.stopping import held
from core.errors import AskdocsError
from training.tuning.events import Event, parse
from training.tuning.options import launch

SCRIPT = Path(training.__file__).with_name("finetune.py")
LOG = "log.txt"
# Seconds between SIGTERM and SIGKILL.
GRACE = 5.0
# Seconds between two checks of a silent process.
POLL = 0.5


def command(python: Path, job: Path, processes: int) -> list[str]:
    """The command that trains according to a job.

    Args:
        python: Python of the environment `train`.
    """
    isolated = [str(python), "-I"]
    if processes > 1:
        isolated += ["-m", "accelerate.commands.launch", *launch(processes)]
    return [*isolated, str(SCRIPT), str(job)]


def refused(python: Path, job: Path) -> list[str]:
    """Options of a job that the libraries' own classes refuse; loads no weights.

    Raises:
        AskdocsError: the check could not run.
    """
    checked = subprocess.run(
        [str(python), "-I", str(SCRIPT), "--check", str(job)], capture_output=True
    )
    events = [event for event in map(parse, checked.stdout.splitlines()) if event]
    problems = [str(event["message"]) for event in events if event["event"] == "problem"]
    if checked.returncode and not problems:
        last = checked.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise AskdocsError(f"the options could not be checked ({how(checked.returncode)}): {last}")
    return problems


def follow(
    argv: Sequence[str],
    folder: Path,
    keep: Sequence[int] = (),
    what: str = "training",
    stdin: bytes = b"",
    patience: float | None = None,
) -> Generator[Event, None, None]:
    """Run a command and yield its events as they arrive; other output goes to LOG.

    The process and its children are stopped when the generator is closed; it gets a SIGTERM when
    this process dies.

    Args:
        argv: a command that prints the events of `training.tuning.events`.
        folder: folder of the run.
        keep: descriptors to inherit, such as a lock's.
        what: name of the activity, for errors.
        stdin: its standard input, at most a few kB.
        patience: seconds after which it is terminated.

    Raises:
        AskdocsError: it reported a problem, or ended without `done`.
    """
    log = folder / LOG
    is_done = False
    problem = None
    with log.open("ab") as log_file, contextlib.ExitStack() as stack:
        with held():  # a signal in between would leave the process behind
            child = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                pass_fds=keep,
                # Ctrl-C should reach only this process, which then stops the child in order.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            stack.callback(_stop, child)
        if patience is not None:
            timer = threading.Timer(patience, child.terminate)
            timer.start()
            stack.callback(timer.cancel)
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(stdin)
            child.stdin.close()
        for line in _lines(child):
            event = parse(line)
            if event is None:
                log_file.write(line + b"\n")
                log_file.flush()
                continue
            is_done = is_done or event["event"] == "done"
            if event["event"] == "problem":
                problem = str(event.get("message", ""))
            yield event
        code = child.wait()
    if problem:
        raise AskdocsError(problem)
    if code or not is_done:
        why = "; it may have run out of memory" if code == -signal.SIGKILL else ""
        raise AskdocsError(
            f"{what} ended early ({how(code)}{why}): {last_words(log)} (all of it in {log})"
        )


def _lines(child: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Lines of its output, until the output is closed or the process is gone.

    Its children may hold the output open indefinitely.
    """
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    half = b""
    while True:
        if select.select([pipe], [], [], POLL)[0]:
            chunk = os.read(pipe, 65536)
            if not chunk:
                break
            *whole, half = (half + chunk).split(b"\n")
            yield from whole
        elif child.poll() is not None:
            break
    if half:
        yield half


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        signal_group(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    # Even if the leader is gone: its children may still be running.
    signal_group(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
