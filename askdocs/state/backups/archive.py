"""The backup file: a gzipped tar that starts with the manifest, or a folder of the same files."""

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
# Most of it are weights and vectors, which hardly get smaller: 1 is five times as fast as 9.
LEVEL = 1
LARGEST_MANIFEST = 2**26
DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
Take = Callable[[str, IO[bytes]], None]
"""Is given the path and the content of a file, of which it reads as much as it likes."""


class Backup(Protocol):
    """A backup that can be read."""

    place: Path
    manifest: Manifest

    def each(self, take: Take) -> None:
        """Go through all files, in the order of the backup. Raises AskdocsError."""
        ...


class Archive:
    """A file that `write` has made."""

    def __init__(self, place: Path) -> None:
        """Raises AskdocsError: it is no backup, or of a newer askdocs."""
        self.place = place
        with self._members() as members:
            first = next(members, None)
            if first is None or first[0] != MANIFEST:
                raise AskdocsError(f"{place}: is no backup of askdocs: it has no {MANIFEST}")
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
            # tarfile's own "r|gz" looks at no checksum.
            with gzip.open(self.place) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
                yield self._regular(tar, packed)
        except DAMAGED as error:
            raise AskdocsError(
                f"{self.place}: is truncated or damaged ({error}), or no backup of askdocs: take"
                " another backup"
            ) from None
        except OSError as error:
            raise AskdocsError(f"{self.place}: cannot be read ({error.strerror})") from None

    def _regular(
        self, tar: tarfile.TarFile, packed: gzip.GzipFile
    ) -> Iterator[tuple[str, IO[bytes]]]:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise AskdocsError(f"{self.place}: {member.name!r} is no file: take another backup")
            yield member.name, content
        while packed.read(CHUNK):  # up to the checksum
            pass


class Unpacked:
    """A folder with what a backup holds; what was replaced by a restore is kept as one."""

    def __init__(self, place: Path) -> None:
        """Raises AskdocsError as `Archive`."""
        self.place = place
        try:
            content = (place / MANIFEST).read_bytes()
        except OSError as error:
            raise AskdocsError(
                f"{place}: is no backup of askdocs: {MANIFEST}: {error.strerror}"
            ) from None
        self.manifest = decode(content, str(place))

    def each(self, take: Take) -> None:
        for name in self.manifest.files:
            try:
                with (self.place / name).open("rb") as content:
                    take(name, content)
            except FileNotFoundError:
                continue  # `verify` says so
            except OSError as error:
                raise AskdocsError(
                    f"{self.place / name}: cannot be read ({error.strerror})"
                ) from None


def opened(place: Path) -> Archive | Unpacked:
    """The backup at a place, which is not verified yet. Raises AskdocsError."""
    try:
        is_folder = stat.S_ISDIR(place.stat().st_mode)
    except OSError as error:
        raise AskdocsError(f"{place}: cannot be read ({error.strerror}): name a backup") from None
    return Unpacked(place) if is_folder else Archive(place)


def verify(backup: Backup, progress: Progress) -> None:
    """Read all of it. Raises AskdocsError: something is not what the manifest says, and what."""
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
    return AskdocsError(f"{backup.place}: {name} {what}: take another backup")


def digest(content: IO[bytes], count: Count, copy: IO[bytes] | None = None) -> str:
    """The SHA-256 of all that can be read; `copy` gets it, too."""
    sha256 = hashlib.sha256()
    while chunk := content.read(CHUNK):
        sha256.update(chunk)
        if copy is not None:
            copy.write(chunk)
        count(len(chunk))
    return sha256.hexdigest()


def extract(backup: Backup, wanted: Mapping[str, Path], progress: Progress) -> None:
    """Write files of a backup to new places, each for its owner alone.

    Raises AskdocsError: one is not what the manifest says, or cannot be written.
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
    """A new file for its owner alone, on the disk when the block ends. Raises OSError."""
    private(target.parent)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Raises AskdocsError where writing this file raises OSError."""
    try:
        yield
    except OSError as error:
        raise AskdocsError(
            f"{target}: cannot be written ({error.strerror}): see that there is space, and that you"
            " may write there"
        ) from None


def write(
    out: Path,
    folder: Path,
    manifest: Manifest,
    sources: Mapping[str, Path],
    progress: Progress,
) -> None:
    """Make the file of a backup: whole, read back once, or not at all.

    Args:
        folder: on the same file system, for what is not whole yet.
        sources: where the content of each file of the manifest lies now.

    Raises:
        AskdocsError: it is there already, or a source has changed.
        OSError: it cannot be written.
    """
    new = folder / f"{out.name}.new"
    with writing(new) as file:
        _pack(file, manifest, sources, progress)
    verify(Archive(new), progress)
    try:
        os.link(new, out)  # unlike a rename, a link never replaces anything
    except FileExistsError:
        raise AskdocsError(f"{out}: is there already: name another file") from None
    except OSError:  # a file system without links
        new.rename(out)
    sync(out.parent)


def _pack(
    file: IO[bytes], manifest: Manifest, sources: Mapping[str, Path], progress: Progress
) -> None:
    count = counter("packing", manifest.bytes, progress)
    with (
        # No name and no time in the header.
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
    """Make a folder and those above it, for their owner alone. Raises OSError."""
    for place in (*reversed(folder.parents), folder):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)


def sync(folder: Path) -> None:
    """Make renames in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
