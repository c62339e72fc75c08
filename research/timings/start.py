"""The numbers of research/notebook.md about starting: clone, set-up, start, disk, memory, first
words.

    .venv/bin/python research/timings/start.py [--repo DIR] [--busy N]

Clones into an empty folder with an empty HOME and an empty package cache, as a new user has them,
and prints a Markdown table: seconds, and the seconds of CPU that every process of the start took,
which hardly depend on what else runs. Needs ports 4000, 8000 and 8080.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

REPO = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repo", default=str(REPO), help="what is cloned")
    parser.add_argument(
        "--busy", type=int, default=1, help="programs beside it that each keep a core busy"
    )
    arguments = parser.parse_args()
    beside = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)
    ]
    try:
        measure(arguments.repo)
    finally:
        for process in beside:
            process.kill()


def measure(repo: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        clone = Path(place) / "askdocs"
        home.mkdir()
        env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        began = time.monotonic()
        subprocess.run(["git", "clone", "-q", repo, clone], check=True, env=env)
        process = start(clone, env)
        row("fresh clone to ready", time.monotonic() - began)
        row("CPU of it", cpu(process))
        ask(clone, env, "How do I use my own wiki?")
        row("fresh clone to first sourced answer", time.monotonic() - began)
        memory(clone, env)
        stop(process)
        began = time.monotonic()
        process = start(clone, env)
        row("second start to ready", time.monotonic() - began)
        row("CPU of it", cpu(process))
        asked = ("How do I stop askdocs?", "Where are the logs?", "How do I use my own wiki?")
        first = [first_word(clone, env, question) for question in asked]
        row("first word (median of 3)", statistics.median(first))
        stop(process)
        for name in (".venv", ".askdocs"):
            size = subprocess.run(["du", "-sm", clone / name], capture_output=True, text=True)
            print(f"| disk, {name} | {size.stdout.split()[0]} MB |")


def start(clone: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    log = clone / "run.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=clone,
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while "\nready after" not in log.read_text():
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.1)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    process.wait(20)


def ask(clone: Path, env: dict[str, str], question: str) -> dict[str, Any]:
    command = [str(clone / ".venv/bin/askdocs"), "ask", question, "--json"]
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=True)
    answered: dict[str, Any] = json.loads(done.stdout)
    assert answered["sources"], answered
    return answered


def first_word(clone: Path, env: dict[str, str], question: str) -> float:
    return float(ask(clone, env, question)["first_token"])


def memory(clone: Path, env: dict[str, str]) -> None:
    command = [str(clone / ".venv/bin/askdocs"), "status", "--json"]
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=True)
    status = json.loads(done.stdout)
    pids = {"askdocs up": status["pid"]}
    pids |= {name: part["pid"] for name, part in status["parts"].items()}
    for name, pid in pids.items():
        print(f"| memory, {name} | {psutil.Process(pid).memory_info().rss / 2**20:.0f} MB |")


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of the process, of all below it, and of those that have ended."""
    root = psutil.Process(process.pid)
    return sum(sum(each.cpu_times()[:4]) for each in [root, *root.children(recursive=True)])


def row(what: str, seconds: float) -> None:
    print(f"| {what} | {seconds:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
