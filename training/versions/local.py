"""Versions in a folder, on this machine or shared by several."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from core.errors import AskdocsError
from training.versions import files as hashed
from training.versions.manifest import ARTEFACTS, MANIFEST, File, total
from training.versions.storage import FileInfo
from wiki.sources.sync import Progress

FIX = (
    "put it back with `askdocs restore FILE --only versions`, from a backup with weights, or remove"
    " the folder and pull it again"
)
FIX_ARTEFACT = "remove the folder, and create it again with `askdocs models export`"


class Folder:
    """A `VersionStorage`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def list(self, under: str = "") -> dict[str, FileInfo]:
        with self._reported_errors():
            entries = {}
            for name, path in hashed.listed(self.root / under).items():
                with suppress(FileNotFoundError):
                    entries[f"{under}/{name}".lstrip("/")] = _entry(path)
            return entries

    def read(self, path: str) -> bytes | None:
        with self._reported_errors():
            try:
                return (self.root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def create(self, path: str, content: bytes) -> bool:
        target = self.root / path
        new = _beside(target)
        with self._reported_errors():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                new.write_bytes(content)
                _sync(new)
                # Unlike a rename, a link fails if the target exists.
                os.link(new, target)
            except FileExistsError:
                return False
            finally:
                new.unlink(missing_ok=True)
            _sync(target.parent)
            return True

    def publish(
        self,
        path: str,
        folder: Path,
        manifest: bytes,
        files: Mapping[str, File],
        progress: Progress,
    ) -> bool:
        target = self.root / path
        count = hashed.counter(f"copying {target.name}", total(files), progress)
        with self._reported_errors():
            if not (target / MANIFEST).exists():
                with appearing(target) as new:
                    for name, file in files.items():
                        (new / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(folder / name, new / name)
                        hashed.unchanged(folder / name, new / name, file, count)
                    (new / MANIFEST).write_bytes(manifest)
            return self.read(f"{path}/{MANIFEST}") == manifest

    def fetch(
        self, path: str, manifest: bytes, files: Mapping[str, File], progress: Progress
    ) -> Path:
        folder = self.root / path
        with self._reported_errors():
            fix = FIX_ARTEFACT if f"/{ARTEFACTS}/" in path else FIX
            hashed.verify(folder, files, f"{folder}/", fix, progress)
        return folder

    def remains(self) -> dict[str, FileInfo]:
        with self._reported_errors():
            sizes: dict[str, list[FileInfo]] = {}
            for name, path in hashed.listed(self.root, unfinished=True).items():
                parts = name.split("/")
                at = [n for n, part in enumerate(parts, 1) if hashed.is_unfinished(part)]
                if at:
                    with suppress(FileNotFoundError):
                        sizes.setdefault("/".join(parts[: at[0]]), []).append(_entry(path))
            return {
                path: FileInfo(sum(e.bytes for e in entries), max(e.modified for e in entries))
                for path, entries in sizes.items()
            }

    def remove(self, path: str) -> None:
        target = self.root / path
        with self._reported_errors():
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    @contextmanager
    def _reported_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename or self.root
            raise AskdocsError(
                f"{place}: {error.strerror}: check free space and write permission,"
                " or set another store in [training]"
            ) from None


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A new folder to write into; if the block ends without an error, it becomes `target`.

    If `target` exists by then, it is kept and the new folder deleted. Raises OSError.
    """
    new = _beside(target)
    try:
        new.mkdir(parents=True)
        yield new
        for path in (*new.rglob("*"), new):
            _sync(path)
        try:
            # A rename never replaces a non-empty folder.
            new.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _sync(target.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{hashed.NEW}")


def _entry(path: Path) -> FileInfo:
    stat = path.stat()
    return FileInfo(stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
