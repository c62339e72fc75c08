"""Questions of an evaluation that a model may know from its training.

A dataset has, and a version keeps, what was trained on as hashes: which rows these were does not
follow from a file of questions, whose rows and splits change after the training. The words of a
question are hashed one by one, so that a question that is almost the same is found, too. That hides
no words from somebody who guesses them.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from eval.questions.clusters import clusters
from eval.questions.rows import Row
from gateway.core.errors import AskdocsError
from gateway.knowledge.wiki.words import stems, words

FILE = "trained.json"


def trained(rows: Iterable[Row]) -> list[Row]:
    """The rows of a file that a model learns from: all but those of the split test."""
    return [row for row in rows if row.split != "test"]


def contaminated(rows: Sequence[Row], learnt: Sequence[Row]) -> set[int]:
    """The lines of the asked rows that are, or say almost the same as, one that was learnt.

    Almost the same as `clusters` has it: of one cluster, or with four fifths of the words. Of
    `learnt` nothing but the hashes is looked at.
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
    """A row with nothing but the hashes of its cluster and of its question's words; of such a row,
    the row itself."""
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
    """The content of FILE: what these rows are, without what they say."""
    pairs = {(row.question, row.cluster) for row in map(hashed, rows)}
    records = [{"question": question, "cluster": cluster} for question, cluster in sorted(pairs)]
    return json.dumps({"rows": records}, indent=0) + "\n"


def read(file: Path) -> list[Row]:
    """The rows of a FILE. Raises AskdocsError: it is none."""
    try:
        rows = json.loads(file.read_bytes())["rows"]
        return [
            Row(number, str(row["question"]), "", cluster=str(row["cluster"]), source=FILE)
            for number, row in enumerate(rows, 1)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AskdocsError(f"{file}: cannot be read ({error!r}): name --trained FILE") from None


def _letters(word: str) -> str:
    """A hash that no stemmer takes for a word with an ending, and no number."""
    digest = hashlib.sha256(word.encode()).hexdigest()[:12]
    return "".join("bcdfghjklmnpqrtv"[int(digit, 16)] for digit in digest)
