"""Selects the rows to ask, and what is known about their answers."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from core.errors import AskdocsError, together
from eval.questions.clusters import clusters
from eval.questions.kinds import type_of
from eval.questions.question import Question
from eval.questions.rows import SPLITS, Row
from wiki.search.paths import Paths


def of_split(file: Path, rows: Sequence[Row], split: str | None) -> tuple[list[Row], str]:
    """The rows of a split, and its name: by default `test`, if any row has it.

    Raises:
        AskdocsError: the split has no rows.
    """
    if split is None:
        split = "test" if any(row.split for row in rows) else ""
    chosen = [row for row in rows if not split or row.split == split]
    if not chosen:
        there = ", ".join(name for name in SPLITS if any(row.split == name for row in rows))
        raise AskdocsError(
            f"{file}: no row has split = {split!r} (the splits are {there or 'none'}): correct "
            "--split, or add it to the rows"
        )
    return chosen, split


def distinct(rows: Sequence[Row], seed: int) -> list[Row]:
    """One row from each group that must stay together, drawn by the seed, in file order.

    Whoever knows one answer in a group knows them all: counted separately, they would make every
    interval too narrow.
    """
    chosen = (min(group, key=lambda row: _rank(row, seed)) for group in clusters(rows))
    return sorted(chosen, key=lambda row: row.line)


def draw(
    file: Path,
    rows: Sequence[Row],
    seed: int,
    limit: int | None = None,
    answerable: int | None = None,
    unanswerable: int | None = None,
) -> list[Row]:
    """Draw some of the rows, in file order.

    The same seed draws the same rows, and mostly the same if rows are added.

    Args:
        file: file name for errors.
        rows: to draw from, without copies.
        seed: any number.
        limit: maximum rows; the share of answerable rows is kept.
        answerable: number of answerable rows, instead of a limit.
        unanswerable: number of unanswerable rows.

    Raises:
        AskdocsError: there are too few rows of a kind, or none are requested.
    """
    kinds = {True: [r for r in rows if r.answerable], False: [r for r in rows if not r.answerable]}
    counts = {kind: len(of_kind) for kind, of_kind in kinds.items()}
    if limit is not None and limit < len(rows):
        counts[True] = round(limit * counts[True] / len(rows))
        counts[False] = limit - counts[True]
    for kind, wanted, name in (
        (True, answerable, "answerable"),
        (False, unanswerable, "unanswerable"),
    ):
        if wanted is None:
            continue
        if wanted > len(kinds[kind]):
            raise AskdocsError(
                f"{file}: has {len(kinds[kind]):,} {name} rows: lower --{name} {wanted} (near "
                "copies count once)"
            )
        counts[kind] = wanted
    if rows and not any(counts.values()):
        raise AskdocsError(
            f"{file}: no question is drawn: raise --answerable or --unanswerable (it has"
            f" {len(kinds[True]):,} and {len(kinds[False]):,} such rows)"
        )
    drawn = [
        row
        for kind, of_kind in kinds.items()
        for row in sorted(of_kind, key=lambda row: _rank(row, seed))[: counts[kind]]
    ]
    return sorted(drawn, key=lambda row: row.line)


def _rank(row: Row, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{row.id or row.question}".encode()).hexdigest()


def questions(
    file: Path, rows: Iterable[Row], paths: Iterable[str], contaminated: Collection[int]
) -> list[Question]:
    """The questions of rows. Page tokens are not counted yet.

    Args:
        file: file name for errors.
        rows: the rows to ask.
        paths: paths of the wiki's pages.
        contaminated: lines of rows that a system was trained on, or of near copies.

    Raises:
        AskdocsError: with file and line, an id is used twice, or an answerable row names no page of
            the wiki.
    """
    known = Paths(paths)
    lines: dict[str, int] = {}
    drawn: list[Question] = []
    problems: list[str] = []
    for row in rows:
        text = row.question.strip()  # as the gateway does
        id = row.id or hashlib.sha256(text.encode()).hexdigest()[:16]
        if id in lines:
            which = f"has the id {id!r}" if row.id else "asks the same, without its own id,"
            problems.append(
                f"{file}:{row.line}: {which} as line {lines[id]}: give each row an id, or"
                " remove one"
            )
        lines[id] = row.line
        pages = tuple(dict.fromkeys(path for name in row.pages if (path := known.find(name))))
        if row.answerable and not row.pages:
            problems.append(
                f"{file}:{row.line}: is answerable and names no page: write the path of the page"
                " that answers into context_doc, or answerable = false"
            )
        elif row.answerable and not pages:
            problems.append(
                f"{file}:{row.line}: the wiki has no page {row.pages[0]!r}: correct context_doc,"
                " or name the folder that has it with --docs"
            )
        drawn.append(
            Question(
                id=id,
                line=row.line,
                text=text,
                answer=row.answer if row.answerable else "",
                answerable=row.answerable,
                pages=pages if row.answerable else (),
                type=type_of(text),
                contaminated=row.line in contaminated,
            )
        )
    if problems:
        raise together(problems)
    return drawn


def counted(drawn: Sequence[Question], tokens: Mapping[str, int]) -> list[Question]:
    """The questions with the tokens of their best pages, given by path."""
    return [
        question.model_copy(update={"page_tokens": tokens[question.pages[0]]})
        if question.pages
        else question
        for question in drawn
    ]
