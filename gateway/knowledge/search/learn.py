"""Adds answered questions to the memory and recalibrates it."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateway.core.errors import AskdocsError
from gateway.core.install import bundled_models
from gateway.knowledge.search import calibration
from gateway.knowledge.search.answered import MemoryMatch, Paths
from gateway.knowledge.search.calibration import Calibration, calibrate
from gateway.knowledge.search.embed import Embedder
from gateway.knowledge.search.missing import embed_missing
from gateway.knowledge.search.rows import StoredAnswer
from gateway.knowledge.search.search import Search
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.search.writer import Writer

Progress = Callable[[str, int, int], None]
"""Receives "pages", "questions" or "measuring", the number done, and the total."""


@dataclass(frozen=True)
class Learned:
    """The result of learning the rows, or of a dry run."""

    added: int
    """New questions."""
    changed: int
    """Known questions that have other pages now."""
    known: int
    """Unchanged questions, and duplicate rows."""
    without_page: int
    """Rows that are not answerable, or name no page."""
    held_out: int
    """Rows of the test split, which evaluations use."""
    unknown: tuple[str, ...]
    """For each row that names a page missing in the wiki: the location and the page."""
    before: Calibration | None
    """The memory's previous calibration, if it had been measured."""
    after: Calibration


@dataclass(frozen=True)
class _Merged:
    """The stored answers merged with the rows; new questions have no vector yet."""

    answers: list[StoredAnswer]
    added: int
    changed: int
    known: int
    without_page: int
    held_out: int
    unknown: tuple[str, ...]


def learn(
    search: Search,
    writing: Callable[[], AbstractContextManager[Writer]],
    rows: Sequence[MemoryMatch],
    *,
    dry_run: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Learned:
    """Store the answers of `rows`, and recalibrate the memory.

    If a question is known already, the later row's pages replace its pages. Held-out questions are
    not learnt, and removed if they were. Without rows, the stored answers are measured again, which
    is useful after the wiki has changed.

    Args:
        search: searches the index that is written.
        writing: opens the index.
        rows: see `read_answers`.
        dry_run: change nothing, but report and measure the outcome.
        progress: see `Progress`.

    Raises:
        AskdocsError: the embedding model cannot run here, or the index cannot be written; then
            only missing page vectors may have been added.
    """
    embedder = search.embedder
    if embedder is None:
        raise AskdocsError(
            "answered questions need the embedding model, which does not run here (see the log): "
            f"run `{bundled_models()}`"
        )
    if not dry_run:
        embed_missing(writing, embedder, lambda done, total: progress("pages", done, total))
    vectors: dict[str, Floats] = {}
    while True:
        with writing() as writer:
            stored, before = writer.answers(), calibration.load(writer.memory())
            merged = _merged(stored, _paths(writer), rows)
        answers = _embedded(merged.answers, embedder, vectors, progress)
        after = calibrate(
            answers,
            search.index.paths(),
            embedder.model,
            lambda question, vector: search.ranked(search.sought(question), vector),
            datetime.now(UTC),
            lambda done, total: progress("measuring", done, total),
        )
        if dry_run or _written(writing, stored, answers, after):
            break
    return Learned(
        added=merged.added,
        changed=merged.changed,
        known=merged.known,
        without_page=merged.without_page,
        held_out=merged.held_out,
        unknown=merged.unknown,
        before=before,
        after=after,
    )


def question_id(question: str) -> str:
    """An ID that does not depend on a question's spacing and case."""
    plain = " ".join(unicodedata.normalize("NFKC", question).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:32]


def _paths(writer: Writer) -> Paths:
    return Paths(path for source in writer.sources() for path in writer.known(source.name))


def _merged(stored: Sequence[StoredAnswer], pages: Paths, rows: Sequence[MemoryMatch]) -> _Merged:
    held_out = {question_id(row.question) for row in rows if row.held_out}
    learnt = [row for row in rows if question_id(row.question) not in held_out]
    before = {answer.id: answer for answer in stored if answer.id not in held_out}
    given: dict[str, StoredAnswer] = {}
    unknown: list[str] = []
    repeated = 0
    for row in learnt:
        by_name = {name: pages.find(name) for name in row.pages}
        unknown += [f"{row.where}: {name}" for name, path in by_name.items() if path is None]
        if paths := tuple(dict.fromkeys(path for path in by_name.values() if path is not None)):
            answer_id = question_id(row.question)
            repeated += answer_id in given
            old = before.get(answer_id, StoredAnswer(answer_id, row.question, ()))
            given[answer_id] = replace(old, paths=paths)
    added = sum(given_id not in before for given_id in given)
    known = sum(
        before.get(given_id) is not None and before[given_id].paths == given[given_id].paths
        for given_id in given
    )
    return _Merged(
        answers=list((before | given).values()),
        added=added,
        changed=len(given) - added - known,
        known=known + repeated,
        without_page=sum(not row.pages for row in learnt),
        held_out=len(rows) - len(learnt),
        unknown=tuple(unknown),
    )


def _embedded(
    answers: Sequence[StoredAnswer],
    embedder: Embedder,
    vectors: dict[str, Floats],
    progress: Progress,
) -> list[StoredAnswer]:
    """The answers, all with a vector of this model. New vectors are added to `vectors`, by ID."""
    missing = [
        answer for answer in answers if answer.model != embedder.model and answer.id not in vectors
    ]
    for done, answer in enumerate(missing, start=1):
        vectors[answer.id] = embedder.ask(answer.question)
        progress("questions", done, len(missing))
    return [
        replace(answer, model=embedder.model, vector=vectors[answer.id])
        if answer.id in vectors
        else answer
        for answer in answers
    ]


def _written(
    writing: Callable[[], AbstractContextManager[Writer]],
    before: Sequence[StoredAnswer],
    answers: Sequence[StoredAnswer],
    measured: Calibration,
) -> bool:
    """Write the changes, unless the answers have been changed since they were read."""
    with writing() as writer:
        there = {answer.id: (answer.paths, answer.model) for answer in writer.answers()}
        if there != {answer.id: (answer.paths, answer.model) for answer in before}:
            return False
        writer.remove_answers(there.keys() - {answer.id for answer in answers})
        writer.put_answers(
            answer for answer in answers if there.get(answer.id) != (answer.paths, answer.model)
        )
        writer.put_memory(measured.dump())
    return True
