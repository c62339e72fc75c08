"""compose.yaml without containers: its processes start, answer, keep, limit, and come back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.composed import alone, compose
from tests.end_to_end.running import REPO

# Most of it is the start of five Pythons, which takes minutes where much else runs.
SECONDS = 900
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

INSIDE = Path(__file__).with_name("compose_inside.py")


def test_what_compose_describes_does_its_work() -> None:
    """Each step is a test in compose_inside.py."""
    compose()
    command = alone(
        *(sys.executable, "-m", "pytest", INSIDE, "--exitfirst", "-rA", "--durations=0"),
        *("-p", "no:cacheprovider", "-o", f"timeout={SECONDS - 60}"),
    )
    ours = ("ASKDOCS_", "PYTEST_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command,
        cwd=REPO,
        env=clean,
        capture_output=True,
        text=True,
        timeout=SECONDS - 30,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
