"""Checks that need no further libraries."""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from eval.questions.rows import SPLITS, Problem, Row
from eval.scoring.groundedness import Rarity
from gateway.answering.grounding.excerpt import Excerpt
from training.data.check import text
from training.data.check.entries import DatasetLine, paths
from training.data.check.rules import (
    ANSWER_TOKENS,
    FEWEST_TOKENS,
    HELD_OUT,
    REFUSALS,
    ROW_TOKENS,
    Finding,
    shown,
)
from training.data.examples import own_page
from training.data.support import claims
from wiki.pages.page import Page
from wiki.pages.words import words
from wiki.search.paths import Paths

Place = tuple[int, int]
"""Position of a row: 0 for the checked file, or from 1 the number of an --against file; and the
line."""

Counts = Mapping[str, int]
"""Tokens by field; 0 without text."""

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@((?:[\w-]+\.)+[A-Za-z]{2,})")
# Reserved names (RFC 2606).
_NOBODY = re.compile(r"(^|\.)(example(\.(com|net|org))?|test|invalid|localhost)$", re.IGNORECASE)
_ADDRESS = re.compile(r"\]\((?:[^)\s\]]|\](?!\())*\)")
# Shorter answers, such as a name or a number, may legitimately begin their page.
_PREFIX_WORDS = 8


def broken(entries: Iterable[DatasetLine]) -> Iterator[Finding]:
    """Lines that are not valid rows."""
    for entry in entries:
        if isinstance(problem := entry.found, Problem):
            rule = "field" if problem.field else "unreadable"
            yield Finding(entry.line, rule, problem.field, problem.value, problem.fix)


def nameless(entries: Sequence[DatasetLine]) -> Iterator[Finding]:
    """A question or answer field that most lines lack: the file names it differently."""
    objects = [entry for entry in entries if entry.fields]
    for field in ("question", "answer"):
        if objects and 2 * sum(field not in entry.fields for entry in objects) > len(objects):
            named = ", ".join(paths(objects))
            message = (
                f"most lines have no {field}: map it with --field {field}=PATH; the fields are "
                f"{named}"
            )
            yield Finding(0, "field", field, "", message)


def encoding(entries: Sequence[DatasetLine], has_mark: bool) -> Iterator[Finding]:
    first = entries[0].line
    if has_mark:
        yield Finding(first, "encoding", "", "", "the file begins with a byte order mark")
    ends = [entry.line for entry in entries if entry.data.endswith(b"\r")]
    if ends:
        message = f"{len(ends):,} lines end with a carriage return"
        yield Finding(ends[0], "encoding", "", "", message)


def texts(entries: Iterable[DatasetLine]) -> Iterator[Finding]:
    """Control characters, normalisation, white space, HTML, lost characters, email addresses."""
    for entry in entries:
        for field, value in entry.texts().items():
            for rule in text.problems(value):
                yield Finding(entry.line, rule, field, value, f"{field}: {shown(value)}")
            if "\ufffd" in value:
                near = value[max(0, value.index("\ufffd") - 20) :]
                yield Finding(entry.line, "mojibake", field, near, f"{field}: {shown(near)}")
            for address in _EMAIL.finditer(value):
                if not _NOBODY.search(address[1]):
                    message = f"{field} has {address[0]}"
                    yield Finding(entry.line, "personal", field, address[0], message)


def lengths(entries: Iterable[DatasetLine], counts: Iterable[Counts]) -> Iterator[Finding]:
    """Texts with too few or too many tokens."""
    for entry, tokens in zip(entries, counts, strict=True):
        texts = entry.texts()
        for field in ("question", "answer"):
            if 0 < tokens[field] < FEWEST_TOKENS:
                message = f"{field} has {tokens[field]} tokens: {shown(texts[field])}"
                yield Finding(entry.line, "short", field, texts[field], message)
        if tokens["answer"] > ANSWER_TOKENS:
            message = f"answer has {tokens['answer']} tokens, more than {ANSWER_TOKENS:,}"
            yield Finding(entry.line, "long-answer", "answer", texts["answer"], message)
        if (total := sum(tokens.values())) > ROW_TOKENS:
            message = f"question, answer and context have {total} tokens"
            yield Finding(entry.line, "long-row", "context", texts.get("context", ""), message)


def splits(rows: Iterable[Row]) -> Iterator[Finding]:
    for row in rows:
        if row.split and row.split not in SPLITS:
            message = f"split is {shown(row.split)!r}"
            yield Finding(row.line, "split", "split", row.split, message)


def ids(rows: Sequence[Row]) -> Iterator[Finding]:
    """All rows whose id another row has, too."""
    counts = Counter(row.id for row in rows if row.id)
    for row in rows:
        if counts[row.id] > 1:
            yield Finding(row.line, "id", "id", row.id, f"id is {shown(row.id)!r}")


def refusals(rows: Sequence[Row]) -> Iterator[Finding]:
    """Too few rows to be refused, in the file as a whole."""
    refusing = sum(not row.answerable for row in rows)
    if refusing < REFUSALS * len(rows):
        message = f"{refusing:,} of {len(rows):,} rows are unanswerable"
        yield Finding(0, "refusals", "answerable", "", message)


def duplicates(rows: Sequence[Row]) -> Iterator[Finding]:
    """Duplicate rows within a split, except the copy to keep."""
    same: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        content = (_plain(row.question), _plain(row.answer), _plain(row.context))
        same[content, row.pages, row.answerable, row.split].append(row)
    for group in same.values():
        first = next((row for row in group if row.validated_by), group[0])
        for row in group:
            if row is not first:
                message = f"repeats line {first.line}"
                yield Finding(row.line, "duplicate", "question", row.question, message)


