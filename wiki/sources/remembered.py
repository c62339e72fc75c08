"""Records the syncs of a source in the index: its state, its failures and what was left out.

A complete sync replaces all of it. A look at a feed only adds pages without text, and pages that it
could not read, to the state.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from wiki.index.rows import StoredSource
from wiki.index.writer import Writer
from wiki.sources.excluded import KEY, excluded
from wiki.sources.synced import Synced

# Stored with a source: whether it is the configured wiki.
CONFIGURED = "configured"
# Failures of the last syncs; maximum lines of them to keep.
FAILING, SINCE, LEFT_OUT = "failing", "since", "left_out"
LINES = 100
# The state for the next sync, see `State`, with the pages at that time, and those that could not be
# read, which the source must read again.
STATE = "state"
LARGEST_STATE = 2**20
MOST_BROKEN = 1_000


@dataclass(frozen=True)
class LastState:
    """The state that the last sync left."""

    text: str
    """Empty if there is none, or if the index's pages have changed since."""
    broken: tuple[str, ...]
    """Paths that could not be read."""

    @classmethod
    def of(cls, spec: Mapping[str, Any], paths: Collection[str]) -> "LastState":
        """Reads the state from a source's specification in the index; `paths` are its pages."""
        last = spec.get(STATE, {})
        is_valid = last.get("pages") == _digest(paths, excluded(spec))
        return cls(last["text"] if is_valid else "", tuple(last.get("broken", ())))


def remember(
    writer: Writer,
    synced: Synced,
    state: str,
    before: Mapping[str, Any],
    spec: Mapping[str, Any],
) -> None:
    """Record a complete sync.

    Args:
        writer: the index, with the source's pages.
        synced: the result.
        state: the text of the source's `State`.
        before, spec: the source's specification before, and now. If it is the configured wiki, it
            replaces another one.
    """
    if spec.get(CONFIGURED):
        for stored in writer.sources():
            if stored.spec.get(CONFIGURED) and stored.name != synced.source:
                writer.remove_source(stored.name)
    noted = {key: before[key] for key in (KEY, CONFIGURED) if key in before}
    since = before.get(SINCE, {})
    noted[SINCE] = {file.path: since.get(file.path) or _now() for file in synced.broken[:LINES]}
    noted[LEFT_OUT] = {
        "reasons": synced.reasons,
        "files": [[file.path, file.why] for file in synced.left_out[:LINES]],
    }
    broken = [file.path for file in synced.broken]
    pages = writer.known(synced.source)
    if state and (made := _state(state, pages, excluded(before), broken)):
        noted[STATE] = made
    problems = tuple(f"{file.path}: {file.why}" for file in synced.broken)
    writer.put_source(StoredSource(synced.source, {**noted, **spec}, datetime.now(UTC), problems))


def remember_look(writer: Writer, synced: Synced, last: LastState, state: str) -> None:
    """Record a look at a feed, if it leaves another state than the last one.

    Args:
        writer: the index, with the source's pages.
        synced: the result of the look.
        last: the state before it.
        state: the text of its `State`.
    """
    broken = sorted({*last.broken, *(file.path for file in synced.broken)})
    for stored in writer.sources():
        if stored.name == synced.source:
            pages = writer.known(synced.source)
            made = _state(state or last.text, pages, excluded(stored.spec), broken)
            if made and made != stored.spec.get(STATE):
                writer.put_source(replace(stored, spec={**stored.spec, STATE: made}))


def note_failure(writer: Writer, name: str, why: str) -> None:
    """Record that a known source cannot be read, and since when."""
    for stored in writer.sources():
        if stored.name == name:
            since = stored.spec.get(FAILING, {}).get("since") or _now()
            failing = {"since": since, "why": why[:1000]}
            writer.put_source(replace(stored, spec={**stored.spec, FAILING: failing}))


def _state(
    text: str, paths: Collection[str], by_hand: Collection[str], broken: list[str]
) -> dict[str, Any] | None:
    """The stored form of a state; None if it is too large."""
    if len(text) > LARGEST_STATE or len(broken) > MOST_BROKEN:
        return None
    return {"text": text, "pages": _digest(paths, by_hand), "broken": broken}


def _digest(paths: Iterable[str], by_hand: Iterable[str]) -> str:
    """Identifies the pages of a state: it is invalid for an index with other pages."""
    listed = json.dumps([sorted(paths), sorted(by_hand)])
    return hashlib.sha256(listed.encode()).hexdigest()[:24]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
