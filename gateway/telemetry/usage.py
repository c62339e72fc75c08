"""Usage: requests and tokens, by key, team, alias, model and day.

Each worker adds up in memory and writes once a second, and the rest when it stops, so that requests
do not wait for a database. A kill -9 loses at most the last second.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from core import threads
from core.database import Unreachable, metadata, reading
from gateway.access.keys import Key, key_table
from gateway.telemetry.counters import Counters, Counts, day_of

INTERVAL = 1.0  # seconds between writes, and between reads of a key's month
DAY = 86_400

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
COUNTS = ("requests", "prompt_tokens", "completion_tokens")
# Possible groupings of a report.
GROUPS = ("key", "team", "alias", "model", "day")


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


class Usage(Counters):
    """The usage of one worker, on its way to the database.

    A read of a month happens before or after a write, never during it: so it is known whether it
    includes the written usage.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, usage_table, *COUNTS, interval=INTERVAL)
        self._months: dict[str, _Month] = {}

    def count(
        self, key: Key, alias: str, model: str, prompt_tokens: int, completion_tokens: int
    ) -> None:
        """Count one request."""
        day = day_of(int(time.time()) // DAY)
        self.add((key.id, day, key.team, alias, model), 1, prompt_tokens, completion_tokens)

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
        unwritten = sum(
            counts[1] + counts[2]
            for (key, day, *_), counts in self._pending()
            if key == key_id and day >= first
        )
        return known.tokens + int(unwritten)

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

    def _wrote(self, written: Counts) -> None:
        """Add the written usage to the cached months, which do not include it."""
        for (key, day, *_), counts in written.items():
            known = self._months.get(key)
            if known is not None and day >= known.first:
                tokens = known.tokens + int(counts[1] + counts[2])
                self._months[key] = known._replace(tokens=tokens)


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
