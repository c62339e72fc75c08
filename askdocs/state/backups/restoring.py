"""Restores a backup: preview the changes, prepare the files, and commit."""

import secrets
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from askdocs.state.backups import archive, closed, moves, snapshot
from askdocs.state.backups.archive import Backup
from askdocs.state.backups.making import InstallationPaths, opened
from askdocs.state.backups.manifest import DATABASE, DUMP, INDEX, SETTINGS, Part
from askdocs.state.backups.moves import LOGS, Move
from askdocs.state.home import Home
from askdocs.state.scratch import scratch
from askdocs.terminal import stopping
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import store as search
from gateway.knowledge.sources.sync import Progress
from gateway.storage import database
from gateway.telemetry import audit
from training.versions import files as hashed
from training.versions.local import Folder
from training.versions.manifest import ARTEFACTS, MANIFEST, Manifest, decode, sha256

REPLACED = "replaced"


@dataclass
class RestorePlan:
    """The effects of a restore."""

    backup: Backup
    parts: tuple[Part, ...]
    """Parts that the backup has and that were requested."""
    versions: dict[str, str] = field(default_factory=dict)
    """What happens to each version in the backup: kept, restored, or not included."""
    settings_differ: bool = False
    comes_back: int = 0
    """Questions deleted since the backup."""
    unchecked: list[str] = field(default_factory=list)
    """Names of open keys that may have been closed since the backup, because the current data could
    not be read."""


def plan(
    places: InstallationPaths, backup: Backup, parts: Collection[Part], progress: Progress
) -> RestorePlan:
    """Verify a backup and determine what restoring `parts` of it would do; changes nothing.

    Raises:
        AskdocsError: it is damaged, has none of the parts, or does not fit this installation.
    """
    archive.verify(backup, progress)
    manifest = backup.manifest
    planned = RestorePlan(backup, tuple(part for part in parts if manifest.of(part)))
    if not planned.parts:
        raise AskdocsError(f"{backup.place}: has no {' or '.join(parts)}: use another backup")
    has = planned.parts
    if "database" in has:
        kind = "PostgreSQL" if DUMP in manifest.files else "SQLite"
        here = "SQLite" if places.database else "PostgreSQL"
        if kind != here:
            raise AskdocsError(
                f"{backup.place}: holds a database of {kind}, and the one here is {here}: set"
                " ASKDOCS_DATABASE_URL to one of the same kind, or leave it out with --only"
            )
        if places.database is None:
            _refuse_used(places.url)
    if "versions" in has:
        planned.versions = _versions(places, backup, progress)
    if SETTINGS in manifest.files:
        content = places.settings.read_bytes() if places.settings.is_file() else b""
        planned.settings_differ = sha256(content) != manifest.files[SETTINGS].sha256
    return planned


def restore(
    home: Home, places: InstallationPaths, planned: RestorePlan, progress: Progress
) -> Path | None:
    """Restore. Returns the folder with the replaced data; None: there was none.

    Raises:
        AskdocsError: askdocs runs here, or a file cannot be written; nothing is changed.
        KeyboardInterrupt: it was stopped before the commit; nothing is changed.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    replaced = home.root / REPLACED / stamp
    with exclusive(home, places) as journal, ExitStack() as stack:
        dump = _dump(home, places, planned, stack, progress)
        staged: list[Move] = []
        stack.callback(_discard, staged)
        revision = _database(places, planned, replaced, staged, progress)
        _index(places, planned, replaced, staged, progress)
        _put_versions(places, planned, stamp, staged, progress)
        with stopping.held() as stops:
            if dump is not None:
                _load(places, planned, dump, stops, progress)
            if staged:
                if "database" not in planned.parts:
                    _note(places, planned)
                moves.decide(journal, staged, replaced, revision)
                staged.clear()
                moves.finish(journal)
            stack.close()
            stops.clear()  # too late: the restore is committed
    return replaced if replaced.exists() else None


@contextmanager
def exclusive(home: Home, places: InstallationPaths) -> Iterator[Path]:
    """Hold the files exclusively, without a starting `askdocs up`; yields the journal's place.

    First completes an unfinished restore. Raises AskdocsError: another process uses the files.
    """
    if home.is_locked():
        raise AskdocsError(
            f"askdocs is running in {home.root}: stop it with Ctrl-C there, then restore"
        )
    home.make()
    file = places.database or home.database
    with home.lock():
        for database_file in (file, places.index):
            if users := list(_users(database_file)):
                raise AskdocsError(
                    f"{database_file}: is in use by {', '.join(users)}: stop that, then restore"
                )
        moves.finish(moves.journal_of(file))
        yield moves.journal_of(file)


def _users(file: Path) -> Iterator[str]:
    """Other processes that have a database open, as far as visible to us."""
    paths = {str(file.resolve())} | {str(file.resolve()) + log for log in LOGS}
    own = psutil.Process().pid
    for process in psutil.process_iter():
        if process.pid == own:
            continue
        try:
            if any(open_file.path in paths for open_file in process.open_files()):
                yield f"process {process.pid} ({' '.join(process.cmdline()[:4])})"
        except (psutil.Error, OSError):
            continue


def _database(
    places: InstallationPaths,
    planned: RestorePlan,
    replaced: Path,
    staged: list[Move],
    progress: Progress,
) -> str | None:
    """Prepare the database, migrated to the current schema; returns the old database's schema."""
    target = places.database
    if target is None or "database" not in planned.parts:
        return None
    new = target.with_name(f"{target.name}.restored")
    _clear(new)
    intact = _settled(target)
    old_file = replaced / DATABASE
    staged.append(Move(new=new, target=target, kept=old_file, name=DATABASE if intact else None))
    archive.extract(planned.backup, {DATABASE: new}, progress)
    with closing(sqlite3.connect(new)) as db:
        if problem := snapshot.damage(db, "reading the database", progress):
            raise AskdocsError(f"{planned.backup.place}: {DATABASE} is damaged ({problem})")
    revision = None
    with opened(f"sqlite:///{new}") as engine:
        database.migrate(engine)
        if intact and target.exists():
            with opened(f"sqlite:///{target}") as old:
                with database.reading(old) as connection:
                    revision = database.revision(connection)
                planned.comes_back = closed.keep_closed(old, engine)
        else:  # it is damaged or lost
            planned.unchecked = closed.close_again(target, engine)
        with database.writing(engine) as connection:
            _record(connection, planned)
    _settled(new)
    return revision


