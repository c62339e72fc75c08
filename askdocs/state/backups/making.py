"""Backs up an installation, which may be running."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import sqlalchemy as sa

from askdocs.state.backups import archive, snapshot
from askdocs.state.backups.manifest import (
    DATABASE,
    DUMP,
    INDEX,
    SETTINGS,
    Manifest,
    askdocs_version,
)
from askdocs.state.scratch import scratch
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import Alias
from gateway.knowledge.sources.sync import Progress
from gateway.routing import aliases
from gateway.storage import database
from gateway.telemetry import audit
from training.versions.files import digest
from training.versions.local import Folder
from training.versions.manifest import MANIFEST, MEASURED, RETIRED, File
from training.versions.store import Store


@dataclass(frozen=True)
class InstallationPaths:
    """Where the parts of an installation are."""

    url: str
    """URL of the database."""
    index: Path
    settings: Path
    store: Store
    configured: dict[str, Alias]
    """Aliases from the settings, which the database's aliases override."""

    @property
    def database(self) -> Path | None:
        """The database file; None for PostgreSQL."""
        with opened(self.url) as engine:
            return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


@contextmanager
def opened(url: str) -> Iterator[sa.Engine]:
    """The database as it is: neither created nor migrated."""
    engine = database.open(url)
    try:
        yield engine
    finally:
        engine.dispose()


def make(places: InstallationPaths, out: Path, weights: bool, progress: Progress) -> Manifest:
    """Write a backup to a new file.

    Args:
        weights: include the files of all versions that are not retired.

    Raises:
        AskdocsError: there is nothing to back up, a part is damaged or unreachable, or the file
            exists or cannot be written.
    """
    with archive.write_errors(out):
        if out.exists():
            raise AskdocsError(f"{out}: already exists: name another file")
        if not out.parent.is_dir():
            what = (
                "is no folder: name one"
                if out.parent.exists()
                else "does not exist: create it first"
            )
            raise AskdocsError(f"{out}: {out.parent} {what}")
        with scratch(out.parent, ".askdocs-backup-") as folder:
            manifest, sources = _collected(places, folder, weights, progress)
            archive.write(out, folder, manifest, sources, progress)
    return manifest


def _collected(
    places: InstallationPaths, folder: Path, weights: bool, progress: Progress
) -> tuple[Manifest, dict[str, Path]]:
    """The contents of a backup; changing files are copied to `folder` first."""
    made = datetime.now(UTC)
    sources: dict[str, Path] = {}
    file = places.database
    if file is None:
        sources[DUMP] = folder / "postgresql.dump"
        with opened(places.url) as engine:
            database.ping(engine)
            snapshot.dump(engine, sources[DUMP], progress)
    elif file.exists():
        sources[DATABASE] = folder / "askdocs.db"
        fix = "restore a backup with `askdocs restore FILE --only database`"
        snapshot.sqlite(file, sources[DATABASE], fix, progress)
    # With PostgreSQL, the index is in the database, and the file is a copy.
    if file is not None and places.index.exists():
        sources[INDEX] = folder / "index.db"
        fix = (
            "restore a backup with `askdocs restore FILE --only index`, or delete it and run"
            " `askdocs docs sync`"
        )
        snapshot.sqlite(places.index, sources[INDEX], fix, progress)
    if not sources:
        raise AskdocsError(
            f"nothing to back up: neither {file} nor {places.index} exists: name the state folder "
            "with --home DIR"
        )
    if places.settings.is_file():
        sources[SETTINGS] = folder / "askdocs.toml"
        shutil.copyfile(places.settings, sources[SETTINGS])
    files = {name: _measured(source) for name, source in sources.items()}
    for name, source, entry in _versions(places.store, weights, progress):
        sources[name], files[name] = source, entry
    url = f"sqlite:///{sources[DATABASE]}" if DATABASE in sources else places.url
    revision, stored = _database_state(url)
    table = {**aliases.DEFAULT, **places.configured, **stored}
    manifest = Manifest(
        askdocs=askdocs_version(),
        made=made,
        revision=revision,
        live={name: alias.targets for name, alias in sorted(table.items())},
        versions={
            name: sha256(places.store.manifest_bytes(name)).hexdigest()
            for name in places.store.names()
        },
        weights=weights,
        files=files,
    )
    return manifest, sources


def _versions(store: Store, weights: bool, progress: Progress) -> Iterator[tuple[str, Path, File]]:
    """Files of versions, by path in the backup; without weights, only those that document the
    version.

    Excludes artefacts, which can be derived again. Raises AskdocsError: a file is damaged.
    """
    if not isinstance(store.place, Folder):
        if weights:
            raise AskdocsError(
                f"--weights: the versions are in {store.place}, not on this machine: back up that "
                "store, or copy versions with `askdocs models push VERSION FOLDER`"
            )
        return
    root = store.place.root
    for name in store.names():
        measured = [path for kind in MEASURED for path in store.place.list(f"{name}/{kind}")]
        for path in (MANIFEST, RETIRED, *measured):
            source = root / (path if "/" in path else f"{name}/{path}")
            if source.is_file():
                yield f"versions/{source.relative_to(root).as_posix()}", source, _measured(source)
        if weights and not store.retired(name):
            folder = store.fetch(name, None, progress)
            for path, entry in store.manifest(name).files.items():
                yield f"versions/{name}/{path}", folder / path, entry


def _measured(path: Path) -> File:
    """Raises AskdocsError: it cannot be read."""
    try:
        return File(sha256=digest(path, lambda more: None), bytes=path.stat().st_size)
    except OSError as error:
        raise AskdocsError(
            f"{path}: cannot be read ({error.strerror}): check its permissions"
        ) from None


def _database_state(url: str) -> tuple[str | None, dict[str, Alias]]:
    """A database's schema and aliases."""
    with opened(url) as engine, database.reading(engine) as connection:
        revision = database.revision(connection)
    if revision is None:
        return None, {}
    with opened(url) as engine:
        return revision, aliases.stored(engine)


def record(places: InstallationPaths, out: Path, manifest: Manifest) -> None:
    """Log the backup in the audit log, if the database has one. Raises Unreachable."""
    if manifest.revision is not None:
        with opened(places.url) as engine, database.writing(engine) as connection:
            audit.record(
                connection, "backup.make", out.name, bytes=manifest.bytes, weights=manifest.weights
            )
