"""Reads a file of rows line by line, with our field names or its own."""

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from eval.questions.rows import Problem, Row, lines, parse_object, parse_row

FIELDS = (
    *("question", "answer", "context", "context_doc", "context_docs", "answerable"),
    *("id", "split", "cluster", "source", "validated_by"),
)
TEXTS = ("question", "answer", "context")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class DatasetLine:
    """A non-blank line."""

    line: int
    data: bytes
    """The raw line without its line feed."""
    fields: dict[str, Any]
    """Parsed fields, ours added to its own; empty if the line is not a JSON object."""
    found: Row | Problem

    @property
    def row(self) -> Row | None:
        return self.found if isinstance(self.found, Row) else None

    def texts(self) -> dict[str, str]:
        """The fields of TEXTS that hold text, by name."""
        return {
            name: value for name in TEXTS if (value := self.fields.get(name)) and _is_text(value)
        }


def read(file: Path, names: Mapping[str, str]) -> list[DatasetLine]:
    """Read the lines of a file.

    Args:
        file: a JSON Lines file.
        names: path in a line of each of our fields: `{"answer": "answers.0.content"}`.

    Raises:
        AskdocsError: the file cannot be read, or is empty.
    """
    entries = [_entry(number, line, names) for number, line in lines(file)]
    if not entries:
        raise AskdocsError(f"{file}: has no rows: write one JSON object per line")
    return entries


def has_byte_order_mark(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(3) == codecs.BOM_UTF8


def named(options: Iterable[str]) -> dict[str, str]:
    """Parse `--field question=content` options into `names`. Raises AskdocsError."""
    names = {}
    for option in options:
        name, equals, path = option.partition("=")
        if name not in FIELDS or not equals or not path:
            raise AskdocsError(
                f"--field {option}: write FIELD=PATH, as answer=answers.0.content;"
                f" FIELD is one of {', '.join(FIELDS)}"
            )
        names[name] = path
    return names


def paths(entries: Iterable[DatasetLine], most: int = 20) -> list[str]:
    """Paths of text fields in these lines, the usual names first: candidates for `--field`."""
    counts: dict[str, int] = {}
    for entry in entries:
        for path in _paths(entry.fields, ""):
            counts[path] = counts.get(path, 0) + 1
    return sorted(counts, key=lambda path: -counts[path])[:most]


def _entry(number: int, line: bytes, names: Mapping[str, str]) -> DatasetLine:
    fields = parse_object(number, line)
    if isinstance(fields, Problem):
        return DatasetLine(number, line, {}, fields)
    fields |= {name: _at(fields, path) for name, path in names.items()}
    return DatasetLine(number, line, fields, parse_row(number, fields))


def _is_text(value: object) -> bool:
    """JSON can hold half a surrogate pair, which no library accepts as text."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _at(value: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _paths(value: Any, path: str) -> Iterable[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value[:1]:
            yield from _paths(inner, f"{path}.0")
    elif isinstance(value, str):
        yield path
