"""The backup file: a gzipped tar that starts with the manifest, or a folder with the same files."""

import gzip
import hashlib
import os
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

from askdocs.state.backups.manifest import MANIFEST, Manifest, decode, encode
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.sync import Progress
from training.versions.files import Count, counter

CHUNK = 2**20
# Weights and vectors dominate, and hardly compress: level 1 is five times as fast as 9.
LEVEL = 1
LARGEST_MANIFEST = 2**26
DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
Take = Callable[[str, IO[bytes]], None]
"""Called with each file's path and content, of which it may read any part."""


class Backup(Protocol):
    """A readable backup."""

    place: Path
    manifest: Manifest

    def each(self, take: Take) -> None:
        """Visit all files in the order of the backup. Raises AskdocsError."""
        ...


class Archive:
    """A file made by `write`."""

    def __init__(self, place: Path) -> None:
        """Raises AskdocsError: it is not a backup, or from a newer askdocs."""
        self.place = place
        with self._members() as members:
            first = next(members, None)
            if first is None or first[0] != MANIFEST:
                raise AskdocsError(f"{place}: is not a backup of askdocs: it has no {MANIFEST}")
            content = first[1].read(LARGEST_MANIFEST)
        self.manifest = decode(content, str(place))

    def each(self, take: Take) -> None:
        with self._members() as members:
            for name, content in members:
                if name != MANIFEST:
                    take(name, content)

    @contextmanager
    def _members(self) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
        try:
            # tarfile's own "r|gz" does not verify checksums.
            with gzip.open(self.place) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
                yield self._regular(tar, packed)
        except DAMAGED as error:
            raise AskdocsError(
                f"{self.place}: is truncated or damaged ({error}), or not a backup of askdocs: "
                "use another backup"
            ) from None
        except OSError as error:
            raise AskdocsError(f"{self.place}: cannot be read ({error.strerror})") from None

    def _regular(
        self, tar: tarfile.TarFile, packed: gzip.GzipFile
    ) -> Iterator[tuple[str, IO[bytes]]]:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise AskdocsError(
                    f"{self.place}: {member.name!r} is not a file: use another backup"
                )
            yield member.name, content
        while packed.read(CHUNK):  # to the end, to verify the checksum
            pass


class Unpacked:
    """An unpacked backup in a folder, such as the data replaced by a restore."""

    def __init__(self, place: Path) -> None:
        """Raises AskdocsError as `Archive`."""
        self.place = place
        try:
            content = (place / MANIFEST).read_bytes()
        except OSError as error:
            raise AskdocsError(
                f"{place}: is not a backup of askdocs: {MANIFEST}: {error.strerror}"
            ) from None
        self.manifest = decode(content, str(place))

    def each(self, take: Take) -> None:
        for name in self.manifest.files:
            try:
                with (self.place / name).open("rb") as content:
                    take(name, content)
            except FileNotFoundError:
                continue  # reported by `verify`
            except OSError as error:
                raise AskdocsError(
                    f"{self.place / name}: cannot be read ({error.strerror})"
                ) from None


def opened(place: Path) -> Archive | Unpacked:
    """Open the backup at a place, without verifying it. Raises AskdocsError."""
    try:
        is_folder = stat.S_ISDIR(place.stat().st_mode)
    except OSError as error:
        raise AskdocsError(f"{place}: cannot be read ({error.strerror}): name a backup") from None
    return Unpacked(place) if is_folder else Archive(place)


def verify(backup: Backup, progress: Progress) -> None:
    """Read and verify everything. Raises AskdocsError: what does not match the manifest."""
    missing = dict(backup.manifest.files)
    count = counter(f"verifying {backup.place.name}", backup.manifest.bytes, progress)

    def take(name: str, content: IO[bytes]) -> None:
        wanted = missing.pop(name, None)
        if wanted is None:
            raise _different(backup, name, "is in it twice, or not in the manifest")
        sha256 = digest(content, count)
        if sha256 != wanted.sha256:
            raise _different(backup, name, f"has the SHA-256 {sha256}, not {wanted.sha256}")

    backup.each(take)
    for name in missing:
        raise _different(backup, name, "is missing")


def _different(backup: Backup, name: str, what: str) -> AskdocsError:
    return AskdocsError(f"{backup.place}: {name} {what}: use another backup")


def digest(content: IO[bytes], count: Count, copy: IO[bytes] | None = None) -> str:
    """The SHA-256 of a stream's rest, which is also written to `copy`."""
    sha256 = hashlib.sha256()
    while chunk := content.read(CHUNK):
        sha256.update(chunk)
        if copy is not None:
            copy.write(chunk)
        count(len(chunk))
    return sha256.hexdigest()


def extract(backup: Backup, wanted: Mapping[str, Path], progress: Progress) -> None:
    """Extract files of a backup to new places, readable only by their owner.

    Raises AskdocsError: a file does not match the manifest, or cannot be written.
    """
    files = backup.manifest.files
    count = counter("unpacking", sum(files[name].bytes for name in wanted), progress)

    def take(name: str, content: IO[bytes]) -> None:
        if (target := wanted.get(name)) is None:
            return
        with write_errors(target), writing(target) as file:
            if digest(content, count, file) != files[name].sha256:
                raise _different(backup, name, "has changed since it was verified")

    backup.each(take)


@contextmanager
def writing(target: Path) -> Iterator[IO[bytes]]:
    """A new file for its owner alone, synced to disk when the block ends. Raises OSError."""
    private(target.parent)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Convert an OSError in writing this file to an AskdocsError."""
    try:
        yield
    except OSError as error:
        raise AskdocsError(
            f"{target}: cannot be written ({error.strerror}): check free space and write permission"
        ) from None


def write(
    out: Path,
    folder: Path,
    manifest: Manifest,
    sources: Mapping[str, Path],
    progress: Progress,
) -> None:
    """Write a backup file atomically, and verify it by reading it once.

    Args:
        folder: a folder on the same file system for the incomplete file.
        sources: current location of each file in the manifest.

    Raises:
        AskdocsError: the file exists, or a source has changed.
        OSError: it cannot be written.
    """
    new = folder / f"{out.name}.new"
    with writing(new) as file:
        _pack(file, manifest, sources, progress)
    verify(Archive(new), progress)
    try:
        os.link(new, out)  # unlike a rename, a link never overwrites
    except FileExistsError:
        raise AskdocsError(f"{out}: already exists: name another file") from None
    except OSError:  # a file system without links
        new.rename(out)
    sync(out.parent)


def _pack(
    file: IO[bytes], manifest: Manifest, sources: Mapping[str, Path], progress: Progress
) -> None:
    count = counter("packing", manifest.bytes, progress)
    with (
        # No name or time in the header.
        gzip.GzipFile("", "wb", LEVEL, file, 0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        content = encode(manifest)
        _add(tar, MANIFEST, len(content), manifest, BytesIO(content))
        for name, entry in manifest.files.items():
            with sources[name].open("rb") as source:
                _add(tar, name, entry.bytes, manifest, source)
            count(entry.bytes)


def _add(
    tar: tarfile.TarFile, name: str, size: int, manifest: Manifest, content: IO[bytes]
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(manifest.made.timestamp())
    tar.addfile(member, content)


def private(folder: Path) -> None:
    """Create a folder and its parents, for their owner alone. Raises OSError."""
    for place in (*reversed(folder.parents), folder):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)


def sync(folder: Path) -> None:
    """Sync a folder, so that renames in it are durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
