"""Alembic's entry point. `core.database.migrate` passes in the connection.

https://alembic.sqlalchemy.org/en/latest/cookbook.html#connection-sharing
"""

from alembic import context

from core.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by recreating it
)
with context.begin_transaction():
    context.run_migrations()
