"""The rows of a `qa_pairs.jsonl`: questions, answers and their source pages."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import AskdocsError, together

SPLITS = ("train", "validation", "test")
# Maximum file size, because the file may be untrusted and is held in memory.
MOST = 500_000
LONGEST = 2**24
LARGEST = 2**30
DEEPEST = 100
"""Maximum nesting of objects and lists."""


@dataclass(frozen=True)
class Row:
    """A question and its answer."""

    line: int
    """Line of the file, from 1."""
    question: str
    answer: str
    """Empty if `answerable` is false: the answer is then the refusal."""
    context: str = ""
    """The source text of the answer, if the row includes it."""
    pages: tuple[str, ...] = ()
    """The source pages as named in the file, the best first."""
    answerable: bool = True
    id: str = ""
    split: str = ""
    """One of SPLITS, if assigned."""
    cluster: str = ""
    """The same for rows that must not be in different splits."""
    source: str = ""
    validated_by: str = ""


class Problem(NamedTuple):
    """Why a line is not a valid row."""

    line: int
    field: str
    """Empty: the line as a whole."""
    value: str
    """The offending value, shortened."""
    fix: str
    """What is wrong, and what to write instead."""


def read(file: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        AskdocsError: the file cannot be read, has no rows, or has invalid rows (with file and
            line).
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for parsed in parse(file):
        if isinstance(parsed, Row):
            rows.append(parsed)
        else:
            problems.append(parsed)
    if problems:
        raise together(
            [f"{file}:{problem.line}: {problem.fix}" for problem in problems],
            "more like that; `askdocs dataset check` lists them",
        )
    if not rows:
        raise AskdocsError(f"{file}: has no rows: write one JSON object per line")
    return rows


def parse(file: Path) -> Iterator[Row | Problem]:
    """Parse every non-blank line to a row or its first problem.

    Raises AskdocsError: the file cannot be read.
    """
    for number, line in lines(file):
        fields = parse_object(number, line)
        yield fields if isinstance(fields, Problem) else parse_row(number, fields)


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Every non-blank line with its number, without line feed and byte order mark.

    Raises AskdocsError: the file cannot be read.
    """
    size = 0
    try:
        with file.open("rb") as stream:
            for number in itertools.count(1):
                line = stream.readline(LONGEST + 1)
                size += len(line)
                if not line:
                    return
                if len(line) > LONGEST or number > MOST or size > LARGEST:
                    raise AskdocsError(
                        f"{file}:{number}: is too large: a file may have up to {MOST:,} lines of"
                        f" {LONGEST >> 20} MiB each, {LARGEST >> 20:,} MiB together; split it"
                    )
                line = line.removesuffix(b"\n")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read: {error.strerror}") from None


def parse_object(number: int, line: bytes) -> dict[str, Any] | Problem:
    """The fields of a line, unvalidated."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        shown = line[max(0, error.start - 10) : error.start + 10]
        return Problem(number, "", repr(shown), "is not UTF-8: save the file as UTF-8")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        fix = f"is not JSON ({error}): write one object a line"
        return Problem(number, "", _short(text), fix)
    if line.count(b"[") + line.count(b"{") > DEEPEST and _is_deep(fields):
        fix = f"has more than {DEEPEST} nested objects and lists: flatten them"
        return Problem(number, "", _short(text), fix)
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        fix = f"is a JSON {kind}: write an object with question and answer"
        return Problem(number, "", _short(fields), fix)
    return fields


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside = [item for item in level if isinstance(item, dict | list)]
        level = [v for i in inside for v in (i.values() if isinstance(i, dict) else i)]
    return any(isinstance(item, dict | list) for item in level)


def parse_row(number: int, fields: dict[str, Any]) -> Row | Problem:
    """Validate the fields of a line."""
    try:
        return _row(number, fields)
    except _Wrong as wrong:
        return Problem(number, *wrong.args)


class _Wrong(Exception):
    """Field, value and fix of a problem."""


def _row(number: int, row: dict[str, Any]) -> Row:
    answerable = row.get("answerable", True)
    if not isinstance(answerable, bool):
        fix = f"answerable is {_short(answerable)}: write true or false"
        raise _Wrong("answerable", _short(answerable), fix)
    return Row(
        line=number,
        question=_text(row, "question", needed=True),
        answer=_text(row, "answer", needed=answerable),
        context=_text(row, "context"),
        pages=_pages(row),
        answerable=answerable,
        id=_text(row, "id"),
        split=_text(row, "split"),
        cluster=_text(row, "cluster"),
        source=_text(row, "source"),
        validated_by=_text(row, "validated_by"),
    )


def _text(row: dict[str, Any], name: str, needed: bool = False) -> str:
    value = row.get(name)
    if needed and (value is None or (isinstance(value, str) and not value.strip())):
        raise _Wrong(name, _short(value), f"{name} is missing or empty: write the {name} as text")
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and name in ("id", "cluster"):
        return str(value)
    if not isinstance(value, str):
        raise _Wrong(name, _short(value), f"{name} is {_short(value)}: write it as text")
    try:
        value.encode()
    except UnicodeEncodeError:
        fix = f"{name} has half a surrogate pair, {_short(value)}: write the whole character"
        raise _Wrong(name, _short(value), fix) from None
    return value


def _pages(row: dict[str, Any]) -> tuple[str, ...]:
    """`context_doc` first, then the other `context_docs`."""
    first, others = row.get("context_doc") or [], row.get("context_docs") or []
    names = [first] if isinstance(first, str) else first
    for name, value in (("context_doc", names), ("context_docs", others)):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            fix = f"{name} is {_short(value)}: write the path of a page, or a list of them"
            raise _Wrong(name, _short(value), fix)
    return tuple(dict.fromkeys(path for name in [*names, *others] if (path := name.strip())))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)
    text = text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else f"{text[:60]}..."
