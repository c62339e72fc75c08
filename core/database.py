"""The database: keys, usage, aliases and other tables, in SQLite or PostgreSQL.

Uses SQLAlchemy Core, synchronously; async code calls it through `threads.database`. Each module
defines its own tables on `metadata`; `core/migrations` creates them.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)

from core.errors import AskdocsError

metadata = sa.MetaData()

MIGRATIONS = Path(__file__).with_name("migrations")
# The newest migration. A constant, because Alembic takes half a second to import, and an up-to-date
# database does not need it.
HEAD = "0001"
# An arbitrary number that nothing else in the same database may lock.
LOCK = 4_708_159_226
BUSY = 10  # seconds that a SQLite writer waits for another one
PATIENCE = 10.0  # seconds for each reply of PostgreSQL to a process that serves people
# Maximum seconds for the damage check; a large file is not read completely at every start.
LOOKING = 2.0


# A single row. Migrations usually only add, so that during a rolling upgrade the previous release
# works with the new schema; a migration that does more raises this value.
reach_table = sa.Table(
    "schema_reach",
    metadata,
    sa.Column("oldest", sa.String(32), nullable=False),
)


class Unreachable(AskdocsError):
    """The database did not answer, or answered with an error."""


class Damaged(Unreachable):
    """The database exists, but its content cannot be read."""


class Utc(sa.TypeDecorator[datetime]):
    """A point in time. SQLite has no time zones, so every value is stored and returned in UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def open(url: str, patience: float | None = None) -> sa.Engine:
    """An engine for `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`; connects later.

    `patience`: seconds without a reply until PostgreSQL counts as unavailable, even if TCP reports
    nothing: for processes that serve people and run only short statements.

    Raises AskdocsError: the URL is of another kind.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        # Do not repeat the text, which may be only a password.
        raise _not_a_url("the database URL cannot be read") from None
    if any("@" in (part or "") for part in (parsed.host, parsed.database)) and parsed.password:
        # The rest of the password would be parsed as the host, which messages show.
        raise _not_a_url("the password of the database URL has an @: escape it as %40")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgresql(parsed.set(drivername="postgresql+psycopg"), patience)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise _not_a_url("every process would have its own in-memory database")
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY})
        sa.event.listen(engine, "connect", _connect_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    raise _not_a_url(f"{parsed.drivername!r} is not a supported database")


def _postgresql(url: sa.URL, patience: float | None) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,  # a restarted server causes no failed request
        pool_timeout=5,
        connect_args={
            "connect_timeout": 3,
            # Milliseconds and seconds until an unresponsive host counts as down: if it owes an
            # acknowledgement, and if it owes an answer.
            "tcp_user_timeout": 5000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
        },
    )
    if patience is not None:
        import psycopg

        limit: float = patience

        class Patient(psycopg.Connection[Any]):
            def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
                began = time.monotonic()
                try:
                    return super().wait(gen, *args, **{"timeout": limit, **options})
                except psycopg.OperationalError:
                    if time.monotonic() - began >= limit:
                        self.pgconn.finish()  # nothing will wait for it again
                    raise

        def connect(_: Any, __: Any, words: Any, options: Any) -> Any:
            return Patient.connect(*words, **options)

        sa.event.listen(engine, "do_connect", connect)
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for reading. Raises Unreachable."""
    with _explained(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction: atomic. Raises Unreachable."""
    with _explained(engine), engine.connect() as connection:
        # A SQLite transaction that starts with a read cannot wait for its turn to write:
        # https://www.sqlite.org/lang_transaction.html
        connection = connection.execution_options(sqlite_begin="IMMEDIATE")
        with connection.begin():
            yield connection


def adding(connection: sa.Connection, table: sa.Table, columns: Iterable[str]) -> Any:
    """The statement that inserts rows, or adds their `columns` to those of existing rows.

    Rows are identified by the primary key.
    """
    insert: Any
    if connection.dialect.name == "postgresql":
        insert = postgresql.insert(table)
    else:
        insert = sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: table.c[name] + insert.excluded[name] for name in columns},
    )


def migrate(engine: sa.Engine) -> None:
    """Migrate the schema, from empty or any older revision, to the one that this code needs.

    Concurrent calls wait for each other. A kill in the middle leaves the old schema, as all steps
    share one transaction.

    A newer schema that this code supports stays unchanged: see `reach_table`.

    Raises:
        Unreachable: the database cannot be reached or written.
        Damaged: it cannot be read.
        AskdocsError: it was made by a newer askdocs, or a restore was interrupted.
    """
    if engine.dialect.name == "sqlite":
        _make_file(engine)
    with reading(engine) as connection:
        current = revision(connection)
        if current == HEAD or _reaches(connection, current):
            return
    from alembic import command
    from alembic.config import Config

    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        current = revision(connection)
        if _reaches(connection, current):
            return
        _refuse_newer(engine, current)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(engine: sa.Engine) -> None:
    """Raises AskdocsError unless this code supports the schema; changes nothing."""
    with reading(engine) as connection:
        current = revision(connection)
        reaches = _reaches(connection, current)
    if current != HEAD and not reaches:
        _refuse_newer(engine, current)
        raise AskdocsError(
            f"{shown(engine)}: the database is {'older than this askdocs' if current else 'empty'}:"
            " start the gateway, or run `askdocs keys list`, which upgrades it"
        )


def look_for_damage(engine: sa.Engine) -> None:
    """Check a SQLite file for damage, for at most LOOKING seconds; PostgreSQL has checksums for
    that.

    SQLite detects lost or swapped pages, but not a changed letter in a text.

    Raises Damaged, Unreachable.
    """
    if engine.dialect.name != "sqlite":
        return
    with reading(engine) as connection:
        driver: Any = connection.connection.driver_connection
        deadline = time.monotonic() + LOOKING
        driver.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        try:
            (verdict,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise Damaged(_damaged(shown(engine), str(error))) from None
            return
        except sqlite3.DatabaseError as error:
            raise Damaged(_damaged(shown(engine), str(error))) from None
        finally:
            driver.set_progress_handler(None, 0)
    if verdict != "ok":
        raise Damaged(_damaged(shown(engine), " ".join(verdict.split())))


def ping(engine: sa.Engine) -> None:
    """Raises Unreachable unless the database answers."""
    with reading(engine) as connection:
        connection.execute(sa.select(1))


def shown(engine: sa.Engine) -> str:
    """The URL for messages, without its password."""
    url = engine.url.set(drivername=engine.url.get_backend_name())
    hidden = {name: "***" for name in ("password", "sslpassword") if name in url.query}
    url = url.update_query_dict(hidden)
    return url.render_as_string(hide_password=True)


def _not_a_url(why: str) -> AskdocsError:
    return AskdocsError(
        f"{why}: set ASKDOCS_DATABASE_URL to sqlite:///FILE"
        " or postgresql://USER:PASSWORD@HOST:5432/NAME"
    )


@contextmanager
def _explained(engine: sa.Engine) -> Iterator[None]:
    """Turns the driver's errors into one line. The caller must describe broken constraints."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        # Omits SQL, parameters and links, which SQLAlchemy's message includes.
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        if isinstance(error, DataError):  # retrying would not help
            raise AskdocsError(f"{shown(engine)}: a value is refused ({reason})") from error
        if is_damage(reason):
            raise Damaged(_damaged(shown(engine), reason)) from error
        fix = (
            "free the file and its disk, or name another one"
            if engine.dialect.name == "sqlite"
            else "start PostgreSQL, or correct ASKDOCS_DATABASE_URL"
        )
        raise Unreachable(
            f"{shown(engine)}: the database does not answer ({reason}): {fix}"
        ) from error


def is_damage(reason: str) -> bool:
    """Is it an error of SQLite or PostgreSQL for unreadable data?"""
    words = ("malformed", "not a database", "invalid page", "could not read block")
    return any(word in reason for word in words)


def _damaged(place: str, reason: str) -> str:
    return (
        f"{place}: the database is damaged ({reason}): stop askdocs, and restore a backup with"
        " `askdocs restore FILE --only database`"
    )


def _connect_sqlite(connection: Any, _: Any) -> None:
    # The driver would begin transactions itself, except before DDL; `_begin_sqlite` does it
    # instead.
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-serializable
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    how = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {how}")


def _make_file(engine: sa.Engine) -> None:
    """Create the file, readable by its owner only, and let readers and the writer not block each
    other.

    https://www.sqlite.org/wal.html
    """
    path = Path(str(engine.url.database))
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise Unreachable(
            f"{shown(engine)}: the database file cannot be written ({error.strerror}): create its "
            "folder, or name another file"
        ) from None
    deadline = time.monotonic() + BUSY
    while True:
        try:
            with engine.connect() as connection:
                # Outside a transaction, and without SQLite's own wait for the lock.
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA journal_mode = WAL")
                return
        except (OperationalError, sqlite3.Error) as error:
            reason = str(getattr(error, "orig", None) or error)
            if is_damage(reason):
                raise Damaged(f"{_damaged(shown(engine), reason)}, or name another file") from None
            if "locked" not in reason or time.monotonic() > deadline:
                # SQLite's words for a full disk differ by the file that it writes first.
                full = "I/O" in reason or "full" in reason
                fix = "free disk space, or name another file" if full else "name another file"
                raise Unreachable(
                    f"{shown(engine)}: not usable as a database ({reason}): {fix}"
                ) from None
            time.sleep(0.02)


def revision(connection: sa.Connection) -> str | None:
    """The revision of the database; None: it is empty."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _reaches(connection: sa.Connection, current: str | None) -> bool:
    """Is it a newer schema that declares itself compatible with this askdocs?"""
    if current is None or not is_newer(current):
        return False
    if not sa.inspect(connection).has_table(reach_table.name):
        return False
    oldest = connection.execute(sa.select(reach_table.c.oldest)).scalar()
    return oldest is not None and oldest <= HEAD


def is_newer(revision: str) -> bool:
    """Revisions are four-digit numbers, which sort as text."""
    return len(revision) == len(HEAD) and revision.isdigit() and revision > HEAD


def _refuse_newer(engine: sa.Engine, current: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if current is not None and current not in known:
        raise AskdocsError(
            f"{shown(engine)}: the database was made by a newer askdocs (its schema is"
            f" {current!r}): upgrade askdocs, or name another database"
        )
