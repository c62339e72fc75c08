"""Texts of an untrusted ZIP archive, such as a benchmark's corpus. Nothing is unpacked to disk."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gateway.core.errors import AskdocsError

MEMBERS = 200_000
# Bytes of one text, and of all of them, unpacked. TechQA's corpus has 46 MB packed.
LARGEST, ALL = 8 * 2**20, 2**30
# Of bzip2 and LZMA the library unpacks all that one read brings.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def texts(file: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each .txt member, without its folder, in the order of names.

    A member is never unpacked beyond the size that the archive's directory gives, whose sum is
    checked first.

    Raises AskdocsError: it is no archive, too large, has a password, or two texts of one name.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS:
                raise AskdocsError(f"{file}: holds more than {MEMBERS:,} files")
            chosen = {name: member for member in members if (name := _name(member.filename))}
            known = sum(bool(_name(member.filename)) for member in members)
            if known > len(chosen):
                raise AskdocsError(f"{file}: has two texts of one name: keep one")
            _check(file, list(chosen.values()))
            for name in sorted(chosen):
                with archive.open(chosen[name]) as opened:
                    data = opened.read(chosen[name].file_size)
                yield name, data.decode("utf-8", "replace")
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise AskdocsError(f"{file}: cannot be unpacked: {error}: download it again") from None


def _name(path: str) -> str:
    """Of a text, without its folder; empty: it is something else."""
    parts = PurePosixPath(path.replace("\\", "/"))
    hidden = any(
        (part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts.parts
    )
    return parts.name if parts.suffix.lower() == ".txt" and not hidden else ""


def _check(file: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raises AskdocsError: a member cannot be read, or is too large."""
    for member in members:
        if member.file_size > LARGEST:
            raise AskdocsError(
                f"{file}: {member.filename!r} is larger than {LARGEST // 2**20} MiB unpacked"
            )
        if member.flag_bits & 1:
            raise AskdocsError(f"{file}: {member.filename!r} has a password")
        if member.compress_type not in _BOUNDED:
            raise AskdocsError(f"{file}: {member.filename!r} is packed in an unusual way")
    if sum(member.file_size for member in members) > ALL:
        raise AskdocsError(f"{file}: is larger than {ALL // 2**30} GiB unpacked")
