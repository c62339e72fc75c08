"""Finds files that a store can delete: leftovers of interrupted writes, and retired versions."""

from collections.abc import Collection, Iterator
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
    why: str
    bytes: int
    place: VersionStorage
    paths: tuple[str, ...]
    """Paths in the order of deletion."""


def find(
    store: Store, cache: Folder, used: Collection[str], now: datetime, days: int
) -> Iterator[Garbage]:
    """Find what can be deleted.

    A retired version keeps its manifest and measurements, which document it and reserve its number.

    Args:
        cache: copies of versions from other stores.
        used: versions to keep completely, even if retired.
        days: minimum days since a version was retired.
    """
    for place in (store.place, cache):
        for path, entry in sorted(place.remains().items()):
            if entry.modified < now - CUT_OFF:
                yield Garbage(path, "an interrupted write", entry.bytes, place, (path,))
    copies = cache.list()
    for name in store.names():
        retired = store.retired(name)
        if retired is None or retired > now - timedelta(days=days) or name in used:
            continue
        why = f"retired on {retired:%Y-%m-%d}"
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
            yield Garbage(name, why, sum(files.values()), store.place, tuple(paths))
        copied = {
            path: copied_entry.bytes
            for path, copied_entry in copies.items()
            if path.startswith(f"{name}-")
        }
        if copied:
            folders = sorted({path.split("/")[0] for path in copied})
            what = f"copies of {name} in {cache}"
            yield Garbage(what, why, sum(copied.values()), cache, tuple(folders))
