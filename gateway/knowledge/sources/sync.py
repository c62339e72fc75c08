"""Synchronises the index with the current state of a wiki.

The wiki is read first, without locking the index, and the differences are then written in one
transaction: readers of the index see the old or the new wiki, a kill at any moment leaves the old
one, and a site that takes an hour to read blocks no other writer.
"""

import hashlib
import json
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from gateway.access.rights import Groups, dump, load
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.rows import StoredSource
from gateway.knowledge.search.writer import Writer
from gateway.knowledge.sources import excluded
from gateway.knowledge.sources.services.addresses import APIS
from gateway.knowledge.sources.source import (
    Broken,
    Changed,
    Expected,
    Item,
    LeftOut,
    Regrouped,
    Source,
    State,
)

Writing = Callable[[], AbstractContextManager[Writer]]
Progress = Callable[[str, int, int | None], None]
"""Receives the current step ("reading" or "writing"), the number of pages done, and the total if
known."""

# Maximum bytes of pending pages in memory; further ones go to an unnamed file.
IN_MEMORY = 32 * 2**20
# Stored with a source: the settings of all its pages, and whether it is the configured wiki.
HOW = ("kind", "site_url")
CONFIGURED = "configured"
# Failures of the last syncs; maximum lines of them to keep.
FAILING, SINCE, LEFT_OUT = "failing", "since", "left_out"
LINES = 100
NO_ADDRESS = "says no address: write `url: https://...` into its front matter, or name --site-url"
# The state for the next sync, see `State`, with the pages at that time, and those that could not be
# read, which the source must read again.
STATE = "state"
LARGEST_STATE = 2**20
MOST_BROKEN = 1_000
# The share of equal page paths at which a folder and a folder within it count as one wiki: a
# project that was added as a whole, and by the folder of its pages.
TWINS = 0.8
# Services that take hours to read are written in batches of this many pages, or by time, so that a
# killed sync continues after them.
BATCH = 200
BATCH_SECONDS = 30.0


@dataclass(frozen=True)
class Synced:
    """The result of a sync, or of a dry run; paths in order."""

    source: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    """Pages with unchanged text; some may be `regrouped`."""
    broken: tuple[Broken, ...]
    """They keep their state in the index, or are not in it."""
    excluded: tuple[str, ...]
    """Pages of the wiki that were manually excluded from answers."""
    left_out: tuple[LeftOut, ...]
    seconds: float
    regrouped: tuple[str, ...] = ()
    """Existing pages whose readers have changed."""
    twin: str = ""
    """Another source in the index with the same pages; checked if pages were added."""

    @property
    def pages(self) -> int:
        """The number of readable pages that are not excluded."""
        return len(self.added) + len(self.changed) + self.unchanged

    @property
    def is_different(self) -> bool:
        """Did the sync change pages that answers may use?"""
        return bool(self.added or self.changed or self.removed or self.regrouped)

    @property
    def repetition(self) -> str:
        """One line that reports duplicate pages in the index, with the fix; empty if there are
        none."""
        if not self.twin:
            return ""
        return (
            f"the index has these pages as {self.twin}, too, and answers may cite both:"
            f" `askdocs docs remove {self.twin}` leaves those of {self.source}"
        )

    @property
    def reasons(self) -> dict[str, int]:
        """The number of files left out by reason, most frequent first."""
        return dict(Counter(file.why for file in self.left_out).most_common())

    @property
    def omission(self) -> str:
        """One line that reports what was left out; empty if nothing was."""
        reasons = ", ".join(f"{why} ({count:,})" for why, count in self.reasons.items())
        return f"{len(self.left_out):,} left out: {reasons}" if reasons else ""


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

    Pages of a service (`gateway.knowledge.sources.services`) are written while it is read, with
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
        return _sync(source, writing, spec, configured, dry_run, progress or _silent)
    except _Unread as error:
        if not dry_run:
            _note(writing, source.name, str(error))
        raise AskdocsError(str(error)) from None


class _Unread(AskdocsError):
    """The source could not be read."""


def _sync(
    source: Source,
    writing: Writing,
    spec: Mapping[str, Any],
    configured: bool,
    dry_run: bool,
    progress: Progress,
) -> Synced:
    began = time.monotonic()
    twin = ""
    with writing() as writer:
        before = _before(writer, source.name)
    while True:
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as waiting:
            keep = None
            if not dry_run and spec.get("kind") in APIS:
                keep = partial(_keep, writing, source.name, spec)
            result = _read(source, before, spec, waiting, progress, keep)
            if keep:
                before = replace(
                    before,
                    spec=before.spec or dict(spec) if result.stamps else before.spec,
                    stamps={**before.stamps, **result.stamps},
                    groups={**before.groups, **result.groups},
                )
            if not dry_run:
                with writing() as writer:
                    now = _before(writer, source.name)
                    if now != before:
                        before = now
                        continue
                    _write(writer, source.name, result, waiting, progress)
                    _remember(writer, result, before.spec, spec, configured)
                    twin = _twin(writer, source.name) if result.synced.added else ""
        return replace(result.synced, seconds=time.monotonic() - began, twin=twin)


