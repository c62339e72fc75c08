"""Commands in a network of their own, with what they wanted to reach: see recorder.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import starting
from tests.parts import require

RECORDER = Path(__file__).with_name("recorder.py")
ALONE = ("unshare", "--net")
NEEDED = "root, unshare and ip (Debian: util-linux, iproute2)"


def is_possible() -> bool:
    """Not without root."""
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run([*ALONE, "ip", "link", "set", "lo", "up"], check=False).returncode


def apart(report: Path, *command: str | Path) -> list[str | Path]:
    """The command that runs `command` so, and writes `report`."""
    require(is_possible(), NEEDED)
    return [*ALONE, sys.executable, RECORDER, report, *command]


def variables(home: Path) -> dict[str, str]:
    """The environment of an operator's shell, which switches off no telemetry."""
    ours = {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
    own = {name: value for name, value in os.environ.items() if name not in ours}
    own = {name: value for name, value in own.items() if not name.lower().endswith("_proxy")}
    return own | {"PYTHONPATH": str(starting.REPO), "HOME": str(home)}


def reached(report: Path) -> list[str]:
    """What the command wanted to reach beside this machine."""
    found: list[str] = json.loads(report.read_text())
    return found
