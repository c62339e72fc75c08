"""Pages shown to each key, by day, for `askdocs docs show --readers`."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple

import sqlalchemy as sa

from core.database import metadata, reading
from gateway.telemetry.counters import Counters

INTERVAL = 5.0  # seconds between writes
EVERY = "*"
"""In place of an address: all pages that the key could read, as one text."""

shown_table = sa.Table(
    "pages_shown",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("times", sa.BigInteger, nullable=False),
)


class ShownCount(NamedTuple):
    """How often a page was shown to a key on a day."""

    key: str
    """The key's ID."""
    day: date
    times: int
    every: bool
    """Did it get the text of all pages that it could read?"""


class Shown(Counters):
    """The counts of one worker."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine, shown_table, "times", interval=INTERVAL)

    def shown(self, key: str, urls: Iterable[str]) -> None:
        today = datetime.now(UTC).date()
        for url in dict.fromkeys(urls):
            self.add((url, key, today), 1)


def of(engine: sa.Engine, url: str) -> list[ShownCount]:
    """The keys that were shown a page, newest first. Raises Unreachable."""
    c = shown_table.c
    query = sa.select(c.key, c.day, c.times, c.url).where(c.url.in_((url, EVERY)))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(c.day.desc(), c.key))
        return [ShownCount(key, day, int(times), at == EVERY) for key, day, times, at in rows]
