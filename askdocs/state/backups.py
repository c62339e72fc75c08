"""Backups: a gzipped tar of database, index, settings and versions, made while askdocs runs."""

import errno
import gzip
import os
import re
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import IO, Literal, get_args

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from askdocs.state.scratch import scratch
from core import audit, database
from core.errors import AskdocsError
from training.versions.local import Folder
from training.versions.manifest import ARTEFACTS
from training.versions.store import Store
from wiki.sources.sync import Progress

Part = Literal["database", "index", "versions"]
PARTS: tuple[Part, ...] = get_args(Part)
MANIFEST = "manifest.json"
DATABASE, INDEX, SETTINGS = "database/askdocs.db", "index/index.db", "settings/askdocs.toml"
# Increase it when an older askdocs could not read the new format.
FORMAT = 1
CHUNK = 2**20
# Weights and vectors dominate, and hardly compress: level 1 is five times as fast as 9.
LEVEL = 1
# In pages of 4 KiB: how often the progress bar is updated.
PAGES = 4096
DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
POSTGRESQL = (
    "the database is PostgreSQL: back it up and restore it with deploy/backup.sh, which runs"
    " pg_dump, and copy versions with `askdocs models push`"
)


@dataclass(frozen=True)
class InstallationPaths:
    """Where the parts of an installation are."""

    url: str
    """URL of the database."""
    index: Path
    settings: Path
    store: Store

    @property
    def database(self) -> Path:
        """The database file. Raises AskdocsError: it is PostgreSQL."""
        with opened(self.url) as engine:
            if engine.dialect.name != "sqlite":
                raise AskdocsError(POSTGRESQL)
            return Path(str(engine.url.database))


class Manifest(BaseModel):
    """The first file of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    askdocs: str
    """Version of the askdocs that made it."""
    made: datetime
    """In UTC."""
    revision: str | None
    """The database's schema."""
    versions: tuple[str, ...]
    """Names of the model versions."""
    weights: bool
    """Does it include these versions' files?"""


@dataclass(frozen=True)
class Backup:
    """A backup that was read completely."""

    place: Path
    manifest: Manifest
    files: dict[str, int]
    """Bytes of each file."""

    def has(self, part: Part) -> bool:
        return any(name.startswith(f"{part}/") for name in self.files)


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """The database as it is: neither created nor migrated."""
    engine = database.open(url)
    try:
        yield engine
    finally:
        engine.dispose()


def make(places: InstallationPaths, out: Path, weights: bool, progress: Progress) -> Backup:
    """Write a backup to a new file, and read it back.

    Args:
        places: the installation.
        out: the file.
        weights: include the files of all versions that are not retired.
        progress: see `Progress`.

    Raises:
        AskdocsError: there is nothing to back up, a part is damaged, or the file exists or cannot
            be written.
    """
    with write_errors(out):
        if out.exists():
            raise AskdocsError(f"{out}: already exists: name another file")
        if not out.parent.is_dir():
            is_there = out.parent.exists()
            what = "is no folder: name one" if is_there else "does not exist: create it first"
            raise AskdocsError(f"{out}: {out.parent} {what}")
        with scratch(out.parent, ".askdocs-backup-") as folder:
            new = folder / f"{out.name}.new"
            manifest, sources = _collected(places, folder, weights, progress)
            _pack(new, manifest, sources, progress)
            made = read(new, progress)
            try:
                os.link(new, out)  # unlike a rename, a link never overwrites
            except FileExistsError:
                raise AskdocsError(f"{out}: already exists: name another file") from None
            except OSError:  # a file system without links
                new.rename(out)
            sync(out.parent)
    return made


def record(places: InstallationPaths, out: Path, made: Backup) -> None:
    """Log the backup in the audit log, if the database has one. Raises Unreachable."""
    if made.manifest.revision is not None:
        size = sum(made.files.values())
        with opened(places.url) as engine, database.writing(engine) as connection:
            audit.record(
                connection, "backup.make", out.name, bytes=size, weights=made.manifest.weights
            )


def _collected(
    places: InstallationPaths, folder: Path, weights: bool, progress: Progress
) -> tuple[Manifest, dict[str, Path]]:
    """The manifest, and where each file is; changing files are copied to `folder` first."""
    made = datetime.now(UTC)
    sources: dict[str, Path] = {}
    for name, file, part in (
        (DATABASE, places.database, "database"),
        (INDEX, places.index, "index"),
    ):
        if file.exists():
            sources[name] = folder / file.name
            copy_sqlite(file, sources[name], part, progress)
    if not sources:
        raise AskdocsError(
            f"nothing to back up: neither {places.database} nor {places.index} exists: name the"
            " state folder with --home DIR"
        )
    if places.settings.is_file():
        sources[SETTINGS] = folder / "askdocs.toml"
        shutil.copyfile(places.settings, sources[SETTINGS])
    if weights:
        sources |= _versions(places.store, progress)
    revision = None
    if DATABASE in sources:
        with opened(f"sqlite:///{sources[DATABASE]}") as engine, database.reading(engine) as db:
            revision = database.revision(db)
    names = tuple(places.store.names())
    manifest = Manifest(
        askdocs=version("askdocs"), made=made, revision=revision, versions=names, weights=weights
    )
    return manifest, sources


