"""Applies every rule to every row of a file."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.questions.rows import SPLITS, Row
from gateway.knowledge.sources.sync import Progress
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import stems, words
from training.data.check import libraries, plain
from training.data.check.entries import DatasetLine, has_byte_order_mark
from training.data.check.plain import Place
from training.data.check.rules import (
    ANSWER_TOKENS,
    FEWEST_TOKENS,
    REFUSALS,
    ROW_TOKENS,
    RULES,
    Finding,
    shown,
)
from training.data.tokens import Tokens

LIMITS = {
    "fewest": FEWEST_TOKENS,
    "answer": ANSWER_TOKENS,
    "row": ROW_TOKENS,
    "refusals": REFUSALS,
    "splits": SPLITS,
}


@dataclass(frozen=True)
class Checker:
    """Runs the checks."""

    python: Path
    """Python of the dataset environment."""
    tokens: Tokens
    progress: Progress

    def check(
        self,
        file: Path,
        entries: Sequence[DatasetLine],
        wiki: Sequence[Page] = (),
        against: Mapping[str, Sequence[Row]] | None = None,
        report: Path | None = None,
    ) -> list[Finding]:
        """All findings, sorted by line.

        Args:
            file: the file that the entries come from.
            entries: the lines of the file.
            wiki: pages that rows may name; if empty, page names are not checked.
            against: rows of the evaluation files, by file name.
            report: an empty folder for the Data Docs; None: do not write them.

        Raises:
            AskdocsError: a library failed.
        """
        against = against or {}
        rows = [entry.row for entry in entries if entry.row]
        measured = libraries.run(self.python, "measure", _job(entries, against), self.progress)
        near = nearness(measured)
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
            *_measured(measured, {row.line: row for row in rows}),
        ]
        findings += self._expected(file, entries, findings, report)
        return sorted(set(findings))

    def _expected(
        self,
        file: Path,
        entries: Sequence[DatasetLine],
        findings: Iterable[Finding],
        report: Path | None,
    ) -> list[Finding]:
        by_line: dict[int, dict[str, str]] = defaultdict(dict)
        for finding in findings:
            by_line[finding.line].setdefault(finding.rule, shown(finding.message))
        job = {
            "title": file.name,
            "rows": self._table(entries, by_line),
            "rules": {rule.name: rule._asdict() for rule in RULES.values()},
            "limits": LIMITS,
            "report": str(report) if report else None,
        }
        by_number = {entry.line: entry for entry in entries}
        broken = {line for line, rules in by_line.items() if rules.keys() & {"unreadable", "field"}}
        return [
            _expectation(thing, by_number, file)
            for thing in libraries.run(self.python, "expect", job, self.progress)
            if not (thing["rule"] == "field" and thing["line"] in broken)
            and (thing["line"] or len(broken) < len(entries))
        ]

    def _table(
        self, entries: Sequence[DatasetLine], problems: Mapping[int, Mapping[str, str]]
    ) -> list[dict[str, Any]]:
        texts = [entry.texts() for entry in entries]
        counts = {
            field: self.tokens.count([text.get(field, "") for text in texts])
            for field in ("question", "answer", "context")
        }
        table = []
        for number, entry in enumerate(entries):
            question, answer, context = (counts[field][number] for field in counts)
            row = entry.row
            cells = {
                **{name: _cell(entry, name) for name in ("question", "answer")},
                "answerable": row.answerable if row else None,
                "split": (row.split if row else "") or None,
                "id": (row.id if row else "") or None,
                "question_tokens": question or None,
                "answer_tokens": answer or None,
                "row_tokens": question + answer + context,
                "refusal": int(not row.answerable) if row else None,
            }
            table.append({"line": entry.line, "found": problems.get(entry.line, {}), **cells})
        return table


def _cell(entry: DatasetLine, field: str) -> object:
    """The value for Great Expectations: text, None, or the non-text value in its place."""
    value = entry.fields.get(field)
    return entry.texts().get(field) if isinstance(value, str) else value


def compared(row: Row, file: int = 0) -> dict[str, Any]:
    """A row in the format of `measure`, for comparison only: its texts are not inspected."""
    question_words = stems(row.question) or words(row.question) or row.question.split()
    split = "" if file else row.split
    return {
        "place": (file, row.line),
        "split": split,
        "words": sorted(set(question_words)),
        "texts": {},
    }


def nearness(measured: Iterable[Mapping[str, Any]]) -> dict[Place, list[Place]]:
    """Near-duplicate rows by row."""
    near: dict[Place, list[Place]] = defaultdict(list)
    for thing in measured:
        if thing["kind"] == "near":
            (file, line), (other_file, other) = thing["place"], thing["other"]
            near[file, line].append((other_file, other))
    return near


def _job(entries: Sequence[DatasetLine], against: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    read: list[dict[str, Any]] = []
    for entry in entries:
        row = compared(entry.row) if entry.row else {"split": "", "words": []}
        read.append({**row, "place": (0, entry.line), "texts": entry.texts()})
    others = [
        compared(row, file) for file, rows in enumerate(against.values(), start=1) for row in rows
    ]
    return {"rows": read + others}


def _measured(measured: Sequence[Mapping[str, Any]], rows: Mapping[int, Row]) -> list[Finding]:
    languages = Counter(thing["language"] for thing in measured if thing["kind"] == "language")
    usual = max(languages, key=languages.__getitem__, default="")
    findings = []
    for thing in measured:
        line = thing["place"][1]
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


def _expectation(
    thing: Mapping[str, Any], entries: Mapping[int, DatasetLine], file: Path
) -> Finding:
    """Convert a Great Expectations result to a finding."""
    line, rule, field, value = thing["line"], thing["rule"], thing["field"], thing["value"]
    if line == 0:
        rows = [entry.row for entry in entries.values() if entry.row]
        refusing = sum(not row.answerable for row in rows)
        message = f"{refusing:,} of {len(rows):,} rows are unanswerable"
        return Finding(0, rule, field, "", message)
    text = str(entries[line].fields.get(field, ""))
    messages = (
        {
            "long-answer": f"answer has {value:.0f} tokens, more than {ANSWER_TOKENS:,}",
            "long-row": f"question, answer and context have {value:.0f} tokens",
            "short": f"{field} has {value:.0f} tokens: {shown(text)}",
        }
        if isinstance(value, float)
        else {}
    )
    return Finding(line, rule, field, text, messages.get(rule, f"{field} is {shown(value)!r}"))
