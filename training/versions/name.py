"""Names of versions: `docs@v7` is the seventh model made for the alias `docs`."""

import re
from typing import NamedTuple

from core.errors import AskdocsError

# As NAME in gateway/settings.py, but without "@", and with room for "@v" and the
# number.
ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")
_VERSION = re.compile(rf"({ALIAS.pattern})@v([1-9][0-9]{{0,8}})")


class Name(NamedTuple):
    """Sorts by alias, then by number."""

    alias: str
    number: int

    def __str__(self) -> str:
        return f"{self.alias}@v{self.number}"


def parse(text: str) -> Name:
    """The two parts of a version's name. Raises AskdocsError: it is invalid."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise AskdocsError(f"{text!r} is not the name of a version: write it as docs@v7")
    return Name(match[1], int(match[2]))


def is_version(text: str) -> bool:
    """Is it the name of a version?"""
    return _VERSION.fullmatch(text) is not None


def check_alias(text: str) -> str:
    """`text`, if it is a valid alias for versions. Raises AskdocsError."""
    if ALIAS.fullmatch(text) is None:
        raise AskdocsError(
            f"{text!r} cannot have versions: an alias begins with a letter or digit and continues "
            "with letters, digits and . _ : - (at most 80)"
        )
    return text
