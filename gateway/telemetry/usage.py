"""Usage: requests and tokens, by key, team, alias, model and day.

Each worker adds up in memory and writes once a second, so that a request waits for no database.
What is not written yet stands in files, too (`gateway/telemetry/usage_journal.py`), so that a kill
-9 loses nothing.
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

INTERVAL = 1.0  # seconds between two writes, and between two readings of a key's month
RECOVERY = 10.0  # seconds between two looks for what dead workers have left behind
SEGMENT_MEMORY = timedelta(days=30)  # that a segment is remembered whose file may still be there
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
# The segments of a journal that are in `usage`.
segment_table = sa.Table(
    "usage_segments",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("at", Utc, nullable=False),
)
COUNTS = ("requests", "prompt_tokens", "completion_tokens")
# What a report may be broken down by.
GROUPS = ("key", "team", "alias", "model", "day")


class _What(NamedTuple):
    """What is added up; a tuple, because one is made for every request."""

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
    """A line of a report."""

    group: dict[str, str]
    """What it is about: a value for each of `by`. A key is shown by its name and has its id too."""
    requests: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Usage:
    """The usage of one worker on its way to the database."""

    def __init__(self, engine: sa.Engine, journal: UsageJournal | None = None) -> None:
        """Without a journal, a kill -9 loses what was added in the last second."""
        self._engine = engine
        self._journal = journal
        self._segments: list[str] = []
        self._dropped: list[str] = []
        self._added: dict[_What, list[int]] = {}
        self._writing: dict[_What, list[int]] = {}
        self._months: dict[str, _Month] = {}
        self._failing = False
        self.failures = 0
        """Writes that the database did not take; what they held comes with the next one."""
        # A reading of a month lies before a write or after it, never across: so it is known whether
        # what is written is in it.
        self._turn = asyncio.Lock()

    def add(
        self, key: Key, alias: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Count one request."""
        # A plain tuple is equal to the named one, and made in a tenth of the time.
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
        """Write every second until cancelled, and once more then."""
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
                log.error("the usage of %d requests is lost: the database is away", count)
            if self._journal is not None:
                self._journal.close()
            raise

    async def flush(self) -> None:
        """Write what was added. On failure it is kept, and comes with the next flush."""
        async with self._turn:
            for _ in range(2):  # what failed before, and what has come since
                if not self._writing:
                    self._writing, self._added = self._added, {}
                    self._segments = self._journal.seal() if self._journal else []
                if not self._writing or not await self._flush():
                    return

    async def _flush(self) -> bool:
        """Was it written?"""
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
        """Write what workers that were killed have left. With the database away, the next time."""
        if self._journal is None:
            return
        for worker in self._journal.orphans():
            try:
                count = await threads.database(self._take_over, self._journal, worker)
            except (Unreachable, OSError) as error:
                log.warning("the usage that a dead worker left is written later: %s", error)
                return
            if count:
                log.warning("the usage of %d requests of a dead worker is written", count)

    async def month(self, key_id: str) -> int:
        """Tokens that a key used in this calendar month, UTC: all workers', as of a second ago, and
        what this one has not yet written.

        Raises Unreachable: the database is away and was never asked for this key and month.
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
        """What was read within INTERVAL, or ever, if the database is away."""
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
            # A write that failed at its very end may be there all the same.
            if not (segments and _noted(connection, segments)):
                connection.execute(adding(connection, usage_table, COUNTS), _rows(pending))
                _note(connection, segments)
            if self._dropped:  # of which there is no file any more
                dropped = segment_table.c.name.in_(self._dropped)
                connection.execute(segment_table.delete().where(dropped))

    def _take_over(self, journal: UsageJournal, worker: str) -> int:
        """Write what a dead worker left; returns of how many requests that is."""
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
        """What is written now is in no reading of a month before it."""
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
    """Usage from `since` to `until`, both included, added up by any of GROUPS.

    Most tokens first; by time where a day is among `by`. Raises Unreachable.
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
    """The last day on which each key was used, by its id. Raises Unreachable."""
    query = sa.select(usage_table.c.key_id, sa.func.max(usage_table.c.day).label("day")).group_by(
        "key_id"
    )
    with reading(engine) as connection:
        return {row.key_id: row.day for row in connection.execute(query)}


def _rows(pending: dict[_What, list[int]]) -> list[dict[str, Any]]:
    """What is added up, under names that can be stored: one that cannot must not stop the rest."""
    clean: dict[_What, list[int]] = {}
    for (key, day, *names), counts in pending.items():
        _increase(clean, _What(storable(key), day, *map(storable, names)), counts)
    return [
        what._asdict()
        | {"day": date.fromordinal(EPOCH + what.day)}
        | dict(zip(COUNTS, counts, strict=True))
        # In one order in every worker, so that no two wait for each other in a circle.
        for what, counts in sorted(clean.items())
    ]


def _noted(connection: sa.Connection, segments: Sequence[str]) -> set[str]:
    """Which of them are in the database already."""
    known = sa.select(segment_table.c.name).where(segment_table.c.name.in_(segments))
    return set(connection.scalars(known))


def _note(connection: sa.Connection, segments: Sequence[str]) -> None:
    """These segments are in the database, as soon as the transaction is."""
    if segments:
        now = datetime.now(UTC)
        rows = [{"name": name, "at": now} for name in segments]
        connection.execute(segment_table.insert(), rows)


def _increase(counts: dict[_What, list[int]], what: _What, more: list[int]) -> None:
    have = counts.setdefault(what, [0, 0, 0])
    for place, number in enumerate(more):
        have[place] += number
