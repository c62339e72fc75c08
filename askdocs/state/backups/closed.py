"""Carries revocations and exclusions over when a restore replaces today's database.

A restore reopens nothing that was closed after the backup, and hides no audited action.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from gateway.access import revocations
from gateway.access.keys import key_table, secret_table
from gateway.access.revocations import Closed
from gateway.storage import database
from gateway.telemetry import audit


def keep_closed(old: sa.Engine, new: sa.Engine) -> int:
    """Carry over from `old`, if it has them, changes that must not be undone.

    Keys revoked or rotated since stay so; the audit log keeps all its lines. Returns the number of
    questions in `new` that are no longer in `old`, because they were deleted.
    """
    with database.reading(old) as connection:
        tables = set(sa.inspect(connection).get_table_names())
        keys, held, questions = [], [], set()
        if {key_table.name, secret_table.name} <= tables:
            keys = list(connection.execute(sa.select(key_table.c.id, key_table.c.revoked)))
            held = [dict(row._mapping) for row in connection.execute(sa.select(secret_table))]
        if "questions" in tables:
            questions = set(connection.execute(sa.text("SELECT id FROM questions")).scalars())
    lines = audit.lines(old) if audit.audit_table.name in tables else []
    with database.writing(new) as connection:
        there = set(connection.execute(sa.select(key_table.c.id)).scalars())
        for id, revoked in keys:
            if id not in there:
                continue
            if revoked is not None:
                the_key = key_table.c.id == id
                connection.execute(sa.update(key_table).where(the_key).values(revoked=revoked))
            connection.execute(sa.delete(secret_table).where(secret_table.c.key_id == id))
            if rows := [row for row in held if row["key_id"] == id]:
                connection.execute(sa.insert(secret_table), rows)
        audit.carry(connection, lines)
        restored = set(connection.execute(sa.text("SELECT id FROM questions")).scalars())
    return len(restored - questions) if "questions" in tables else 0


def close_again(damaged: Path, new: sa.Engine) -> list[str]:
    """Like `keep_closed`, for a database that cannot be read completely.

    Closed keys are taken from the list beside the file, and from the readable part of the file.
    Returns the names of keys that are open in `new` but may have been closed; none if the file was
    read completely.
    """
    salvaged, is_whole = _salvaged(damaged)
    with database.writing(new) as connection:
        for key_id, at, digest in [*revocations.read(damaged), *salvaged]:
            if digest is None:
                the_secret = sa.and_(key_table.c.id == key_id, key_table.c.revoked.is_(None))
                connection.execute(sa.update(key_table).where(the_secret).values(revoked=at))
            else:
                until = secret_table.c.valid_until
                the_secret = sa.and_(
                    secret_table.c.digest == digest, sa.or_(until.is_(None), until > at)
                )
                connection.execute(sa.update(secret_table).where(the_secret).values(valid_until=at))
    return [] if is_whole else open_keys(new)


def open_keys(engine: sa.Engine) -> list[str]:
    """Names of the keys that are neither revoked nor expired."""
    with database.reading(engine) as connection:
        c = key_table.c
        still = sa.or_(c.expires.is_(None), c.expires > datetime.now(UTC))
        query = sa.select(c.name).where(c.revoked.is_(None), still).order_by(c.name)
        return list(connection.execute(query).scalars())


def _salvaged(damaged: Path) -> tuple[list[Closed], bool]:
    """The readable part of a damaged file, and whether that is all of it."""
    rows: list[Closed] = []
    try:
        with closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as db:
            for id, revoked in db.execute("SELECT id, revoked FROM keys NOT INDEXED"):
                if revoked is not None:
                    rows.append(Closed(id, _moment(revoked)))
            query = "SELECT key_id, valid_until, digest FROM key_secrets NOT INDEXED"
            for id, until, digest in db.execute(query):
                if until is not None:
                    rows.append(Closed(id, _moment(until), bytes(digest)))
    except (sqlite3.Error, ValueError, TypeError):
        return [row for row in rows if isinstance(row.key_id, str)], False
    return rows, True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
