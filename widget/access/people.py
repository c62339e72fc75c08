"""The groups of a verified person, from the sign-in and from a directory file."""

import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from core.errors import AskdocsError, RareWarning
from wiki.rights import MOST, PERSON, groups_of, person

log = logging.getLogger(__name__)

FRESH = 10.0  # seconds between checks of the file


class People:
    """Looks up people's groups. Thread-safe."""

    def __init__(self, file: Path | None) -> None:
        """`file`: JSON with e-mail addresses by group: {"hr": ["ada@example.com"]}; reloaded when
        it changes. Raises AskdocsError: it cannot be read."""
        self._file = file
        self._ignored = RareWarning(__name__)
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._of: dict[str, frozenset[str]] = {}
        if file is not None:
            self._read(file)

    @property
    def has_file(self) -> bool:
        return self._file is not None

    def known(self) -> list[str]:
        """The people in the file."""
        return sorted(name.removeprefix(PERSON) for name in self._of)

    def groups(self, name: str, claimed: Iterable[object] = ()) -> frozenset[str]:
        """A person's groups: those that the sign-in `claimed`, those in the file, and the person's
        own.

        Invalid group names are logged and ignored, which grants less access.
        """
        groups: set[str] = set()
        for name_list in [*claimed][:MOST]:
            if isinstance(name_list, str) and name_list:
                try:
                    groups |= groups_of(name_list)
                except ValueError as error:
                    self._ignored.warn("a group of the sign-in is ignored: %s", error)
        # A claimed group must not impersonate another person.
        groups = {group for group in groups if not group.startswith(PERSON)}
        try:
            own = person(name)
        except ValueError:
            return frozenset(groups)
        self._renew()
        return frozenset(groups) | {own} | self._of.get(own, frozenset())

    def _renew(self) -> None:
        if self._file is None or time.monotonic() < self._looked + FRESH:
            return
        try:
            self._read(self._file)
        except AskdocsError as error:
            # Fail closed: no groups until the file can be read again.
            log.error("%s; until then it has no groups", error)
            self._of, self._stamp = {}, None

    def _read(self, file: Path) -> None:
        self._looked = time.monotonic()
        try:
            about = os.stat(file)
            if self._stamp == (about.st_mtime_ns, about.st_size):
                return
            listed = json.loads(file.read_text(encoding="utf-8"))
            of: dict[str, set[str]] = {}
            if not isinstance(listed, dict):
                raise ValueError("it is not an object")
            for name, people in listed.items():
                if not isinstance(people, list) or not all(
                    isinstance(member, str) for member in people
                ):
                    raise ValueError(f"{name!r} has no list of e-mail addresses")
                for member in people:
                    of.setdefault(person(member), set()).update(groups_of(name))
        except (OSError, ValueError) as error:
            raise AskdocsError(
                f"{file}: groups cannot be read ({error}): write JSON, e-mail addresses by group,"
                ' {"hr": ["ada@example.com"]}'
            ) from None
        self._of = {member_name: frozenset(groups) for member_name, groups in of.items()}
        self._stamp = about.st_mtime_ns, about.st_size