def _index(
    places: InstallationPaths,
    planned: RestorePlan,
    replaced: Path,
    staged: list[Move],
    progress: Progress,
) -> None:
    if "index" not in planned.parts or INDEX not in planned.backup.manifest.files:
        return
    target = places.index
    new = target.with_name(f"{target.name}.restored")
    _clear(new)
    intact = _settled(target)
    name = INDEX if intact else None
    staged.append(Move(new=new, target=target, kept=replaced / INDEX, name=name))
    archive.extract(planned.backup, {INDEX: new}, progress)
    with closing(sqlite3.connect(new)) as db:
        if problem := snapshot.damage(db, "reading the index", progress):
            raise AskdocsError(f"{planned.backup.place}: {INDEX} is damaged ({problem})")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if application == search.APPLICATION and version > search.VERSION:
            raise AskdocsError(
                f"{planned.backup.place}: its index was made by a newer askdocs: upgrade askdocs, "
                "or leave the index out with --only"
            )


def _settled(file: Path) -> bool:
    """Merge a SQLite file's log into it, so that it is a single file; returns whether it is
    readable.

    Raises AskdocsError: another process has it open.
    """
    if not file.exists():
        return True
    try:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=5)) as db:
            # Only an exclusive user may do this: https://www.sqlite.org/wal.html
            db.execute("PRAGMA journal_mode = DELETE")
            return not snapshot.damage(db, "", lambda *_: None)
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise AskdocsError(
                f"{file}: is in use: stop the process that uses it, then restore"
            ) from None
        return False


def _record(connection: sa.Connection, planned: RestorePlan) -> None:
    made = planned.backup.manifest.made.isoformat(timespec="seconds")
    back = [name for name, what in planned.versions.items() if what == BACK]
    audit.record(
        connection,
        "backup.restore",
        planned.backup.place.name,
        made=made,
        parts=list(planned.parts),
        versions=back,
    )


def _note(places: InstallationPaths, planned: RestorePlan) -> None:
    """Log the restore in the database that stays, if it has an audit log.

    It is not migrated for that: a PostgreSQL database must stay empty to be restored. Raises
    Unreachable.
    """
    if places.database is None or places.database.exists():
        with opened(places.url) as engine, database.writing(engine) as connection:
            if database.revision(connection):
                _record(connection, planned)


def _refuse_used(url: str) -> None:
    """Raises AskdocsError: the PostgreSQL database is not empty."""
    with opened(url) as engine, database.reading(engine) as connection:
        tables = sa.inspect(connection).get_table_names()
        name = engine.url.database
        if tables:
            raise AskdocsError(
                f"{database.shown(engine)}: is not empty, and is not overwritten: create another "
                f"database with `createdb {name}_restored`, set ASKDOCS_DATABASE_URL to it, and "
                "restore again; this one is unchanged"
            )