def contradictions(rows: Sequence[Row]) -> Iterator[Finding]:
    """Questions that an earlier row answers differently."""
    first: dict[str, Row] = {}
    for row in rows:
        before = first.setdefault(_plain(row.question), row)
        if (row.answerable, _plain(row.answer)) != (before.answerable, _plain(before.answer)):
            other = "says that there is no answer"
            if before.answerable:
                other = f"answers {shown(before.answer)!r}"
            message = f"line {before.line} {other} to the same question"
            yield Finding(row.line, "contradiction", "question", row.question, message)


def leaks(
    rows: Sequence[Row],
    against: Mapping[str, Sequence[Row]],
    near: Mapping[Place, Sequence[Place]],
) -> Iterator[Finding]:
    """Rows with an exact or near duplicate in another split or in an evaluation file.

    Args:
        rows: rows of the checked file.
        against: rows of each evaluation file, by file name.
        near: by row, near-duplicate rows, at most one from each split and file.
    """
    split = {(0, row.line): row.split for row in rows}
    clusters: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.cluster:
            clusters.setdefault((row.cluster, row.split), row)
    names = list(against)
    evaluated: dict[str, str] = {}
    for name, others in against.items():
        for other in others:
            if other.cluster:
                evaluated.setdefault(other.cluster, f"{name}:{other.line}")
    for row in rows:
        beside = near.get((0, row.line), ())
        rules = {
            "train": ("contaminated", HELD_OUT),
            "validation": ("contaminated-held-out", ("test",)),
        }
        rule, held_out = rules.get(row.split, ("", ()))
        here = [line for file, line in beside if file == 0 and split[0, line] in held_out]
        here += [
            clusters[row.cluster, name].line for name in held_out if (row.cluster, name) in clusters
        ]
        if here:
            line = f"line {here[0]} of {split[0, here[0]]}"
            what = f"duplicates or nearly duplicates {line}, or shares its cluster"
            yield Finding(row.line, rule, "question", row.question, what)
        there = [f"{names[file - 1]}:{line}" for file, line in beside if file]
        if row.cluster in evaluated:
            there.append(evaluated[row.cluster])
        if there and row.split != "test":
            what = f"duplicates or nearly duplicates {there[0]}, or shares its cluster"
            yield Finding(row.line, "contaminated-against", "question", row.question, what)


def near_duplicates(
    rows: Sequence[Row], near: Mapping[Place, Sequence[Place]]
) -> Iterator[Finding]:
    """Near duplicates of an earlier question in the same split. `near` as for `leaks`."""
    by_line = {row.line: row for row in rows}
    for row in rows:
        for file, line in near.get((0, row.line), ()):
            other = by_line.get(line) if file == 0 else None
            earlier = other and line < row.line and other.split == row.split
            # Identical questions are duplicates or contradictions instead.
            if other and earlier and _plain(other.question) != _plain(row.question):
                message = f"asks almost the same as line {line}"
                yield Finding(row.line, "near-duplicate", "question", row.question, message)


def pages(rows: Iterable[Row], wiki: Sequence[Page]) -> Iterator[Finding]:
    """Pages named by rows but missing from the wiki."""
    known = Paths(page.path for page in wiki)
    for row in rows:
        for name in row.pages:
            if known.find(name) is None:
                yield Finding(row.line, "page", "context_doc", name, f"the wiki has no page {name}")


def unsupported(rows: Iterable[Row], wiki: Sequence[Page]) -> Iterator[Finding]:
    """Answers with a sentence that neither the pages nor the row's own text support."""
    by_path = {page.path: page for page in wiki}
    known, idf = Paths(by_path), Rarity(page.text for page in wiki)
    with asyncio.Runner() as runner:
        for row in rows:
            pages = [by_path[path] for name in row.pages if (path := known.find(name))]
            pages = pages or ([own_page(row.context)] if row.context else [])
            if not row.answerable or not pages:
                continue
            excerpts = [Excerpt(page, page.sections, 0) for page in pages]
            for claim in claims(runner, row.answer, excerpts, idf, row.question):
                if claim.verdict in ("unsupported", "contradicted"):
                    quoted = shown(row.answer[claim.start : claim.end])
                    message = f"no page of the row supports {quoted!r} ({claim.reason})"
                    yield Finding(row.line, "unsupported", "answer", row.answer, message)
                    break


def prefixes(rows: Iterable[Row], wiki: Sequence[Page]) -> Iterator[Finding]:
    """Answers that are the beginning of their context, or of their first page."""
    known = Paths(page.path for page in wiki)
    begins: dict[str | None, list[list[str]]] = defaultdict(list)
    for page in wiki:
        body = "\n\n".join(section.body for section in page.sections)
        begins[page.path] = [_spoken(page.text), _spoken(body)]
    for row in rows:
        answer_words = _spoken(row.answer)
        path = known.find(row.pages[0]) if row.pages else None
        contexts = [("context", _spoken(row.context))] + [(path, b) for b in begins.get(path, [])]
        if len(answer_words) >= _PREFIX_WORDS:
            for where, context in contexts:
                if context[: len(answer_words)] == answer_words:
                    message = f"answer copies the beginning of {where}"
                    yield Finding(row.line, "prefix", "answer", row.answer, message)
                    break


def _plain(value: str) -> str:
    """Ignores differences in white space and capitals."""
    return " ".join(value.split()).casefold()


def _spoken(value: str) -> list[str]:
    """The words of a Markdown text, without link targets."""
    return words(_ADDRESS.sub("]", value))
