"""Usage: requests and tokens, by key, team, alias, model and day.

Each worker adds up in memory and writes once a second, so that requests do not wait for a database.
Unwritten usage is also in files (`gateway/telemetry/usage_journal.py`), so that a kill -9 loses
nothing.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.access.keys import Key, key_table
from gateway.core import threads
from gateway.storage.database import Unreachable, Utc, adding, metadata, reading, writing
from gateway.telemetry.names import storable
from gateway.telemetry.usage_journal import UsageJournal, UsageRecord

log = logging.getLogger("askdocs.gateway")

INTERVAL = 1.0  # seconds between writes, and between reads of a key's month
RECOVERY = 10.0  # seconds between checks for files of dead workers
SEGMENT_MEMORY = timedelta(days=30)  # to remember a segment whose file may still exist
DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()

usage_table = sa.Table(
    "usage",
    metadata,
    sa.Column("key_id", sa.String(32), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("team", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Index("usage_day", "day"),
)
# The journal segments that are already in `usage`.
segment_table = sa.Table(
    "usage_segments",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("at", Utc, nullable=False),
)
COUNTS = ("requests", "prompt_tokens", "completion_tokens")
# Possible groupings of a report.
GROUPS = ("key", "team", "alias", "model", "day")


class _What(NamedTuple):
    """The key of a sum; a tuple, because one is created per request."""

    key_id: str
    day: int
    """Days since 1970-01-01, UTC."""
    team: str
    alias: str
    model: str


class _Month(NamedTuple):
    first: date
    read: float
    tokens: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row of a report."""

    group: dict[str, str]
    """A value for each of `by`. A key has its name and also its ID."""
    requests: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Usage:
    """The usage of one worker, on its way to the database."""

    def __init__(self, engine: sa.Engine, journal: UsageJournal | None = None) -> None:
        """Without a journal, a kill -9 loses the last second's usage."""
        self._engine = engine
        self._journal = journal
        self._segments: list[str] = []
        self._dropped: list[str] = []
        self._added: dict[_What, list[int]] = {}
        self._writing: dict[_What, list[int]] = {}
        self._months: dict[str, _Month] = {}
        self._failing = False
        self.failures = 0
        """Failed writes to the database; their content is part of the next write."""
        # A read of a month happens before or after a write, never during it: so it is known whether
        # it includes the written usage.
        self._turn = asyncio.Lock()

    def add(
        self, key: Key, alias: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Count one request."""
        # A plain tuple equals the named one, and is created in a tenth of the time.
        what = (key.id, int(time.time()) // DAY, key.team, alias, model)
        counts = self._added.get(what)  # type: ignore[call-overload]
        if counts is None:
            counts = self._added[_What(*what)] = [0, 0, 0]
        counts[0] += 1
        counts[1] += prompt_tokens
        counts[2] += completion_tokens
        if self._journal is not None:
            self._journal.add(UsageRecord(*what, prompt_tokens, completion_tokens))

    async def run(self) -> None:
        """Write every second until cancelled, and a last time then."""
        writing: asyncio.Task[None] | None = None
        looked = -RECOVERY
        try:
            while True:
                await asyncio.sleep(INTERVAL)
                writing = asyncio.create_task(self.flush())
                await asyncio.shield(writing)
                if time.monotonic() - looked > RECOVERY:
                    looked = time.monotonic()
                    writing = asyncio.create_task(self.recover())
                    await asyncio.shield(writing)
        except asyncio.CancelledError:
            if writing is not None and not writing.done():
                await writing
            await self.flush()
            left = [*self._writing.values(), *self._added.values()]
            if left and self._journal is None:
                count = sum(counts[0] for counts in left)
                log.error("the usage of %d requests is lost: the database is unavailable", count)
            if self._journal is not None:
                self._journal.close()
            raise

    async def flush(self) -> None:
        """Write the usage added so far. On failure, it is kept for the next flush."""
        async with self._turn:
            for _ in range(2):  # earlier failures, then new usage
                if not self._writing:
                    self._writing, self._added = self._added, {}
                    self._segments = self._journal.seal() if self._journal else []
                if not self._writing or not await self._flush():
                    return

    async def _flush(self) -> bool:
        """Returns whether the write succeeded."""
        try:
            await threads.database(self._write, self._writing, self._segments)
        except Unreachable as error:
            if not self._failing:
                log.warning("usage waits until the database is back: %s", error)
            self._failing = True
            self.failures += 1
            return False
        if self._failing:
            log.warning("the database is back: usage is written again")
        self._failing = False
        self._remember(self._writing)
        if self._journal is not None:
            self._journal.drop(self._segments)
        self._dropped, self._segments, self._writing = self._segments, [], {}
        return True

    async def recover(self) -> None:
        """Write the usage of killed workers. If the database is unavailable, the next call
        retries."""
        if self._journal is None:
            return
        for worker in self._journal.orphans():
            try:
                count = await threads.database(self._take_over, self._journal, worker)
            except (Unreachable, OSError) as error:
                log.warning("the usage of a dead worker will be written later: %s", error)
                return
            if count:
                log.warning("the usage of %d requests of a dead worker is written", count)

    async def month(self, key_id: str) -> int:
        """The tokens that a key used in this calendar month, UTC: of all workers, as of a second
        ago, plus this worker's unwritten ones.

        Raises Unreachable: the database is unavailable, and this key and month have never been
        read.
        """
        first = datetime.now(UTC).date().replace(day=1)
        known = self._known(key_id, first)
        if known is None:
            async with self._turn:
                known = self._known(key_id, first) or await self._read(key_id, first)
        since = first.toordinal() - EPOCH
        unwritten = sum(
            counts[1] + counts[2]
            for pending in (self._writing, self._added)
            for what, counts in pending.items()
            if what[0] == key_id and what[1] >= since
        )
        return known.tokens + unwritten

    def _known(self, key_id: str, first: date) -> _Month | None:
        """The value read within INTERVAL, or earlier if the database is unavailable."""
        known = self._months.get(key_id)
        if known is None or known.first != first:
            return None
        recent = time.monotonic() - known.read <= INTERVAL
        return known if recent or self._failing else None

    async def _read(self, key_id: str, first: date) -> _Month:
        read = time.monotonic()
        try:
            tokens = await threads.database(self._tokens, key_id, first)
        except Unreachable:
            old = self._months.get(key_id)
            if old is None or old.first != first:
                raise
            tokens = old.tokens
        known = self._months[key_id] = _Month(first, read, tokens)
        return known

    def _tokens(self, key_id: str, first: date) -> int:
        c = usage_table.c
        total = sa.func.coalesce(sa.func.sum(c.prompt_tokens + c.completion_tokens), 0)
        with reading(self._engine) as connection:
            where = (c.key_id == key_id, c.day >= first)
            return int(connection.execute(sa.select(total).where(*where)).scalar_one())

    def _write(self, pending: dict[_What, list[int]], segments: Sequence[str]) -> None:
        with writing(self._engine) as connection:
            # A write that failed at the very end may have been committed.
            if not (segments and _noted(connection, segments)):
                connection.execute(adding(connection, usage_table, COUNTS), _rows(pending))
                _note(connection, segments)
            if self._dropped:  # their files no longer exist
                dropped = segment_table.c.name.in_(self._dropped)
                connection.execute(segment_table.delete().where(dropped))

    def _take_over(self, journal: UsageJournal, worker: str) -> int:
        """Write a dead worker's usage; returns its number of requests."""
        pending: dict[_What, list[int]] = {}
        with journal.left_by(worker) as segments:
            if not segments:
                return 0
            with writing(self._engine) as connection:
                old = datetime.now(UTC) - SEGMENT_MEMORY
                connection.execute(segment_table.delete().where(segment_table.c.at < old))
                noted = _noted(connection, [segment.name for segment in segments])
                fresh = [segment for segment in segments if segment.name not in noted]
                for segment in fresh:
                    for line in segment.lines:
                        _increase(pending, _What(*line[:5]), [1, *line[5:]])
                if pending:
                    connection.execute(adding(connection, usage_table, COUNTS), _rows(pending))
                    _note(connection, [segment.name for segment in fresh])
        return sum(counts[0] for counts in pending.values())

    def _remember(self, written: dict[_What, list[int]]) -> None:
        """Add the written usage to the cached months, which do not include it."""
        for what, counts in written.items():
            known = self._months.get(what.key_id)
            if known is not None and what.day >= known.first.toordinal() - EPOCH:
                tokens = known.tokens + counts[1] + counts[2]
                self._months[what.key_id] = known._replace(tokens=tokens)


def report(
    engine: sa.Engine,
    by: Sequence[str] = ("key",),
    since: date | None = None,
    until: date | None = None,
) -> list[UsageRow]:
    """Usage from `since` to `until`, inclusive, summed by any of GROUPS.

    Sorted by tokens, descending; by time if a day is among `by`. Raises Unreachable.
    """
    c = usage_table.c
    columns: dict[str, Any] = {}
    for name in by:
        if name == "key":
            columns["key"] = sa.func.coalesce(key_table.c.name, c.key_id)
            columns["key_id"] = c.key_id
        else:
            columns[name] = c[name]
    counts = [sa.func.sum(c[name]).label(name) for name in COUNTS]
    query = (
        sa.select(*(column.label(name) for name, column in columns.items()), *counts)
        .select_from(usage_table.outerjoin(key_table, key_table.c.id == c.key_id))
        .group_by(*columns.values())
    )
    if since is not None:
        query = query.where(c.day >= since)
    if until is not None:
        query = query.where(c.day <= until)
    with reading(engine) as connection:
        rows = [
            UsageRow(
                {name: str(value) for name, value in zip(columns, row[:-3], strict=True)},
                *(int(count) for count in row[-3:]),
            )
            for row in connection.execute(query)
        ]
    return sorted(rows, key=lambda r: (r.group.get("day", ""), -r.tokens, *r.group.values()))


def last_used(engine: sa.Engine) -> dict[str, date]:
    """The last day on which each key was used, by ID. Raises Unreachable."""
    query = sa.select(usage_table.c.key_id, sa.func.max(usage_table.c.day).label("day")).group_by(
        "key_id"
    )
    with reading(engine) as connection:
        return {row.key_id: row.day for row in connection.execute(query)}


def _rows(pending: dict[_What, list[int]]) -> list[dict[str, Any]]:
    """The rows to write, with storable names: an invalid one must not block the others."""
    clean: dict[_What, list[int]] = {}
    for (key, day, *names), counts in pending.items():
        _increase(clean, _What(storable(key), day, *map(storable, names)), counts)
    return [
        what._asdict()
        | {"day": date.fromordinal(EPOCH + what.day)}
        | dict(zip(COUNTS, counts, strict=True))
        # The same order in every worker, to prevent deadlocks.
        for what, counts in sorted(clean.items())
    ]


def _noted(connection: sa.Connection, segments: Sequence[str]) -> set[str]:
    """The segments that are already in the database."""
    known = sa.select(segment_table.c.name).where(segment_table.c.name.in_(segments))
    return set(connection.scalars(known))


def _note(connection: sa.Connection, segments: Sequence[str]) -> None:
    """Record these segments, within the transaction that adds them."""
    if segments:
        now = datetime.now(UTC)
        rows = [{"name": name, "at": now} for name in segments]
        connection.execute(segment_table.insert(), rows)


def _increase(counts: dict[_What, list[int]], what: _What, more: list[int]) -> None:
    have = counts.setdefault(what, [0, 0, 0])
    for place, number in enumerate(more):
        have[place] += number
