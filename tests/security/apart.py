"""Commands in a network of their own, with what they wanted to reach: see recorder.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import starting
from tests.parts import require

RECORDER = Path(__file__).with_name("recorder.py")


def apart(report: Path, *command: str | Path) -> list[str | Path]:
    """The command that runs `command` so, and writes `report`."""
    alone = ("unshare", "--net")
    tried = subprocess.run([*alone, "ip", "link", "set", "lo", "up"], check=False)
    require(tried.returncode == 0, "root, unshare and ip (Debian: util-linux, iproute2)")
    return [*alone, sys.executable, RECORDER, report, *command]


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
