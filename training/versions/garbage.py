"""Finds what a store can delete: leftovers of interrupted writes, and a retired version."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from training.versions.local import Folder
from training.versions.manifest import MANIFEST, MEASURED, RETIRED
from training.versions.storage import VersionStorage
from training.versions.store import Store

# Younger files may belong to a write in progress.
CUT_OFF = timedelta(days=1)


@dataclass(frozen=True)
class Garbage:
    """Files to delete together."""

    what: str
    """For people: the version, or the path of the leftover."""
    bytes: int
    place: VersionStorage
    paths: tuple[str, ...]
    """Paths in the order of deletion."""


def find(store: Store, cache: Folder, name: str, now: datetime) -> Iterator[Garbage]:
    """Find what can be deleted when a version is retired.

    The version keeps its manifest and measurements, which document it and reserve its number.

    Args:
        cache: copies of versions from other stores.
        name: the version.
        now: leftovers count from a day before.
    """
    for place in (store.place, cache):
        for path, entry in sorted(place.remains().items()):
            if entry.modified < now - CUT_OFF:
                yield Garbage(path, entry.bytes, place, (path,))
    beside = (f"{name}/{folder}/" for folder in MEASURED)
    stays = (f"{name}/{MANIFEST}", f"{name}/{RETIRED}", *beside)
    files = {
        path: entry.bytes
        for path, entry in store.place.list(name).items()
        if not path.startswith(stays)
    }
    if files:
        # Delete an artefact's manifest first, so that the rest does not count as complete.
        paths = sorted(files, key=lambda path: not path.endswith(f"/{MANIFEST}"))
        yield Garbage(name, sum(files.values()), store.place, tuple(paths))
    copied = {
        path: entry.bytes for path, entry in cache.list().items() if path.startswith(f"{name}-")
    }
    if copied:
        folders = sorted({path.split("/")[0] for path in copied})
        yield Garbage(f"copies of {name} in {cache}", sum(copied.values()), cache, tuple(folders))
