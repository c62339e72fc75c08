"""Restores a backup, part by part: a kill leaves each part as it was, or as it is in the backup.

The database comes last, with what must not be undone: keys that were revoked or rotated since stay
closed, and the audit log keeps its lines.
"""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from askdocs.state import backups
from askdocs.state.backups import DATABASE, INDEX, Backup, InstallationPaths, Part
from askdocs.state.home import Home
from askdocs.state.scratch import scratch
from askdocs.terminal import stopping
from core import audit, database
from core.errors import AskdocsError
from gateway.access import revocations
from gateway.access.keys import key_table, secret_table
from training.versions.local import Folder
from training.versions.manifest import ARTEFACTS, MANIFEST
from training.versions.store import Store
from training.versions.transfer import copy
from wiki.sources.sync import Progress

REPLACED = "replaced"
# Suffixes of SQLite's companion files.
LOGS = ("-wal", "-shm", "-journal")
STAYS, BACK, ABSENT = "is here", "comes back", "is not here, and the backup has no weights"


@dataclass
class RestorePlan:
    """The effects of a restore."""

    backup: Backup
    parts: tuple[Part, ...]
    """Parts that the backup has and that were requested."""
    versions: dict[str, str]
    """What happens to each version in the backup."""
    comes_back: int = 0
    """Questions deleted since the backup."""
    unchecked: list[str] = field(default_factory=list)
    """Names of open keys that may have been closed since the backup, because the replaced database
    could not be read."""


def plan(
    places: InstallationPaths, file: Path, parts: Collection[Part], progress: Progress
) -> RestorePlan:
    """Read a backup and determine what restoring `parts` of it would do; changes nothing.

    Raises AskdocsError: it is damaged, has none of the parts, or the database is PostgreSQL.
    """
    backup = backups.read(file, progress)
    has = tuple(part for part in parts if backup.has(part))
    if "database" in has or "index" in has:
        _ = places.database  # is a file
    versions = {}
    if "versions" in parts:
        for name in backup.manifest.versions:
            if _is_whole(places.store, name, progress):
                versions[name] = STAYS
            else:
                has_files = f"versions/{name}/{MANIFEST}" in backup.files
                versions[name] = BACK if has_files else ABSENT
    if not has and not versions:
        raise AskdocsError(f"{file}: has no {' or '.join(parts)}: use another backup")
    return RestorePlan(backup, has, versions)


