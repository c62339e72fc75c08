"""Errors that a user can act on. Libraries raise them; the command line prints one line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError  # the command line starts without it


class AskdocsError(Exception):
    """States a problem with its value, place and fix, in one or two sentences."""


class SettingsError(AskdocsError):
    """A setting that is unknown, of the wrong type, or in the wrong place."""


# Maximum problems to report at once.
TOLD = 10


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
