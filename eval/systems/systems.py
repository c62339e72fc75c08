"""The systems of an evaluation: methods of answering, each with the base or the tuned model."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from core.errors import AskdocsError

Role = Literal["base", "tuned", "other"]
Method = Literal[
    "closed",
    "pages",
    "rag",
    "oracle",
    "first-sentence",
    "best-overlap",
    "always-refuse",
    "recorded",
]

ROLES: tuple[Role, ...] = ("base", "tuned", "other")
METHODS: tuple[Method, ...] = ("closed", "pages", "rag", "oracle")
TRIVIAL: tuple[Method, ...] = ("first-sentence", "best-overlap", "always-refuse")
NAMES = (*(f"{role}-{method}" for method in METHODS for role in ROLES[:2]), *TRIVIAL)
OTHER = "other-rag"
"""RAG with another generator, such as a provider's; asked only if one is named."""
RECORDED: Method = "recorded"
"""Answers from a file, see recorded.py; with several systems, each adds its name."""
_RECORDED = re.compile(rf"{RECORDED}(-[a-z0-9_-]{{1,40}})?")


class System(NamedTuple):
    """A method of answering."""

    name: str
    method: Method
    role: Role | None
    """Role of its model; None: it has none."""


def parse(names: Sequence[str]) -> tuple[System, ...]:
    """The systems of these names, without duplicates, in the order of NAMES; recorded systems last.

    Raises:
        AskdocsError: a name is unknown, or there are no names.
    """
    for name in names:
        if name not in (*NAMES, OTHER) and not is_recorded(name):
            raise AskdocsError(
                f"--systems: there is no {name!r}; there are {', '.join(NAMES)}: name some of"
                " them, with commas"
            )
    if not names:
        raise AskdocsError(f"--systems: name some of {', '.join(NAMES)}, with commas")
    recorded = dict.fromkeys(name for name in names if is_recorded(name))
    return tuple(_parsed(name) for name in (*NAMES, OTHER, *recorded) if name in names)


def is_recorded(name: str) -> bool:
    return _RECORDED.fullmatch(name) is not None


def _parsed(name: str) -> System:
    if is_recorded(name):
        return System(name, RECORDED, None)
    role, _, method = name.partition("-")
    if role in ROLES:
        return System(name, cast(Method, method), role)
    return System(name, cast(Method, name), None)
