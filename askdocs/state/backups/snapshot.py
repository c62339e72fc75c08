"""Consistent snapshots of databases that are in use."""

import errno
import os
import secrets
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress
from gateway.storage import database

# In pages of 4 KiB: how often the progress bar is updated.
PAGES = 4096
LOOK = 0.2  # seconds between two checks of a running program


def sqlite(source: Path, target: Path, fix: str, progress: Progress) -> None:
    """Copy a SQLite database during reads and writes into a single file for its owner alone.

    Args:
        fix: the fix for a damaged source, for the error.

    Raises:
        AskdocsError: the source cannot be read or is damaged.
        OSError: the target cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    uri = f"{source.absolute().as_uri()}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)) as db,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            # Otherwise each commit by others would restart the copy:
            # https://www.sqlite.org/c3ref/backup_finish.html
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            step = f"copying {source.name}"
            db.backup(
                copy, pages=PAGES, progress=lambda _, left, all: progress(step, all - left, all)
            )
            db.execute("COMMIT")
            # A single file without a log.
            copy.execute("PRAGMA journal_mode = DELETE")
            problem = damage(copy, f"reading {source.name}", progress)
    except sqlite3.Error as error:
        problem = str(error)
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise _full(target) from None
        if not database.is_damage(problem):
            raise AskdocsError(
                f"{source}: cannot be copied ({error}): check its permissions, and that there is"
                " space for the copy"
            ) from None
    if problem:
        raise AskdocsError(f"{source}: is damaged ({problem}): {fix}")


def damage(db: sqlite3.Connection, step: str, progress: Progress) -> str:
    """Structural damage of a database, in a line; empty if there is none."""
    beats = 0

    def beat() -> int:
        nonlocal beats
        beats += 1
        progress(step, beats, None)
        return 0

    db.set_progress_handler(beat, 1_000_000)
    try:
        problems = [row[0] for row in db.execute("PRAGMA integrity_check(1)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            # By Ctrl-C or the like within `beat`, which SQLite turned into its own error.
            raise KeyboardInterrupt from None
        return str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        db.set_progress_handler(None, 0)
    return "" if problems == ["ok"] else " ".join(" ".join(problems).split())


def dump(engine: sa.Engine, target: Path, progress: Progress) -> None:
    """Dump a PostgreSQL database that may be in use.

    Raises:
        AskdocsError: pg_dump is missing, or fails.
        OSError: the target cannot be written.
    """
    url, env = _libpq(engine)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    words = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    _run([_program("pg_dump"), *words, f"--dbname={url}"], env, target, progress)


def load(engine: sa.Engine, file: Path, stops: Sequence[int], progress: Progress) -> bool:
    """Load a dump into an empty database, all or nothing. Raises AskdocsError.

    Returns False if one of the signals `stops` came in time: the database is then still empty.
    """
    name = f"askdocs-restore-{secrets.token_hex(4)}"
    url, env = _libpq(engine, application_name=name)
    words = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]

    def show(step: str, done: int, total: int | None) -> None:
        if stops:
            raise KeyboardInterrupt
        progress(step, done, total)

    try:
        _run([_program("pg_restore"), *words, f"--dbname={url}", str(file)], env, None, show)
    except (KeyboardInterrupt, AskdocsError):  # Ctrl-C ends pg_restore, too
        if not stops:
            raise
        return _has_committed(engine, name)
    return True


def _has_committed(engine: sa.Engine, name: str) -> bool:
    """End the server's part of a restore, which continues if pg_restore is killed. Returns whether
    it had committed."""
    end = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = :name"
    )
    while True:
        with database.reading(engine) as connection:
            if not connection.scalar(end, {"name": name}):
                return bool(sa.inspect(connection).get_table_names())
        time.sleep(LOOK)


def _run(words: list[str], env: dict[str, str], file: Path | None, progress: Progress) -> None:
    name = Path(words[0]).name
    env = {**os.environ, "LC_ALL": "C", **env}  # its output is parsed
    # Ctrl-C must reach only this command, which then ends the other: otherwise the other could end
    # first and look as if it had failed.
    with subprocess.Popen(
        words,
        env=env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None:
                done = file.stat().st_size // 1_000_000 if file else 0
                progress(f"{name} (MB)", done, None)
                time.sleep(LOOK)
        except BaseException:
            process.kill()
            raise
        assert process.stderr is not None
        output = process.stderr.read().strip().splitlines()
    if process.returncode:
        why = next((line for line in output if "error" in line), output[0] if output else "")
        if file is not None and os.strerror(errno.ENOSPC) in why:
            raise _full(file)
        raise AskdocsError(
            f"{name} failed ({why or process.returncode}): check that its version is at least the "
            "server's, and that ASKDOCS_DATABASE_URL is correct"
        )


def _full(target: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise AskdocsError(
            f"{name} is not installed, and a backup of PostgreSQL needs it: apt-get install"
            " postgresql-client, or ask the server's administrator to back it up"
        )
    return path


def _libpq(engine: sa.Engine, **options: str) -> tuple[str, dict[str, str]]:
    """The URL without the password, which a process list would show, and the password."""
    url = engine.url.set(drivername="postgresql")
    query = {**url.query, **options}
    password = url.password or query.pop("password", None)
    bare = sa.URL.create(
        "postgresql", url.username, None, url.host, url.port, url.database, query=query
    )
    return bare.render_as_string(False), {"PGPASSWORD": str(password)} if password else {}
