"""What stays as it is now when an older database takes the place of today's.

A restore opens nothing that was closed since the backup, and hides nothing that was done.
"""

import sqlalchemy as sa

from gateway import audit, database
from gateway.keys import key_table, secret_table


def keep_closed(old: sa.Engine, new: sa.Engine) -> int:
    """Carry over from `old`, where it has them, what must not be undone.

    A key that was revoked or rotated since stays so; the audit log keeps all its lines.

    Returns the number of questions of `new` that are in `old` no more: they were deleted.
    """
    with database.reading(old) as connection:
        tables = set(sa.inspect(connection).get_table_names())
        keys, held, asked = [], [], set()
        if {key_table.name, secret_table.name} <= tables:
            keys = list(connection.execute(sa.select(key_table.c.id, key_table.c.revoked)))
            held = [dict(row._mapping) for row in connection.execute(sa.select(secret_table))]
        if "questions" in tables:
            asked = set(connection.execute(sa.text("SELECT id FROM questions")).scalars())
    lines = audit.lines(old) if audit.audit_table.name in tables else []
    with database.writing(new) as connection:
        there = set(connection.execute(sa.select(key_table.c.id)).scalars())
        for id, revoked in keys:
            if id not in there:
                continue
            if revoked is not None:
                this = key_table.c.id == id
                connection.execute(sa.update(key_table).where(this).values(revoked=revoked))
            connection.execute(sa.delete(secret_table).where(secret_table.c.key_id == id))
            if rows := [row for row in held if row["key_id"] == id]:
                connection.execute(sa.insert(secret_table), rows)
        audit.carry(connection, lines)
        restored = set(connection.execute(sa.text("SELECT id FROM questions")).scalars())
    return len(restored - asked) if "questions" in tables else 0
