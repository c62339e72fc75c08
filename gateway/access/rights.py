"""Page permissions: groups of pages, and the groups of the reader.

A page has no groups (None: nothing says who may read it), or a tuple of sets of groups. Whoever
reads it needs one group of *each* set: a page of the space `hr` or `board`, restricted to
`managers`, is `({"hr", "board"}, {"managers"})`. A set without groups is for nobody. So rules of
several origins (connector, front matter, settings) add up, and none can open what another one
closes.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Groups = tuple[frozenset[str], ...]
"""One group of each set is needed; no set at all is for everybody."""

Right = tuple[str, str]
"""The address of a page, and its groups as they are stored."""
EVERY = "*"
"""In place of an address: all pages, where no page has groups."""
EVERYBODY = "everybody"
"""The group that everyone is in, also who is not known."""
NOBODY: Groups = (frozenset(),)
LONGEST = 200
"""Characters of a group's name."""
MOST = 2000
"""Groups of a page, or of whoever asks."""
PERSON = "person:"
"""What the name of a group begins with that is one person: `person:ada@example.com`."""


def group(name: str) -> str:
    """A group's name in the one form in which names are compared.

    Capitals count. Raises ValueError: it is no name.
    """
    normalized = unicodedata.normalize("NFC", name).strip()
    if not normalized or len(normalized) > LONGEST or not normalized.isprintable():
        raise ValueError(
            f"{name[:60]!r} is no name of a group: 1 to {LONGEST} printable characters"
        )
    if not normalized.startswith(PERSON):
        return normalized
    # The Kelvin sign is compared as a k, and would make of one address that of somebody else.
    if any(not character.isascii() and _compared(character).isascii() for character in name):
        raise ValueError(f"{name[:60]!r} is nobody's: one of its characters is compared as another")
    return normalized.lower()


def _compared(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def groups_of(names: Any) -> frozenset[str]:
    """The groups that a person wrote down: a name, or a list of names. Raises ValueError."""
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError(f"groups is {str(names)[:60]!r}: write a name or a list of names")
    if len(listed) > MOST:
        raise ValueError(f"groups has {len(listed):,} names; {MOST:,} are allowed")
    for name in listed:
        if not isinstance(name, str):
            raise ValueError(f"groups has {str(name)[:60]!r}, which is no text: put it in quotes")
    return frozenset(map(group, listed))


def person(email: str) -> str:
    """The group of one person. Raises ValueError."""
    return group(PERSON + email.strip())


def foreign(name: Any, service: str) -> str:
    """The group that a service names; empty, which lets nobody in, where it is no name.

    A name that has a meaning here, `everybody` or one person, gets the service's name in front.
    """
    try:
        label = group(name) if isinstance(name, str) else ""
    except ValueError:
        return ""
    return f"{service}:{label}" if label == EVERYBODY or label.startswith(PERSON) else label


def simplified(every: Iterable[Iterable[str]]) -> Groups:
    """Sets that ask for the same always compare equal; what is no name of a group is dropped, which
    lets in fewer."""
    sets: set[frozenset[str]] = set()
    for some in every:
        names = set()
        for name in some:
            try:
                names.add(group(name))
            except ValueError:
                continue
        if EVERYBODY not in names:
            sets.add(frozenset(names))
    # A set is met when a smaller one is.
    least = [needed for needed in sets if not any(other < needed for other in sets)]
    return tuple(sorted(least, key=sorted))


def both(one: Groups | None, other: Groups | None) -> Groups | None:
    """What two origins ask for together."""
    if one is None and other is None:
        return None
    return simplified((*(one or ()), *(other or ())))


def dump(groups: Groups | None) -> str | None:
    """As it is stored."""
    if groups is None:
        return None
    return json.dumps([sorted(some) for some in simplified(groups)], ensure_ascii=True)


def readable(groups: Groups) -> str:
    """For people: what it takes to read a page."""
    if not groups:
        return EVERYBODY
    return ", and ".join(" or ".join(sorted(some)) or "nobody" for some in groups)


def shown(groups: Groups) -> list[list[str]]:
    """As an answer says what it takes to read the pages that it stands on."""
    return [sorted(some) for some in groups]


def load(text: str | None) -> Groups | None:
    return None if text is None else tuple(frozenset(some) for some in json.loads(text))


@dataclass(frozen=True)
class Reader:
    """Who asks, as far as rights go."""

    groups: frozenset[str] | None
    """None: may read everything, as whoever may read the files of the installation does."""

    def may_read(self, groups: Groups | None) -> bool:
        """May they read a page with these groups, rules and defaults included?"""
        return self.groups is None or all(some & self.groups for some in groups or ())


EVERYTHING = Reader(None)
"""For the machine's own work and its administrators; never for a person."""
PUBLIC = Reader(frozenset())
"""Somebody who is not known: what is for everybody."""