@dataclass(frozen=True)
class _Before:
    """The state of a source in the index."""

    stamps: Mapping[str, str]
    groups: Mapping[str, Groups | None]
    spec: Mapping[str, Any]


def _before(writer: Writer, name: str) -> _Before:
    specs = {stored.name: stored.spec for stored in writer.sources()}
    return _Before(writer.known(name), writer.groups(name), specs.get(name, {}))


@dataclass(frozen=True)
class _SyncResult:
    synced: Synced
    waiting: int
    """The number of pages to write."""
    stamps: Mapping[str, str]
    """The stamps of the pages that were written already."""
    groups: Mapping[str, Groups | None]
    state: str


def _read(
    source: Source,
    before: _Before,
    spec: Mapping[str, Any],
    waiting: IO[bytes],
    progress: Progress,
    keep: Callable[[list[Changed | Regrouped]], None] | None = None,
) -> _SyncResult:
    had = before.stamps
    by_hand = excluded.excluded(before.spec)
    same = all(before.spec.get(key) == spec.get(key) for key in HOW)
    known = dict(had) if same else dict.fromkeys(had, "")
    last = before.spec.get(STATE, {})
    given = state = ""
    if same and last.get("pages") == _digest(had, by_hand):
        given = last["text"]
        known.update(dict.fromkeys(last["broken"], ""))
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
        for item in _items(source, known, given):
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
            guess = expected or len(had)
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
                item = Regrouped(path, item.groups, "")  # without a stamp: the next sync reads it
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
    return _SyncResult(synced, waits, stamps, groups, state)


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


def _items(source: Source, known: Mapping[str, str], state: str) -> Iterator[Item]:
    try:
        yield from source.read(known, state)
    except AskdocsError as error:
        raise _Unread(str(error)) from None


def _note(writing: Writing, name: str, why: str) -> None:
    """Record that a known source cannot be read, and since when."""
    with writing() as writer:
        for stored in writer.sources():
            if stored.name == name:
                since = stored.spec.get(FAILING, {}).get("since") or _now()
                failing = {"since": since, "why": why[:1000]}
                writer.put_source(replace(stored, spec={**stored.spec, FAILING: failing}))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _require_address(source: Source, broken: Sequence[Broken]) -> None:
    if any(file.why == NO_ADDRESS for file in broken):
        raise AskdocsError(
            f"{source.name} does not say at which address its pages are shown, which links in"
            " answers lead to: name it, --site-url URL, or write `url: https://...` into the front"
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


def _digest(paths: Iterable[str], by_hand: Iterable[str]) -> str:
    """Identifies the pages of a state: it is invalid for an index with other pages."""
    listed = json.dumps([sorted(paths), sorted(by_hand)])
    return hashlib.sha256(listed.encode()).hexdigest()[:24]


def _remember(
    writer: Writer,
    result: _SyncResult,
    before: Mapping[str, Any],
    spec: Mapping[str, Any],
    configured: bool,
) -> None:
    synced = result.synced
    if configured:
        for stored in writer.sources():
            if stored.spec.get(CONFIGURED) and stored.name != synced.source:
                writer.remove_source(stored.name)
        spec = {**spec, CONFIGURED: True}
    noted = {key: before[key] for key in (excluded.KEY, CONFIGURED) if key in before}
    since = before.get(SINCE, {})
    noted[SINCE] = {file.path: since.get(file.path) or _now() for file in synced.broken[:LINES]}
    noted[LEFT_OUT] = {
        "reasons": synced.reasons,
        "files": [[file.path, file.why] for file in synced.left_out[:LINES]],
    }
    broken = [file.path for file in synced.broken]
    if result.state and len(result.state) <= LARGEST_STATE and len(broken) <= MOST_BROKEN:
        pages = _digest(writer.known(synced.source), excluded.excluded(before))
        noted[STATE] = {"text": result.state, "pages": pages, "broken": broken}
    problems = tuple(f"{file.path}: {file.why}" for file in synced.broken)
    writer.put_source(StoredSource(synced.source, {**noted, **spec}, datetime.now(UTC), problems))


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
