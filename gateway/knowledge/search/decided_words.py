"""Stores the pairs of words that writers add or dismiss in the review.

Each decision is a row in the database; every worker of every gateway follows its revision.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import sqlalchemy as sa

from gateway.core.errors import AskdocsError
from gateway.knowledge.search.glossary import MANY, MOST_WORDS, key
from gateway.knowledge.search.own_words import OwnWords, Pair, merged
from gateway.storage.database import LOCK, Utc, metadata, reading, writing
from gateway.telemetry import audit

Decision = Literal["add", "dismiss", "remove"]
LONGEST = 100  # characters of a word with its companions

glossary_table = sa.Table(
    "glossary",
    metadata,
    sa.Column("word", sa.Text, primary_key=True),
    sa.Column("other", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False, unique=True),
)
_c = glossary_table.c


class BadPair(AskdocsError):
    """The pair cannot be added; the message tells the writer why."""


class Added(NamedTuple):
    """A pair that a writer added."""

    pair: Pair
    who: str
    at: datetime


def follow(words: OwnWords, engine: sa.Engine) -> None:
    """Use the pairs in the database, if a writer has changed them. Raises Unreachable."""
    with reading(engine) as connection:
        revision = connection.execute(sa.select(sa.func.max(_c.revision))).scalar() or 0
        if revision != words.revision:
            words.use([added.pair for added in _added(connection)], revision)


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


def decide(
    engine: sa.Engine,
    pair: Pair,
    decision: Decision,
    who: str,
    configured: Mapping[str, Sequence[str]] | None = None,
) -> bool:
    """Add a pair, remove it, or dismiss a proposal, atomically; returns whether this changed it.

    Args:
        engine: the gateway's database.
        pair: see `pair_of`.
        decision: what the writer decided.
        who: the writer.
        configured: the words of the settings, which count towards the limits.

    Raises:
        BadPair: the glossary is full.
        Unreachable.
    """
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":  # the order of revisions is that of commits
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK + 2)))
        here = (_c.word == pair.word) & (_c.other == pair.other)
        state = connection.execute(sa.select(_c.state).where(here)).scalar()
        wanted = {"add": (None, "dismissed"), "dismiss": (None,), "remove": ("used",)}
        if state not in wanted[decision]:
            return False
        if decision == "add":
            _require_space(connection, pair, configured or {})
        last = connection.execute(sa.select(sa.func.max(_c.revision))).scalar() or 0
        row = {
            "state": "used" if decision == "add" else "dismissed",
            "who": who,
            "at": datetime.now(UTC),
            "revision": last + 1,
        }
        if state is None:
            connection.execute(sa.insert(glossary_table).values(**pair._asdict(), **row))
        else:
            connection.execute(sa.update(glossary_table).where(here).values(row))
        audit.record(connection, f"word.{decision}", f"{pair.word}: {pair.other}", who)
    return True


def added(engine: sa.Engine) -> list[Added]:
    """The pairs in use that writers added, oldest first. Raises Unreachable."""
    with reading(engine) as connection:
        return _added(connection)


def decided(engine: sa.Engine) -> set[Pair]:
    """All pairs that a writer has added or dismissed. Raises Unreachable."""
    with reading(engine) as connection:
        return {Pair(*row) for row in connection.execute(sa.select(_c.word, _c.other))}


def _added(connection: sa.Connection) -> list[Added]:
    query = sa.select(_c.word, _c.other, _c.who, _c.at).where(_c.state == "used")
    rows = connection.execute(query.order_by(_c.revision))
    return [Added(Pair(word, other), who, at) for word, other, who, at in rows]


def _require_space(
    connection: sa.Connection, pair: Pair, configured: Mapping[str, Sequence[str]]
) -> None:
    words = merged(configured, [added.pair for added in _added(connection)])
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
