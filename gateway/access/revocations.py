"""Revoked keys and secrets, in a file beside the SQLite database.

A database file that is damaged takes its revocations with it, and a backup is older than some of
them: a restore reads them here. PostgreSQL is no file, and has no such list.
"""

import json
import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

log = logging.getLogger("askdocs.gateway")

SUFFIX = ".closed"


class Closed(NamedTuple):
    """A key that was revoked; or one of its secrets, by its digest, that ends at a moment."""

    key_id: str
    at: datetime
    digest: bytes | None = None


def beside(database: Path) -> Path:
    return database.with_name(database.name + SUFFIX)


def note(engine: sa.Engine, rows: Iterable[Closed]) -> None:
    """Add them; after the transaction, so that nothing is listed that did not happen."""
    if engine.dialect.name != "sqlite":
        return
    lines = "".join(
        json.dumps({"key": id, "at": at.isoformat(), "digest": digest and digest.hex()}) + "\n"
        for id, at, digest in rows
    )
    file = beside(Path(str(engine.url.database)))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(lines)
            opened.flush()
            os.fsync(descriptor)
    except OSError as error:
        log.warning("%s: the revocation is in the database alone (%s)", file, error.strerror)


def read(database: Path) -> list[Closed]:
    """All of them; a line that was cut off or damaged is skipped."""
    try:
        text = beside(database).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    closed = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            digest = bytes.fromhex(row["digest"]) if row["digest"] else None
            at = datetime.fromisoformat(row["at"]).astimezone(UTC)
            closed.append(Closed(str(row["key"]), at, digest))
        except (ValueError, KeyError, TypeError):
            continue
    return closed
