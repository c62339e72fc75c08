"""Synchronises the index with the current state of a wiki.

The wiki is read first, without locking the index, and the differences are then written in one
transaction: readers of the index see the old or the new wiki, a kill at any moment leaves the old
one, and a site that takes an hour to read blocks no other writer.
"""

import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from core.errors import AskdocsError
from wiki.index.rows import StoredSource
from wiki.index.writer import Writer
from wiki.rights import Groups, both, dump, included, load
from wiki.sources.excluded import excluded
from wiki.sources.remembered import (
    CONFIGURED,
    LastState,
    note_failure,
    remember,
    remember_look,
)
from wiki.sources.services.addresses import APIS
from wiki.sources.source import (
    Broken,
    Changed,
    Expected,
    Followed,
    Item,
    LeftOut,
    Regrouped,
    Source,
    State,
)
from wiki.sources.synced import Synced

Writing = Callable[[], AbstractContextManager[Writer]]
Progress = Callable[[str, int, int | None], None]
"""Receives the current step ("reading" or "writing"), the number of pages done, and the total if
known."""

# Maximum bytes of pending pages in memory; further ones go to an unnamed file.
IN_MEMORY = 32 * 2**20
# Stored with a source: the settings of all its pages.
HOW = ("kind", "site_url")
NO_ADDRESS = "has no address: write `url: https://...` into its front matter, or add --site-url"
# The share of equal page paths at which a folder and a folder within it count as one wiki: a
# project that was added as a whole, and by the folder of its pages.
TWINS = 0.8
# Services that take hours to read are written in batches of this many pages, or by time, so that a
# killed sync continues after them.
BATCH = 200
BATCH_SECONDS = 30.0


