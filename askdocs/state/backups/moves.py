"""Moves the files of a prepared restore into place atomically, even after a kill.

New files are prepared beside those that they replace. Then a journal file that lists all moves is
written atomically, which commits the restore: whoever finds it completes the remaining moves.
Before that, nothing has changed.
"""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from askdocs.state import home
from askdocs.state.backups.archive import private, sync
from askdocs.state.backups.manifest import MANIFEST, Manifest, askdocs_version, encode
from gateway.core.errors import AskdocsError
from gateway.storage import database
from training.versions.files import digest
from training.versions.manifest import File

# Suffixes of SQLite's companion files.
LOGS = ("-wal", "-shm", "-journal")


class Move(BaseModel):
    """Replaces a file or folder, which is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    new: Path
    target: Path
    kept: Path
    name: str | None = None
    """Path of the kept file in a backup; None: it is damaged, or a folder."""

    def make(self) -> None:
        """Move; can be repeated after a kill at any point."""
        if not self.new.exists():
            return
        logs = [log for log in LOGS if _beside(self.target, log).exists()]
        if logs or self.target.exists():
            private(self.kept.parent)
        if self.new.is_dir():
            if self.target.exists():
                self.target.rename(self.kept)
        else:
            # A leftover log would be applied to the new file.
            for log in logs:
                _beside(self.target, log).rename(_beside(self.kept, log))
            if self.target.exists() and not self.kept.exists():
                _keep(self.target, self.kept)
        self.new.replace(self.target)
        for folder in (self.kept.parent, self.target.parent):
            if folder.exists():
                sync(folder)


class Journal(BaseModel):
    """All moves of a restore."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    moves: tuple[Move, ...]
    replaced: Path
    """Folder of the replaced data."""
    revision: str | None
    """Schema of the replaced database."""


def journal_of(file: Path) -> Path:
    """Where the journal of a restore of the database at `file` is."""
    return file.with_name(file.name + database.RESTORING)


def decide(journal: Path, moves: Sequence[Move], replaced: Path, revision: str | None) -> None:
    """Write the journal. `finish` is next, here or in the next process."""
    content = Journal(moves=tuple(moves), replaced=replaced, revision=revision)
    home.write(journal, content.model_dump_json(indent=2) + "\n", mode=0o600)
    sync(journal.parent)


def finish(journal: Path) -> Path | None:
    """Complete a committed restore; returns the folder of the replaced data, if any.

    No other process may have the files open. Raises AskdocsError.
    """
    try:
        decided = Journal.model_validate_json(journal.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise AskdocsError(
            f"{journal}: is not a journal of a restore ({error.error_count()} errors): move it, "
            "and restore again"
        ) from None
    try:
        for move in decided.moves:
            move.make()
        _describe(decided)
        journal.unlink()
        sync(journal.parent)
    except OSError as error:
        raise AskdocsError(
            f"{error.filename or journal}: the restore failed ({error.strerror}): fix this, then "
            "continue with `askdocs restore --resume`"
        ) from None
    return decided.replaced


def _describe(decided: Journal) -> None:
    """Turn the replaced data into a backup, so that the restore can be undone."""
    moved = {move.name: move.kept for move in decided.moves if move.name and move.kept.exists()}
    if moved:
        files = {
            name: File(sha256=digest(path, lambda more: None), bytes=path.stat().st_size)
            for name, path in moved.items()
        }
        manifest = Manifest(
            askdocs=askdocs_version(),
            made=datetime.now(UTC),
            revision=decided.revision,
            files=files,
        )
        home.write(decided.replaced / MANIFEST, encode(manifest).decode(), mode=0o600)


def _keep(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        new = _beside(target, ".new")
        shutil.copy2(file, new)
        new.replace(target)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
