"""The audit log: who changed keys, aliases, wikis, versions, questions and backups, and when.

A line is written in the transaction of the act itself, so that neither is ever without the other.
Lines are added, never changed. They hold names and counts: no key, no question, no reader.
"""

import getpass
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gateway.storage.database import Utc, metadata, reading

audit_table = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", Utc, nullable=False, index=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)
_c = audit_table.c

SINCE = "0007"
"""The first schema that has the table."""


@dataclass(frozen=True)
class AuditRecord:
    """One act."""

    id: str
    """Random; the same in every copy of the database."""
    at: datetime
    who: str
    """The user of the operating system and the machine, ann@web1; or a reviewer."""
    action: str
    """A noun and a verb, as key.revoke."""
    target: str
    """What it was done to: the name of a key, an alias, a version, a file."""
    details: dict[str, Any]


def record(
    connection: sa.Connection, action: str, target: str, who: str = "", **details: Any
) -> None:
    """Add a line, as a part of the transaction of the act. Raises what the database raises.

    `who`: a reviewer; else it is whoever runs this process.
    """
    id, now = secrets.token_hex(16), datetime.now(UTC)
    row = asdict(AuditRecord(id, now, who or actor(), action, target, details))
    connection.execute(sa.insert(audit_table).values(row))


def lines(engine: sa.Engine, since: datetime | None = None) -> list[AuditRecord]:
    """The lines from a moment on, oldest first. Raises Unreachable."""
    query = sa.select(audit_table).order_by(_c.at, _c.id)
    if since is not None:
        query = query.where(_c.at >= since)
    with reading(engine) as connection:
        return [AuditRecord(**row._mapping) for row in connection.execute(query)]


def carry(connection: sa.Connection, others: Sequence[AuditRecord]) -> int:
    """Add lines of another copy of the database that are not here yet; returns how many."""
    known = set(connection.execute(sa.select(_c.id)).scalars())
    new = [asdict(line) for line in others if line.id not in known]
    if new:
        connection.execute(sa.insert(audit_table), new)
    return len(new)


def actor() -> str:
    """Whoever runs this process, and on which machine; behind sudo also who typed it."""
    return f"{user()}@{socket.gethostname()}"


def user() -> str:
    """The user of the operating system; in containers, which may know no name, the number."""
    names = dict.fromkeys(_names())
    return "/".join(names)


def _names() -> Iterator[str]:
    if os.geteuid() == 0 and (sudo_user := os.environ.get("SUDO_USER")):
        yield sudo_user
    try:
        yield getpass.getuser()
    except (KeyError, OSError):
        yield f"uid{os.getuid()}"