def restore(
    home: Home, places: InstallationPaths, planned: RestorePlan, progress: Progress
) -> Path | None:
    """Restore. Returns the folder with the replaced files; None: there were none.

    Raises:
        AskdocsError: askdocs runs here, the backup does not fit, or a file cannot be written.
        KeyboardInterrupt: it was stopped before the first change.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    kept = home.root / REPLACED / stamp
    with (
        exclusive(home, places),
        scratch(home.root, ".restore-") as work,
        backups.write_errors(work),
    ):
        backups.extract(planned.backup, planned.parts, work, progress)
        swaps = []
        if "index" in planned.parts:
            swaps.append((_checked(planned, work / INDEX, progress), places.index))
            _settled(places.index)
        if "database" in planned.parts:
            swaps.append((_checked(planned, work / DATABASE, progress), places.database))
            _prepare(planned, work / DATABASE, places.database)
        else:
            _note(places, planned)
        with stopping.held() as stops:
            _put_versions(places.store, planned, work / "versions", stamp, progress)
            for new, target in swaps:
                _swap(new, target, kept)
            stops.clear()  # too late: it is restored
    return kept if kept.exists() else None


@contextmanager
def exclusive(home: Home, places: InstallationPaths) -> Iterator[None]:
    """Keep `askdocs up` from starting. Raises AskdocsError: a process uses the files."""
    if home.is_locked():
        raise AskdocsError(
            f"askdocs is running in {home.root}: stop it with Ctrl-C there, then restore"
        )
    home.make()
    with home.lock():
        files = {file.resolve() for file in (home.database, places.index)}
        for process in psutil.process_iter():
            try:
                used = files & {Path(one.path) for one in process.open_files()}
            except (psutil.Error, OSError):
                continue
            if used and process.pid != os.getpid():
                words = " ".join(process.cmdline()[:4])
                raise AskdocsError(
                    f"{used.pop()}: is in use by process {process.pid} ({words}): stop that, then"
                    " restore"
                )
        yield


def _checked(planned: RestorePlan, file: Path, progress: Progress) -> Path:
    with closing(sqlite3.connect(file)) as db:
        if problem := backups.damage(db, f"reading {file.name}", progress):
            raise AskdocsError(f"{planned.backup.place}: {file.name} is damaged ({problem})")
    return file


def _settled(file: Path) -> bool:
    """Merge a SQLite file's log into it, so that it is a single file; returns whether it is there
    and readable.

    Raises AskdocsError: another process has it open.
    """
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=5)) as db:
            # Only an exclusive user may do this: https://www.sqlite.org/wal.html
            db.execute("PRAGMA journal_mode = DELETE")
            return not backups.damage(db, "", lambda *_: None)
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise AskdocsError(
                f"{file}: is in use: stop the process that uses it, then restore"
            ) from None
        return False


def _prepare(planned: RestorePlan, new: Path, old: Path) -> None:
    """Migrate the new database, close in it what was closed since, and log the restore."""
    with backups.opened(f"sqlite:///{new}") as engine:
        database.migrate(engine)
        if _settled(old):
            with backups.opened(f"sqlite:///{old}") as replaced:
                planned.comes_back = _keep_closed(replaced, engine)
        else:  # it is damaged or lost
            _close_again(revocations.read(old), engine)
            planned.unchecked = _open_keys(engine)
        with database.writing(engine) as connection:
            _record(connection, planned)
    _settled(new)


def _keep_closed(old: sa.Engine, new: sa.Engine) -> int:
    """Carry over from `old`, if it has them, changes that must not be undone.

    Keys revoked or rotated since stay so; the audit log keeps all its lines. Returns the number of
    questions in `new` that are no longer in `old`, because they were deleted.
    """
    with database.reading(old) as connection:
        if database.revision(connection) is None:
            return 0
        keys = list(connection.execute(sa.select(key_table.c.id, key_table.c.revoked)))
        held = [dict(row._mapping) for row in connection.execute(sa.select(secret_table))]
        questions = set(connection.execute(sa.text("SELECT id FROM questions")).scalars())
    lines = audit.lines(old)
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
    return len(restored - questions)


def _close_again(closed: Collection[revocations.Closed], new: sa.Engine) -> None:
    """Like `_keep_closed`, from the list beside a database that cannot be read."""
    with database.writing(new) as connection:
        for key_id, at, digest in closed:
            if digest is None:
                the_secret = sa.and_(key_table.c.id == key_id, key_table.c.revoked.is_(None))
                connection.execute(sa.update(key_table).where(the_secret).values(revoked=at))
            else:
                until = secret_table.c.valid_until
                the_secret = sa.and_(
                    secret_table.c.digest == digest, sa.or_(until.is_(None), until > at)
                )
                connection.execute(sa.update(secret_table).where(the_secret).values(valid_until=at))


def _open_keys(engine: sa.Engine) -> list[str]:
    """Names of the keys that are neither revoked nor expired."""
    with database.reading(engine) as connection:
        c = key_table.c
        still = sa.or_(c.expires.is_(None), c.expires > datetime.now(UTC))
        query = sa.select(c.name).where(c.revoked.is_(None), still).order_by(c.name)
        return list(connection.execute(query).scalars())


def _note(places: InstallationPaths, planned: RestorePlan) -> None:
    """Log the restore in the database that stays, if it has an audit log. Raises Unreachable."""
    with backups.opened(places.url) as engine:
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).exists():
            return
        with database.writing(engine) as connection:
            if database.revision(connection):
                _record(connection, planned)


def _record(connection: sa.Connection, planned: RestorePlan) -> None:
    audit.record(
        connection,
        "backup.restore",
        planned.backup.place.name,
        made=planned.backup.manifest.made.isoformat(timespec="seconds"),
        parts=list(planned.parts),
        versions=[name for name, what in planned.versions.items() if what == BACK],
    )


def _swap(new: Path, target: Path, kept: Path) -> None:
    """Replace a file atomically, and keep the old one."""
    near = target.with_name(f"{target.name}.restored")  # on the target's file system
    shutil.move(new, near)
    with near.open("rb") as file:
        os.fsync(file.fileno())
    old = [target, *(target.with_name(target.name + log) for log in LOGS)]
    for path in filter(Path.exists, old):
        kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path != target:
            # Of a damaged file: a leftover log would be applied to the new one.
            shutil.move(path, kept / path.name)
            continue
        try:
            os.link(target, kept / target.name)
        except OSError:  # another file system, or one without links
            shutil.copy2(target, kept / target.name)
    near.replace(target)
    backups.sync(target.parent)


def _is_whole(store: Store, name: str, progress: Progress) -> bool:
    try:
        store.fetch(name, None, progress)
    except AskdocsError:
        return False
    return True


def _put_versions(
    store: Store, planned: RestorePlan, unpacked: Path, stamp: str, progress: Progress
) -> None:
    """Copy missing and damaged versions from the backup; their artefacts are kept."""
    for name, what in planned.versions.items():
        if what != BACK:
            continue
        broken = None
        if isinstance(store.place, Folder) and (store.place.root / name).exists():
            broken = store.place.root / REPLACED / stamp / name
            broken.parent.mkdir(parents=True, exist_ok=True)
            (store.place.root / name).rename(broken)
        copy(name, Store(Folder(unpacked)), store, (), progress)
        if broken and isinstance(store.place, Folder) and (broken / ARTEFACTS).is_dir():
            shutil.copytree(broken / ARTEFACTS, store.place.root / name / ARTEFACTS)
