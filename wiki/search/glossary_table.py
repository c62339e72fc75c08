"""Stores the pairs of words that writers type in the review; every gateway follows them."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from core import audit
from core.database import LOCK, Utc, metadata, reading, writing
from core.errors import AskdocsError
from wiki.search.glossary import MANY, MOST_WORDS, Glossary, Pair, key, merged

LONGEST = 100  # characters of a word with its companions

glossary_table = sa.Table(
    "glossary",
    metadata,
    sa.Column("word", sa.Text, primary_key=True),
    sa.Column("other", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
)
_c = glossary_table.c


class BadPair(AskdocsError):
    """The pair cannot be added; the message tells the writer why."""


class Added(NamedTuple):
    """A pair that a writer added."""

    pair: Pair
    who: str
    at: datetime


def follow(glossary: Glossary, engine: sa.Engine) -> None:
    """Use the pairs in the database, if a writer has changed them. Raises Unreachable."""
    typed = tuple(row.pair for row in added(engine))
    if typed != glossary.typed:
        glossary.use(typed)


def pair_of(word: str, other: str) -> Pair:
    """The pair as it is stored. Raises BadPair."""
    pair = Pair(*(_clean(text) for text in (word, other)))
    for text in pair:
        if not key(text) or len(text) > LONGEST:
            raise BadPair(
                f"{text[:LONGEST]!r} is not a name of 1 to 4 words, not counting words such as"
                ' "the".'
            )
    if key(pair.word) == key(pair.other):
        raise BadPair(f"{pair.word!r} and {pair.other!r} are the same to the search.")
    return pair


def add(
    engine: sa.Engine,
    pair: Pair,
    who: str,
    configured: Mapping[str, Sequence[str]] | None = None,
) -> bool:
    """Add a pair; returns False if it is there already.

    Args:
        engine: the gateway's database.
        pair: see `pair_of`.
        who: the writer.
        configured: the words of the settings, which count towards the limits.

    Raises:
        BadPair: the glossary is full.
        Unreachable.
    """
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # the limits hold for writers who add at once
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK + 2)))
        there = _added(connection)
        if pair in (added.pair for added in there):
            return False
        _require_space(there, pair, configured or {})
        row = {**pair._asdict(), "who": who, "at": datetime.now(UTC)}
        connection.execute(sa.insert(glossary_table).values(row))
        audit.record(connection, "word.add", f"{pair.word}: {pair.other}", who)
    return True


def remove(engine: sa.Engine, pair: Pair, who: str) -> bool:
    """Remove a pair; returns False if it is not there. Raises Unreachable."""
    with writing(engine) as connection:
        here = (_c.word == pair.word) & (_c.other == pair.other)
        if not connection.execute(sa.delete(glossary_table).where(here)).rowcount:
            return False
        audit.record(connection, "word.remove", f"{pair.word}: {pair.other}", who)
    return True


def added(engine: sa.Engine) -> list[Added]:
    """The pairs in use that writers added, oldest first. Raises Unreachable."""
    with reading(engine) as connection:
        return _added(connection)


def _added(connection: sa.Connection) -> list[Added]:
    rows = connection.execute(
        sa.select(_c.word, _c.other, _c.who, _c.at).order_by(_c.at, _c.word, _c.other)
    )
    return [Added(Pair(word, other), who, at) for word, other, who, at in rows]


def _require_space(
    there: Sequence[Added], pair: Pair, configured: Mapping[str, Sequence[str]]
) -> None:
    words = merged(configured, [added.pair for added in there])
    others = words.get(pair.word, ())
    if pair.other in others:
        raise BadPair(f"{pair.word!r} already means {pair.other!r} in the settings.")
    if len(others) >= MANY:
        raise BadPair(
            f"{pair.word!r} already means {', '.join(others)}: remove one, a word has at most"
            f" {MANY} synonyms."
        )
    if not others and len(words) >= MOST_WORDS:
        raise BadPair(f"The glossary has {MOST_WORDS} words, which is the most: remove one first.")


def _clean(text: str) -> str:
    printable = (" " if unicodedata.category(c)[0] in "CZ" else c for c in text.lower())
    return " ".join("".join(printable).split())
