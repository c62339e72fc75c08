"""Finds evaluation questions that a model may know from its training.

A dataset contains, and a version keeps, hashes of the trained rows: a file of questions does not
show which rows were trained on, since its rows and splits may change afterwards. The words of a
question are hashed one by one, so that near duplicates are found, too. Somebody who guesses a word
can confirm it.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from core.errors import AskdocsError
from eval.questions.clusters import clusters
from eval.questions.rows import Row
from wiki.pages.words import stems, words

FILE = "trained.json"


def trained(rows: Iterable[Row]) -> list[Row]:
    """The rows that a model learns from: all except the test split."""
    return [row for row in rows if row.split != "test"]


def contaminated(rows: Sequence[Row], learnt: Sequence[Row]) -> set[int]:
    """Lines of the asked rows that are learned rows or near duplicates of one.

    Near duplicates as in `clusters`: same cluster, or four fifths of the words. Only the hashes of
    `learnt` are used.
    """
    known = [hashed(row) for row in learnt]
    ids = set(map(id, known))
    return {
        row.line
        for group in (clusters([*known, *map(hashed, rows)]) if known else ())
        if any(id(row) in ids for row in group)
        for row in group
        if id(row) not in ids
    }


def hashed(row: Row) -> Row:
    """A row reduced to the hashes of its cluster and of its question's words. Idempotent."""
    if row.source == FILE:
        return row
    question_words = stems(row.question) or words(row.question)
    return replace(
        row,
        question=" ".join(_letters(word) for word in sorted(set(question_words))),
        answer="",
        context="",
        pages=(),
        cluster=row.cluster and hashlib.sha256(row.cluster.encode()).hexdigest(),
        source=FILE,
    )


def encoded(rows: Iterable[Row]) -> str:
    """The content of FILE: identifies the rows without their text."""
    pairs = {(row.question, row.cluster) for row in map(hashed, rows)}
    records = [{"question": question, "cluster": cluster} for question, cluster in sorted(pairs)]
    return json.dumps({"rows": records}, indent=0) + "\n"


def read(file: Path) -> list[Row]:
    """Read the rows of a FILE. Raises AskdocsError: it is invalid."""
    try:
        rows = json.loads(file.read_bytes())["rows"]
        return [
            Row(number, str(row["question"]), "", cluster=str(row["cluster"]), source=FILE)
            for number, row in enumerate(rows, 1)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AskdocsError(f"{file}: cannot be read ({error!r}): name --trained FILE") from None


def _letters(word: str) -> str:
    """A hash that no stemmer takes for a number or an inflected word."""
    digest = hashlib.sha256(word.encode()).hexdigest()[:12]
    return "".join("bcdfghjklmnpqrtv"[int(digit, 16)] for digit in digest)
