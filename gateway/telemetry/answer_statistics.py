"""Answer-quality counters per model, alias and day, for `askdocs models compare`.

Counts answers, refusals, cautions, failures and votes, and records histograms of answer times. Each
bucket is 9 % wider than the previous one, so percentiles are accurate to 4.5 %, and a day of one
model takes some fifty rows, however many answers it gave. Written like usage: added up in memory, a
few seconds behind, and kept while the database is unavailable.
"""

import math
import time
from collections import Counter
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from core import threads
from core.database import metadata, reading
from gateway.telemetry.counters import Counters, day_of

INTERVAL = 2.0  # seconds between writes
WIDER = 2 ** (1 / 8)  # ratio of a bucket's upper to its lower bound

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


class AnswerStatistics(Counters):
    """The outcomes of one worker, on their way to the database."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, outcome_table, "count", interval=INTERVAL)

    def count(self, alias: str, model: str, *measures: Count) -> None:
        """Count an event that has just happened."""
        for measure in measures:
            self.add(_key(alias, model, measure), 1)

    async def vote(self, alias: str, model: str, vote: Literal["up", "down"]) -> None:
        """Count a vote, which is in the database on return. Raises Unreachable."""
        await self.write(_key(alias, model, vote), 1)

    async def has_answered(self, alias: str, model: str) -> bool:
        """Has the model ever answered for the alias? Raises Unreachable."""
        c = outcome_table.c
        query = sa.select(c.day).where(c.alias == alias, c.model == model).limit(1)

        def look() -> bool:
            with reading(self._engine) as connection:
                return connection.execute(query).first() is not None

        return await threads.database(look)

    def took(self, alias: str, model: str, measure: Time, seconds: float) -> None:
        """Record the duration of an answer that has just ended."""
        self.add(_key(alias, model, measure, bucket(seconds)), 1)


def _key(alias: str, model: str, measure: str, bucket: int = 0) -> tuple[Any, ...]:
    return (day_of(int(time.time()) // 86_400), alias, model, measure, bucket)


class AnswerTally:
    """The statistics of one model's answers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, Counter[int]] = {"first_token": Counter(), "duration": Counter()}


def tally(engine: sa.Engine, alias: str, since: date) -> dict[str, AnswerTally]:
    """The statistics by model, from that day on, inclusive. Raises Unreachable."""
    c = outcome_table.c
    query = (
        sa.select(c.model, c.measure, c.bucket, sa.func.sum(c.count).label("count"))
        .where(c.alias == alias, c.day >= since)
        .group_by(c.model, c.measure, c.bucket)
    )
    tallies: dict[str, AnswerTally] = {}
    with reading(engine) as connection:
        for model, measure, bucket_, count in connection.execute(query):
            model_tally = tallies.setdefault(model, AnswerTally())
            if measure in model_tally.times:
                model_tally.times[measure][bucket_] += int(count)
            else:
                model_tally.counts[measure] += int(count)
    return tallies


def bucket(seconds: float) -> int:
    """The bucket of a duration: `WIDER ** bucket` is its geometric mean."""
    return round(math.log(max(seconds, 1e-4), WIDER))


def middle(bucket: int) -> float:
    """The mean of a bucket, in seconds."""
    return float(WIDER**bucket)
