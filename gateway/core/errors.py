"""Errors that a user can act on. Libraries raise them; the command line prints one line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError  # the command line starts without it


class AskdocsError(Exception):
    """What is wrong, with the value, the place and the fix, as one sentence or two."""


class SettingsError(AskdocsError):
    """A setting that is unknown, of the wrong type, or in the wrong place."""


# Problems that are told at once.
TOLD = 10


def together(problems: Sequence[str], more: str = "more like that") -> AskdocsError:
    """One error for problems of one kind, a line each; of many the first, and how many `more`."""
    lines = list(problems[:TOLD])
    if len(problems) > TOLD:
        lines.append(f"and {len(problems) - TOLD:,} {more}")
    return AskdocsError("\n".join(lines))


def first_problem(error: "ValidationError") -> tuple[str, str]:
    """Where the first problem of a file or a setting is, as keys with dots between, and what."""
    problem = error.errors()[0]
    return ".".join(map(str, problem["loc"])), problem["msg"]
