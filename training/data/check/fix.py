"""Fixes rows that can be corrected automatically."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError
from eval.questions.rows import parse_object, parse_row
from training.data.check import plain
from training.data.check.check import nearness
from training.data.check.entries import DatasetLine
from training.data.check.rules import HELD_OUT, RULES, Finding
from training.data.check.text import clean


class Fixed(NamedTuple):
    """The fixed file."""

    lines: list[bytes]
    changes: list[Finding]
    """Fixes by line number of the original file."""


def fix(entries: Sequence[DatasetLine], has_mark: bool) -> Fixed:
    """Apply the safe fixes: clean texts; drop broken rows, duplicates and train rows that are held
    out elsewhere. Other fields stay unchanged.

    Args:
        entries: the lines of a file.
        has_mark: whether the file begins with a byte order mark.
    """
    changes = [
        *plain.encoding(entries, has_mark),
        *(finding for finding in plain.texts(entries) if RULES[finding.rule].safe),
    ]
    cleaned = [_cleaned(entry) for entry in entries]
    changes += plain.broken(cleaned)
    rows = [entry.row for entry in cleaned if entry.row]
    doubled = list(plain.duplicates(rows))
    out = {finding.line for finding in doubled}
    rows = [row for row in rows if row.line not in out]
    splits = {row.split for row in rows}
    # Near duplicates matter only if the file has both sides.
    alike = nearness(rows) if "train" in splits and splits & {*HELD_OUT} else {}
    leaks = [finding for finding in plain.leaks(rows, {}, alike) if RULES[finding.rule].safe]
    out |= {finding.line for finding in leaks}
    changes += [*doubled, *leaks]
    lines = [_line(entry) for entry in cleaned if entry.row and entry.line not in out]
    return Fixed(lines, sorted(set(changes)))


def write(file: Path, lines: Sequence[bytes]) -> None:
    """Write a new file atomically. Raises AskdocsError: it exists, or cannot be written."""
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        with new.open("xb") as output:
            output.writelines(line + b"\n" for line in lines)
            output.flush()
            os.fsync(output.fileno())
        refuse_existing(file)
        new.replace(file)
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be written ({error.strerror})") from None
    finally:
        new.unlink(missing_ok=True)


def refuse_existing(file: Path) -> None:
    """Raises AskdocsError if the path exists."""
    if file.exists() or file.is_symlink():
        raise AskdocsError(f"{file}: exists, and is not overwritten: name another --out FILE")


def _cleaned(entry: DatasetLine) -> DatasetLine:
    mended = {name: clean(text) for name, text in entry.texts().items()}
    fields = entry.fields | mended
    parsed = parse_row(entry.line, fields) if entry.fields else entry.found
    return replace(entry, fields=fields, found=parsed)


def _line(entry: DatasetLine) -> bytes:
    """The original line, if nothing in it has changed."""
    if parse_object(entry.line, entry.data) == entry.fields:
        return entry.data.strip()
    try:
        return json.dumps(entry.fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair in one of the file's own fields
        return json.dumps(entry.fields).encode()
