"""A real `askdocs up` for tests: started as a user starts it, stopped as a user stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from askdocs.supervision.checks import free_port
from tests import databases

COMMAND = Path(sys.executable).with_name("askdocs")
REPO = Path(__file__).parents[2]


@dataclass
class Askdocs:
    """One running askdocs."""

    process: subprocess.Popen[str]
    home: Path
    output: Path

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments, "--home", self.home], capture_output=True, text=True, timeout=240
        )

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.cli("status", "--secrets", "--json").stdout))

    @cached_property
    def started(self) -> dict[str, Any]:
        """The status at first, for what stays as it is: the addresses and the key."""
        return self.status()

    def text(self) -> str:
        return self.output.read_text()


@contextmanager
def up(
    home: Path,
    docs: Path | str,
    *options: str,
    until: str = "\nready after",
    seconds: float = 180,
    **variables: str,
) -> Iterator[Askdocs]:
    """Start with `ASKDOCS_<NAME>` from `variables`, wait until it says so; stop with SIGINT."""
    if "database_url" not in variables:
        databases.prepare(home)
    process, output = _begun(home, docs, *options, **variables)
    began = time.monotonic()
    try:
        while until not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() - began < seconds, output.read_text()
            time.sleep(0.2)
        yield Askdocs(process, home, output)
    finally:
        _stopped(process)


def refused(home: Path, docs: Path | str, *options: str, **variables: str) -> str:
    """What a start says that ends by itself, with the exit code of an error."""
    process, output = _begun(home, docs, *options, **variables)
    try:
        assert process.wait(300) == 2, output.read_text()
    finally:
        _stopped(process)
    return output.read_text()


def _begun(
    home: Path, docs: Path | str, *options: str, **variables: str
) -> tuple[subprocess.Popen[str], Path]:
    """The process, and the file with what it says."""
    output = home.with_suffix(".out")
    ports = [str(free_port()) for _ in range(3)]
    with output.open("w") as out:
        process = subprocess.Popen(
            [
                *(COMMAND, "up", "--docs", docs, "--home", home),
                *("--gateway-port", ports[0], "--widget-port", ports[1], "--site-port", ports[2]),
                *options,
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("ASKDOCS_")},
                **{f"ASKDOCS_{name.upper()}": value for name, value in variables.items()},
            },
        )
    return process, output


def _stopped(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
