"""Revoked keys and secrets, in a file beside the SQLite database.

A damaged database loses its revocations, and a backup predates some of them: a restore reads them
from this file. PostgreSQL needs no such file.
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
    """A revoked key, or one of its secrets (by digest) with its end."""

    key_id: str
    at: datetime
    digest: bytes | None = None


def beside(database: Path) -> Path:
    return database.with_name(database.name + SUFFIX)


def note(engine: sa.Engine, rows: Iterable[Closed]) -> None:
    """Append revocations. Call it after the transaction, so that only actual revocations are
    listed."""
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
    """All revocations; skips truncated or damaged lines."""
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