def sync(
    source: Source,
    writing: Writing,
    *,
    spec: Mapping[str, Any],
    configured: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Synced:
    """Read `source`, and write the differences to the index.

    Syncs of the same wiki may run concurrently: if another one was faster, a sync compares again.

    Pages of a service (`wiki.sources.services`) are written while it is read, with
    their stamps, so that a sync that is killed, or loses its token, continues after them. Deleted
    pages are removed at the end.

    Args:
        source: the source to read.
        writing: opens the index.
        spec: the specification to sync the source again, stored with it. If it differs from the
            previous one, every page is read again.
        configured: it is the wiki in the settings; a previously configured one is removed.
        dry_run: only report the changes.
        progress: see `Progress`.

    Raises:
        AskdocsError: the source does not exist or has no page, or the index cannot be written. The
            index is unchanged.
    """
    try:
        return _sync(source, writing, spec, dry_run, progress or _silent, configured=configured)
    except _Unread as error:
        if not dry_run:
            with writing() as writer:
                note_failure(writer, source.name, str(error))
        raise AskdocsError(str(error)) from None


def look(
    source: Followed,
    writing: Writing,
    *,
    spec: Mapping[str, Any],
    progress: Progress | None = None,
) -> Synced:
    """Read what the source's feed shows as edited, and write it to the index.

    Nothing counts as deleted that the feed does not show, and nothing is written if nothing was
    edited. Does nothing before the first complete `sync`, or if `spec` differs from its. A page
    that cannot be read is left to the next complete sync.

    Args:
        source, writing, spec, progress: as for `sync`.

    Raises:
        AskdocsError: the feed cannot be read, or the index cannot be written.
    """
    return _sync(source, writing, spec, False, progress or _silent, followed=source)


class _Unread(AskdocsError):
    """The source could not be read."""


def _sync(
    source: Source,
    writing: Writing,
    spec: Mapping[str, Any],
    dry_run: bool,
    progress: Progress,
    *,
    configured: bool = False,
    followed: Followed | None = None,
) -> Synced:
    """With `followed`, read only its feed."""
    began = time.monotonic()
    twin = ""
    with writing() as writer:
        before = _before(writer, source.name)
    if followed and not (before.is_synced and _is_same(before.spec, spec)):
        return Synced(source.name, (), (), (), len(before.stamps), (), (), (), 0)
    while True:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as waiting:
            keep = None
            if not dry_run and spec.get("kind") in APIS:
                keep = partial(_keep, writing, source.name, spec)
            result = _read(source, before, spec, waiting, progress, keep, followed)
            if keep:
                before = replace(
                    before,
                    spec=before.spec or dict(spec) if result.stamps else before.spec,
                    stamps={**before.stamps, **result.stamps},
                    groups={**before.groups, **result.groups},
                )
            if not dry_run and not (followed and result.is_nothing):
                with writing() as writer:
                    now = _before(writer, source.name)
                    if now != before:
                        before = now
                        continue
                    _write(writer, source.name, result, waiting, progress)
                    if followed:
                        remember_look(writer, result.synced, result.last, result.state)
                    else:
                        stored = {**spec, CONFIGURED: True} if configured else spec
                        remember(writer, result.synced, result.state, before.spec, stored)
                        twin = _twin(writer, source.name) if result.synced.added else ""
        return replace(result.synced, seconds=time.monotonic() - began, twin=twin)


@dataclass(frozen=True)
class _Before:
    """The state of a source in the index."""

    stamps: Mapping[str, str]
    groups: Mapping[str, Groups | None]
    spec: Mapping[str, Any]
    is_synced: bool


def _before(writer: Writer, name: str) -> _Before:
    stored = next((stored for stored in writer.sources() if stored.name == name), None)
    spec = stored.spec if stored else {}
    is_synced = stored is not None and stored.synced is not None
    return _Before(writer.known(name), writer.groups(name), spec, is_synced)


def _is_same(before: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Are the pages read with the same settings?"""
    return all(before.get(key) == spec.get(key) for key in HOW)


@dataclass(frozen=True)
class _SyncResult:
    synced: Synced
    waiting: int
    """The number of pages to write."""
    stamps: Mapping[str, str]
    """The stamps of the pages that were written already."""
    groups: Mapping[str, Groups | None]
    last: LastState
    """The state before this sync."""
    state: str

    @property
    def is_nothing(self) -> bool:
        """Is there nothing to write after a look at a feed?"""
        is_read = self.waiting or self.stamps or self.synced.removed or self.synced.broken
        return not is_read and self.state in ("", self.last.text)


def _read(
    source: Source,
    before: _Before,
    spec: Mapping[str, Any],
    waiting: IO[bytes],
    progress: Progress,
    keep: Callable[[list[Changed | Regrouped]], None] | None = None,
    followed: Followed | None = None,
) -> _SyncResult:
    had = before.stamps
    by_hand = excluded(before.spec)
    same = _is_same(before.spec, spec)
    known = dict(had) if same else dict.fromkeys(had, "")
    last = LastState.of(before.spec, had)
    given = last.text if same else ""
    state = ""
    if followed:
        items = followed.recent(known, given, {*by_hand, *last.broken})
    else:
        if given:
            known.update(dict.fromkeys(last.broken, ""))
        items = source.read(known, given)
    added: list[str] = []
    changed: list[str] = []
    skipped: list[str] = []
    broken: list[Broken] = []
    left_out: list[LeftOut] = []
    regrouped: list[str] = []
    unchanged = waits = expected = 0
    seen: set[str] = set()
    batch: list[Changed | Regrouped] = []
    stamps: dict[str, str] = {}
    groups: dict[str, Groups | None] = {}
    written = time.monotonic()
    try:
        for item in _items(items):
            if isinstance(item, State):
                state = item.text
                continue
            if isinstance(item, LeftOut):
                left_out.append(item)
                continue
            if isinstance(item, Expected):
                expected = item.pages
                continue
            path = item.page.path if isinstance(item, Changed) else item.path
            seen.add(path)
            guess = 0 if followed else expected or len(had)
            progress("reading", len(seen), max(len(seen), guess) if guess else None)
            if path in by_hand:
                skipped.append(path)
                continue
            if isinstance(item, Changed) and not urlsplit(item.page.url).scheme:
                item = Broken(path, NO_ADDRESS, item.groups)
            if isinstance(item, Broken):
                broken.append(item)
                if item.groups is None or path not in had:
                    continue
                stored = before.groups.get(path)
                needed: Groups | None = item.groups
                if included(stored)[1]:
                    needed = both(needed, stored)  # its earlier text stays, with what it includes
                item = Regrouped(path, needed, "")  # without a stamp: the next sync reads it
            elif isinstance(item, Changed):
                (changed if path in had else added).append(path)
            else:
                unchanged += 1
            if isinstance(item, Changed | Regrouped):
                if path in had and load(dump(item.groups)) != before.groups.get(path):
                    regrouped.append(path)
                if keep is None:
                    waits += 1
                    pickle.dump(item, waiting)
                    continue
                batch.append(item)
                stamps[path] = item.stamp
                groups[path] = load(dump(item.groups))
                if len(batch) >= BATCH or time.monotonic() - written > BATCH_SECONDS:
                    keep(batch)
                    batch, written = [], time.monotonic()
    except AskdocsError:
        if keep and batch:
            keep(batch)
        raise
    if keep and batch:
        keep(batch)
    if followed:
        removed = sorted(had.keys() & {file.path for file in left_out})
        unchanged = len(had.keys() - {*changed, *removed, *(file.path for file in broken)})
    else:
        if given:  # the source did not get them, so unchanged pages are not among the items
            skipped = [*by_hand]
        if not (added or changed or unchanged or skipped):
            _require_address(source, broken)
        # Only now: a source that breaks off has raised, and nothing of it is deleted.
        removed = sorted(had.keys() - seen)
    synced = Synced(
        source=source.name,
        added=tuple(sorted(added)),
        changed=tuple(sorted(changed)),
        removed=tuple(removed),
        unchanged=unchanged,
        broken=tuple(sorted(broken, key=lambda file: file.path)),
        excluded=tuple(sorted(skipped)),
        left_out=tuple(sorted(left_out, key=lambda file: file.path)),
        seconds=0,
        regrouped=tuple(sorted(regrouped)),
    )
    return _SyncResult(synced, waits, stamps, groups, last, state)


def _keep(
    writing: Writing, name: str, spec: Mapping[str, Any], batch: list[Changed | Regrouped]
) -> None:
    """Write the pages read so far; the source is not synced yet."""
    with writing() as writer:
        if not any(stored.name == name for stored in writer.sources()):
            writer.put_source(StoredSource(name, spec, None, ()))
        for item in batch:
            _put(writer, name, item)


def _put(writer: Writer, name: str, item: Changed | Regrouped) -> None:
    if isinstance(item, Changed):
        writer.put(name, item.page, item.stamp, item.groups)
    else:
        writer.regroup(name, item.path, item.groups, item.stamp)


def _items(items: Iterator[Item]) -> Iterator[Item]:
    try:
        yield from items
    except AskdocsError as error:
        raise _Unread(str(error)) from None


def _require_address(source: Source, broken: Sequence[Broken]) -> None:
    if any(file.why == NO_ADDRESS for file in broken):
        raise AskdocsError(
            f"{source.name} does not give the public address of its pages, which links in answers "
            "need: add --site-url URL, or write `url: https://...` into the front"
            " matter of pages"
        )


def _write(
    writer: Writer, name: str, result: _SyncResult, waiting: IO[bytes], progress: Progress
) -> None:
    for path in result.synced.removed:  # first: a moved page reuses its vectors
        writer.remove(name, path)
    for number, item in enumerate(_waiting(waiting, result.waiting), start=1):
        _put(writer, name, item)
        progress("writing", number, result.waiting)


def _twin(writer: Writer, name: str) -> str:
    mine = writer.known(name).keys()
    for other in writer.sources():
        if _is_within(name, other.name) or _is_within(other.name, name):
            theirs = writer.known(other.name).keys()
            if len(mine & theirs) >= TWINS * len(mine | theirs):
                return other.name
    return ""


def _is_within(name: str, other: str) -> bool:
    return name.startswith(other.rstrip("/") + "/") and name != other


def _waiting(file: IO[bytes], count: int) -> Iterator[Changed | Regrouped]:
    file.seek(0)
    for _ in range(count):
        yield pickle.load(file)  # noqa: S301 -- written above, to a file without a name


def _silent(step: str, done: int, total: int | None) -> None:
    pass