def _versions(store: Store, progress: Progress) -> dict[str, Path]:
    """All files of versions, without artefacts, which can be derived again.

    Raises AskdocsError: a file is damaged, or the store is elsewhere.
    """
    if not isinstance(store.place, Folder):
        raise AskdocsError(
            f"--weights: the versions are in {store.place}, not on this machine: back up that "
            "store, or copy versions with `askdocs models push VERSION FOLDER`"
        )
    files = {}
    for name in store.names():
        if store.retired(name):
            continue
        store.fetch(name, None, progress)  # verifies it
        for path in store.place.list(name):
            if not path.startswith(f"{name}/{ARTEFACTS}/"):
                files[f"versions/{path}"] = store.place.root / path
    return files


def copy_sqlite(source: Path, target: Path, part: Part | str, progress: Progress) -> None:
    """Copy a SQLite database during reads and writes into a single file for its owner alone.

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
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from None
        if not database.is_damage(problem):
            raise AskdocsError(
                f"{source}: cannot be copied ({error}): check its permissions, and that there is"
                " space for the copy"
            ) from None
    if problem:
        raise AskdocsError(
            f"{source}: is damaged ({problem}): restore a backup with `askdocs restore FILE --only"
            f" {part}`"
        )


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


def _pack(out: Path, manifest: Manifest, sources: dict[str, Path], progress: Progress) -> None:
    content = f"{manifest.model_dump_json(indent=2)}\n".encode()
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with (
            # No name or time in the header.
            gzip.GzipFile("", "wb", LEVEL, file, 0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            _add(tar, MANIFEST, len(content), manifest, BytesIO(content))
            for number, (name, path) in enumerate(sources.items(), 1):
                with path.open("rb") as source:
                    _add(tar, name, path.stat().st_size, manifest, source)
                progress("packing files", number, len(sources))
        file.flush()
        os.fsync(file.fileno())


def _add(
    tar: tarfile.TarFile, name: str, size: int, manifest: Manifest, content: IO[bytes]
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(manifest.made.timestamp())
    tar.addfile(member, content)


def read(file: Path, progress: Progress) -> Backup:
    """Read a whole backup, and so its checksum.

    Raises AskdocsError: it is damaged, no backup, or from a newer askdocs.
    """
    manifest: Manifest | None = None
    files: dict[str, int] = {}
    for member, content in _members(file):
        if manifest is None:
            if member.name != MANIFEST:
                raise AskdocsError(f"{file}: is not a backup of askdocs: it has no {MANIFEST}")
            manifest = _decoded(content.read(), file)
        else:
            files[member.name] = member.size
        progress(f"reading {file.name}", len(files), None)
    if manifest is None:
        raise AskdocsError(f"{file}: is not a backup of askdocs: it has no {MANIFEST}")
    return Backup(file, manifest, files)


def extract(backup: Backup, parts: Collection[str], folder: Path, progress: Progress) -> None:
    """Extract parts of a backup into a folder, readable only by their owner.

    Raises:
        AskdocsError: the backup is damaged.
        OSError: a file cannot be written.
    """
    for number, (member, content) in enumerate(_members(backup.place)):
        if member.name.partition("/")[0] in parts:
            if ".." in Path(member.name).parts:
                raise AskdocsError(f"{backup.place}: {member.name!r} is not a path of a backup")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(content, file)
        progress("unpacking files", number, len(backup.files))


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Each file of a backup, with its content; at the end the checksum is verified."""
    try:
        # tarfile's own "r|gz" does not verify checksums.
        with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise AskdocsError(f"{file}: {member.name!r} is not a file: use another backup")
                yield member, content
            while packed.read(CHUNK):
                pass
    except DAMAGED as error:
        raise AskdocsError(
            f"{file}: is truncated or damaged ({error}), or not a backup of askdocs: use another"
            " backup"
        ) from None
    except OSError as error:
        if error.filename not in (None, str(file)):
            raise
        raise AskdocsError(f"{file}: cannot be read ({error.strerror}): name a backup") from None


def _decoded(content: bytes, place: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        newer = re.search(rb'"format": *(\d+)', content)
        if newer and int(newer[1]) > FORMAT:
            raise AskdocsError(
                f"{place}: was made by a newer askdocs: upgrade askdocs first"
            ) from None
        first = error.errors(include_url=False)[0]["msg"]
        raise AskdocsError(
            f"{place}: its {MANIFEST} cannot be read ({first}): use another backup"
        ) from None
    if manifest.format > FORMAT or (manifest.revision or "") > database.HEAD:
        raise AskdocsError(
            f"{place}: was made by a newer askdocs ({manifest.askdocs}, schema {manifest.revision};"
            f" this is {version('askdocs')}, schema {database.HEAD}): upgrade askdocs first"
        )
    return manifest


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Convert an OSError in writing this file to an AskdocsError."""
    try:
        yield
    except OSError as error:
        raise AskdocsError(
            f"{target}: cannot be written ({error.strerror}): check free space and write permission"
        ) from None


def sync(folder: Path) -> None:
    """Sync a folder, so that renames in it are durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
