"""Applies every rule to every row of a file."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.questions import clusters
from eval.questions.rows import Row
from training.data.check import plain
from training.data.check.entries import TEXTS, DatasetLine, has_byte_order_mark
from training.data.check.plain import Counts, Place
from training.data.check.rules import Finding, shown
from training.data.tokens import Tokens
from wiki.pages.page import Page
from wiki.pages.words import stems, words

Inspect = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""Inspects texts: takes the rows of `measure.py`, and returns what it found."""


def check(
    file: Path,
    entries: Sequence[DatasetLine],
    inspect: Inspect,
    tokens: Tokens,
    wiki: Sequence[Page] = (),
    against: Mapping[str, Sequence[Row]] | None = None,
) -> list[Finding]:
    """All findings, sorted by line.

    Args:
        file: the file that the entries come from.
        entries: the lines of the file.
        inspect: may raise AskdocsError.
        tokens: counts the tokens of texts.
        wiki: pages that rows may name; if empty, page names are not checked.
        against: rows of the evaluation files, by file name.
    """
    against = against or {}
    rows = [entry.row for entry in entries if entry.row]
    inspected = inspect([{"line": entry.line, "texts": entry.texts()} for entry in entries])
    near = nearness(rows, against.values())
    findings = [
        *plain.broken(entries),
        *plain.nameless(entries),
        *plain.encoding(entries, has_byte_order_mark(file)),
        *plain.texts(entries),
        *plain.duplicates(rows),
        *plain.contradictions(rows),
        *plain.leaks(rows, against, near),
        *plain.near_duplicates(rows, near),
        *((*plain.pages(rows, wiki), *plain.unsupported(rows, wiki)) if wiki else ()),
        *plain.prefixes(rows, wiki),
        *plain.lengths(entries, _counts(entries, tokens)),
        *plain.splits(rows),
        *plain.ids(rows),
        *plain.refusals(rows),
        *_inspected(inspected, {row.line: row for row in rows}),
    ]
    return sorted(set(findings))


def _counts(entries: Sequence[DatasetLine], tokens: Tokens) -> Iterator[Counts]:
    """The tokens of each line's texts."""
    texts = [entry.texts() for entry in entries]
    counts = [tokens.count([text.get(name, "") for text in texts]) for name in TEXTS]
    return (dict(zip(TEXTS, numbers, strict=True)) for numbers in zip(*counts, strict=True))


def nearness(
    rows: Sequence[Row], against: Iterable[Sequence[Row]] = ()
) -> dict[Place, list[Place]]:
    """Near-duplicate rows by row, at most one from each split of the file and from each file of
    `against`."""
    listed = [((0, row.line), row.split, row.question) for row in rows]
    for file, others in enumerate(against, start=1):
        listed += [((file, row.line), "", row.question) for row in others]
    questions = [
        frozenset(stems(question) or words(question) or question.split())
        for _, _, question in listed
    ]
    near: dict[Place, list[Place]] = defaultdict(list)
    for number, other in clusters.near(questions, [(at[0], split) for at, split, _ in listed]):
        if number < len(rows):
            near[listed[number][0]].append(listed[other][0])
    return near


def _inspected(inspected: Sequence[Mapping[str, Any]], rows: Mapping[int, Row]) -> list[Finding]:
    languages = Counter(thing["language"] for thing in inspected if thing["kind"] == "language")
    usual = max(languages, key=languages.__getitem__, default="")
    findings = []
    for thing in inspected:
        line = thing["line"]
        if thing["kind"] == "language" and thing["language"] != usual and line in rows:
            message = f"is in {thing['language']!r}, most of the file is in {usual!r}"
            findings.append(Finding(line, "language", "question", rows[line].question, message))
        elif thing["kind"] == "mojibake":
            field, value = thing["field"], thing["value"]
            findings.append(Finding(line, "mojibake", field, value, f"{field}: {shown(value)}"))
        elif thing["kind"] == "secret":
            message = f"{thing['field']} has what looks like: {thing['type']}, {thing['value']}..."
            findings.append(Finding(line, "secret", thing["field"], thing["value"], message))
    return findings
