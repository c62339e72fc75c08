"""New databases as copies of a migrated one: migrating an empty one takes 0.04 s, and importing
Alembic, which each gateway and command with a new state folder would do, 0.4 s.

tests/conftest.py installs it; tests of the migrations use its fixture `migrations`.
"""

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from core import database

UNCOPIED = database.migrate
"""The real function, which creates an empty file and migrates it."""


@cache
def _migrated() -> bytes:
    """The file of a database that has all tables and no rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "askdocs.db"
        engine = database.open(f"sqlite:///{file}")
        UNCOPIED(engine)
        engine.dispose()  # moves everything from the write-ahead log to the file
        return file.read_bytes()


def create(file: Path) -> None:
    """Create a migrated database, readable by its owner only, unless something is there."""
    if file.exists():
        return
    with suppress(OSError), tempfile.NamedTemporaryFile(dir=file.parent) as written:
        written.write(_migrated())
        written.flush()
        os.link(written.name, file)  # atomic; fails where another process was faster


def prepare(home: Path) -> None:
    """Create the database of a new state folder, for a process that is to start there."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    create(home / "askdocs.db")


def migrate(engine: sa.Engine) -> None:
    """`database.migrate`, which finds nothing to do in a new SQLite file."""
    if engine.dialect.name == "sqlite":
        create(Path(str(engine.url.database)))
    UNCOPIED(engine)
