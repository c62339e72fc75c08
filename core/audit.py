"""The audit log: who changed keys, aliases, wikis, versions, questions and backups, and when.

A record is written in the transaction of the action itself, so that neither exists without the
other. Records are added, never changed. They hold names and counts: no keys, questions or readers.
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

from core.database import Utc, metadata, reading

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


@dataclass(frozen=True)
class AuditRecord:
    """One action."""

    id: str
    """Random; the same in every copy of the database."""
    at: datetime
    who: str
    """The operating system's user and machine, such as ann@web1; or a reviewer."""
    action: str
    """A noun and a verb, such as key.revoke."""
    target: str
    """The object of the action: the name of a key, an alias, a version, a file."""
    details: dict[str, Any]


def record(
    connection: sa.Connection, action: str, target: str, who: str = "", **details: Any
) -> None:
    """Add a record, within the action's transaction. Raises the database's errors.

    `who`: a reviewer; by default, the user who runs this process.
    """
    id, now = secrets.token_hex(16), datetime.now(UTC)
    row = asdict(AuditRecord(id, now, who or actor(), action, target, details))
    connection.execute(sa.insert(audit_table).values(row))


def lines(engine: sa.Engine, since: datetime | None = None) -> list[AuditRecord]:
    """The records since a point in time, oldest first. Raises Unreachable."""
    query = sa.select(audit_table).order_by(_c.at, _c.id)
    if since is not None:
        query = query.where(_c.at >= since)
    with reading(engine) as connection:
        return [AuditRecord(**row._mapping) for row in connection.execute(query)]


def carry(connection: sa.Connection, others: Sequence[AuditRecord]) -> int:
    """Add missing records from another copy of the database; returns their number."""
    known = set(connection.execute(sa.select(_c.id)).scalars())
    new = [asdict(line) for line in others if line.id not in known]
    if new:
        connection.execute(sa.insert(audit_table), new)
    return len(new)


def actor() -> str:
    """The user who runs this process, with the machine; under sudo, the invoking user too."""
    return f"{user()}@{socket.gethostname()}"


def user() -> str:
    """The operating system's user; the numeric ID in containers without a name for it."""
    names = dict.fromkeys(_names())
    return "/".join(names)


def _names() -> Iterator[str]:
    if os.geteuid() == 0 and (sudo_user := os.environ.get("SUDO_USER")):
        yield sudo_user
    try:
        yield getpass.getuser()
    except (KeyError, OSError):
        yield f"uid{os.getuid()}"
