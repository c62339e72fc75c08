"""Page permissions: groups of pages, and the groups of the reader.

A page has no groups (None: no rule says who may read it), or a tuple of sets of groups. A reader
needs one group of *each* set: a page of the space `hr` or `board`, restricted to `managers`, is
`({"hr", "board"}, {"managers"})`. Nobody can read a page with an empty set. So rules of several
origins (connector, front matter, settings) add up, and none can open what another one closes.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Groups = tuple[frozenset[str], ...]
"""A reader needs one group of each set; a page without sets is public."""

Right = tuple[str, str]
"""A page's address, and its groups in stored form."""
EVERY = "*"
"""In place of an address: all pages, if no page has groups."""
EVERYBODY = "everybody"
"""The group of everyone, including unknown readers."""
NOBODY: Groups = (frozenset(),)
LONGEST = 200
"""Characters of a group's name."""
MOST = 2000
"""Maximum groups of a page or a reader."""
PERSON = "person:"
"""The prefix of a group that is a single person: `person:ada@example.com`."""
PAGE = "page:"
"""Alone in a stored set, and no group: who reads the page also needs what rules ask for the file at
this path, which it includes. Without a path: the page itself has no groups."""


def group(name: str) -> str:
    """Checks a group's name, which is compared exactly; only addresses of persons are lower-cased.

    Raises ValueError: the name is invalid, or could be taken for another one: the Kelvin sign looks
    like a K, a no-break space like a space.
    """
    if not name or len(name) > LONGEST or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"{name[:60]!r} is not a valid group name: use 1 to {LONGEST} printable characters,"
            " without no-break spaces, and without spaces at the ends"
        )
    if (plain := unicodedata.normalize("NFKC", name)) != name:
        raise ValueError(
            f"{name[:60]!a} is not a valid group name: it has compatibility or decomposed"
            f" characters; the plain spelling is {plain[:60]!r}"
        )
    if name.startswith(PAGE):
        raise ValueError(f"{name[:60]!r} is not a valid group name: {PAGE} is reserved")
    return name.lower() if name.startswith(PERSON) else name


def groups_of(names: Any) -> frozenset[str]:
    """Parses groups from user input: a name, or a list of names. Raises ValueError."""
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ValueError(f"groups is {str(names)[:60]!r}: write a name or a list of names")
    if len(listed) > MOST:
        raise ValueError(f"groups has {len(listed):,} names; {MOST:,} are allowed")
    for name in listed:
        if not isinstance(name, str):
            raise ValueError(f"groups has {str(name)[:60]!r}, which is not text: put it in quotes")
    return frozenset(map(group, listed))


def person(email: str) -> str:
    """The group of one person. Raises ValueError."""
    return group(PERSON + email)


def foreign(name: Any, service: str) -> str:
    """The group for a service's group name; empty, which admits nobody, if the name is invalid.

    Names with a special meaning (`everybody`, persons) get the service's name as a prefix.
    """
    try:
        label = group(name) if isinstance(name, str) else ""
    except ValueError:
        return ""
    return f"{service}:{label}" if label == EVERYBODY or label.startswith(PERSON) else label


def simplified(every: Iterable[Iterable[str]]) -> Groups:
    """Normalises sets, so that equal requirements compare equal. Drops invalid group names, which
    only narrows access."""
    sets: set[frozenset[str]] = set()
    for some in every:
        names = set()
        for name in some:
            try:
                names.add(name if name.startswith(PAGE) else group(name))
            except ValueError:
                continue
        if EVERYBODY not in names:
            sets.add(frozenset(names))
    # A set is implied by its subsets.
    least = [needed for needed in sets if not any(other < needed for other in sets)]
    return tuple(sorted(least, key=sorted))


def both(one: Groups | None, other: Groups | None) -> Groups | None:
    """Combines the requirements of two origins."""
    if one is None and other is None:
        return None
    return simplified((*(one or ()), *(other or ())))


def including(groups: Groups | None, paths: Iterable[str]) -> Groups | None:
    """The stored requirements of a page that includes the files at `paths`."""
    named = [[PAGE + path] for path in paths]
    if not named:
        return groups
    return simplified((*(groups or ()), *named, *([[PAGE]] if groups is None else [])))


def included(groups: Groups | None) -> tuple[Groups | None, tuple[str, ...]]:
    """The inverse of `including`."""
    paths = {name[len(PAGE) :] for some in groups or () for name in some if name.startswith(PAGE)}
    if not paths:
        return groups, ()
    own = tuple(some for some in groups or () if not any(name.startswith(PAGE) for name in some))
    return (own if own or "" not in paths else None), tuple(sorted(paths - {""}))


def dump(groups: Groups | None) -> str | None:
    """The stored form of groups."""
    if groups is None:
        return None
    return json.dumps([sorted(some) for some in simplified(groups)], ensure_ascii=True)


def readable(groups: Groups) -> str:
    """Describes the access requirements of a page to people."""
    if not groups:
        return EVERYBODY
    return ", and ".join(" or ".join(sorted(some)) or "nobody" for some in groups)


def shown(groups: Groups) -> list[list[str]]:
    """The access requirements of an answer's pages, in the response format."""
    return [sorted(some) for some in groups]


def load(text: str | None) -> Groups | None:
    return None if text is None else tuple(frozenset(some) for some in json.loads(text))


@dataclass(frozen=True)
class Reader:
    """The reader's groups, for permission checks."""

    groups: frozenset[str] | None
    """None: may read everything, like a user with access to the installation's files."""

    def may_read(self, groups: Groups | None) -> bool:
        """May they read a page with these groups, which include rules and defaults?"""
        return self.groups is None or all(some & self.groups for some in groups or ())


EVERYTHING = Reader(None)
"""For internal tasks and administrators; never for a person."""
PUBLIC = Reader(frozenset())
"""An unknown reader: sees public pages only."""
