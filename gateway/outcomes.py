"""Outcomes: how the answers of each model fare, by alias and day, for `askdocs models compare`.

Counts of answers, refusals, cautions, failures and votes, and histograms of how long answers took.
A bucket of a histogram is 9 % wider than the one before it, so a percentile is right to 4.5 %, and
a day of one model is some fifty rows however many answers it gave. Written as usage is: added up in
memory, a few seconds behind, and kept while the database is away.
"""

import asyncio
import logging
import math
from collections import Counter
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

import sqlalchemy as sa

from gateway import threads
from gateway.database import Unreachable, adding, metadata, reading, writing
from gateway.telemetry.names import storable

log = logging.getLogger("askdocs.gateway")

INTERVAL = 2.0  # seconds between two writes
WIDER = 2 ** (1 / 8)  # a bucket's upper end by its lower one

Verdict = Literal["supported", "unsupported", "contradicted"]
Count = Literal["answers", "refused", "cautious", "failed", "up", "down"] | Verdict
Time = Literal["first_token", "duration"]

outcome_table = sa.Table(
    "outcomes",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("measure", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)


class _What(NamedTuple):
    day: date
    alias: str
    model: str
    measure: str
    bucket: int


class Outcomes:
    """The outcomes of one worker on their way to the database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._added: Counter[_What] = Counter()

    def count(self, alias: str, model: str, *measures: Count) -> None:
        """Count something that happened just now."""
        today = datetime.now(UTC).date()
        alias, model = storable(alias), storable(model)
        for measure in measures:
            self._added[_What(today, alias, model, measure, 0)] += 1

    async def vote(self, alias: str, model: str, vote: Literal["up", "down"]) -> None:
        """Count a vote, which is in the database when this returns. Raises Unreachable."""
        what = _What(datetime.now(UTC).date(), alias, model, vote, 0)
        await threads.database(self._write, Counter({what: 1}))

    def took(self, alias: str, model: str, measure: Time, seconds: float) -> None:
        """Note how long an answer that has just ended took."""
        what = _What(
            datetime.now(UTC).date(), storable(alias), storable(model), measure, bucket(seconds)
        )
        self._added[what] += 1

    async def run(self) -> None:
        """Write every few seconds until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(INTERVAL)
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what was added. With the database away it is kept for the next time."""
        added, self._added = self._added, Counter()
        if not added:
            return
        try:
            await threads.database(self._write, added)
        except Unreachable as error:
            log.warning("how answers fare is kept in memory: %s", error)
            self._added.update(added)

    def _write(self, added: "Counter[_What]") -> None:
        # In one order in every worker, so that no two wait for each other in a circle.
        rows = [{**what._asdict(), "count": count} for what, count in sorted(added.items())]
        with writing(self._engine) as connection:
            connection.execute(adding(connection, outcome_table, ["count"]), rows)


class Tally:
    """What is known of one model's answers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, Counter[int]] = {"first_token": Counter(), "duration": Counter()}


def tally(engine: sa.Engine, alias: str, since: date) -> dict[str, Tally]:
    """By model, since that day, it included. Raises Unreachable."""
    c = outcome_table.c
    query = (
        sa.select(c.model, c.measure, c.bucket, sa.func.sum(c.count).label("count"))
        .where(c.alias == alias, c.day >= since)
        .group_by(c.model, c.measure, c.bucket)
    )
    tallies: dict[str, Tally] = {}
    with reading(engine) as connection:
        for model, measure, bucket_, count in connection.execute(query):
            one = tallies.setdefault(model, Tally())
            if measure in one.times:
                one.times[measure][bucket_] += int(count)
            else:
                one.counts[measure] += int(count)
    return tallies


def bucket(seconds: float) -> int:
    """The bucket of a time: `WIDER ** bucket` is the geometric middle of it."""
    return round(math.log(max(seconds, 1e-4), WIDER))


def middle(bucket: int) -> float:
    """Seconds."""
    return float(WIDER**bucket)