def _dump(
    home: Home,
    places: InstallationPaths,
    planned: RestorePlan,
    stack: ExitStack,
    progress: Progress,
) -> Path | None:
    """Prepare the dump for PostgreSQL until the stack is closed."""
    if places.database is not None or "database" not in planned.parts:
        return None
    file = stack.enter_context(scratch(home.root, ".restore-")) / "postgresql.dump"
    archive.extract(planned.backup, {DUMP: file}, progress)
    return file


def _load(
    places: InstallationPaths,
    planned: RestorePlan,
    dump: Path,
    stops: Sequence[int],
    progress: Progress,
) -> None:
    """Load a dump into PostgreSQL in one transaction. Raises KeyboardInterrupt: stopped before the
    commit."""
    with opened(places.url) as engine:
        if not snapshot.load(engine, dump, stops, progress):
            raise KeyboardInterrupt
        database.migrate(engine)
        planned.unchecked = closed.open_keys(engine)
        with database.writing(engine) as connection:
            _record(connection, planned)


STAYS, BACK, ABSENT = "is here", "comes back", "is not here, and the backup has no weights"


def _versions(places: InstallationPaths, backup: Backup, progress: Progress) -> dict[str, str]:
    """What happens to each version. Raises AskdocsError: another version has its name."""
    store, manifest = places.store, backup.manifest
    states = {}
    for name, wanted in manifest.versions.items():
        try:
            there = sha256(store.manifest_bytes(name))
        except AskdocsError:
            there = ""
        has_files = f"versions/{name}/{MANIFEST}" in manifest.files and manifest.weights
        if there and there != wanted:
            try:
                store.manifest(name)
            except AskdocsError:
                pass  # its manifest is damaged
            else:
                raise AskdocsError(
                    f"{store.place}/{name}: differs from the backup's {name}: retire it, or leave "
                    "the versions out with --only"
                )
        elif there and (not has_files or _is_whole(places, name, progress)):
            states[name] = STAYS
            continue
        states[name] = BACK if has_files and isinstance(store.place, Folder) else ABSENT
    return states


def _is_whole(places: InstallationPaths, name: str, progress: Progress) -> bool:
    folder = Path(str(places.store.place), name)
    try:
        hashed.verify(folder, places.store.manifest(name).files, "", "", progress)
    except (AskdocsError, OSError):
        return False
    return True


def _put_versions(
    places: InstallationPaths,
    planned: RestorePlan,
    stamp: str,
    staged: list[Move],
    progress: Progress,
) -> None:
    """Prepare missing or damaged versions; their local artefacts are kept."""
    back = [name for name, what in planned.versions.items() if what == BACK]
    if not back or not isinstance(places.store.place, Folder):
        return
    root = places.store.place.root
    wanted: dict[str, Path] = {}
    for name in back:
        # A name that `askdocs models gc` recognises as an interrupted write.
        new = root / f".{name}.{secrets.token_hex(4)}{hashed.NEW}"
        target, old_folder = root / name, root / REPLACED / stamp / name
        staged.append(Move(new=new, target=target, kept=old_folder))
        prefix = f"versions/{name}/"
        for path in planned.backup.manifest.files:
            if path.startswith(prefix):
                wanted[path] = new / path.removeprefix(prefix)
    archive.extract(planned.backup, wanted, progress)
    for move in staged:
        if move.new.is_dir():
            _check_version(move.new, planned.backup, move.target.name, progress)
            if (move.target / ARTEFACTS).is_dir():
                shutil.copytree(move.target / ARTEFACTS, move.new / ARTEFACTS)


def _check_version(folder: Path, backup: Backup, name: str, progress: Progress) -> None:
    """Raises AskdocsError: the backup's files do not match the version's own manifest."""
    manifest = decode(Manifest, (folder / MANIFEST).read_bytes(), f"{backup.place}: {name}")
    fix = "take another backup"
    hashed.verify(folder, manifest.files, f"{backup.place}: {name}/", fix, progress)


def _clear(new: Path) -> None:
    """Remove leftovers of a restore that was interrupted before its commit."""
    for path in (new, *(new.with_name(new.name + log) for log in LOGS)):
        path.unlink(missing_ok=True)


def _discard(staged: Sequence[Move]) -> None:
    with stopping.held():
        for move in staged:
            if move.new.is_dir():
                shutil.rmtree(move.new, ignore_errors=True)
            else:
                _clear(move.new)


def facts(planned: RestorePlan) -> Mapping[str, object]:
    """A plan for scripts."""
    manifest = planned.backup.manifest
    return {
        "backup": str(planned.backup.place),
        "made": manifest.made.isoformat(timespec="seconds"),
        "askdocs": manifest.askdocs,
        "schema": manifest.revision,
        "bytes": manifest.bytes,
        "weights": manifest.weights,
        "live": manifest.live,
        "parts": list(planned.parts),
        "versions": planned.versions,
        "settings_differ": planned.settings_differ,
    }
