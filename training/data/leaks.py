"""Questions of an exam that a model may know from its training."""

from collections.abc import Iterable, Sequence

from eval.questions.clusters import clusters
from eval.questions.rows import Row


def trained(rows: Iterable[Row]) -> list[Row]:
    """The rows of a file that a model learns from: all but those of the split test."""
    return [row for row in rows if row.split != "test"]


def leaked(asked: Sequence[Row], learnt: Sequence[Row]) -> set[int]:
    """The lines of the asked rows that are, or say almost the same as, one that was learnt.

    Almost the same as `eval.questions.clusters` has it: of one cluster, or with four fifths of
    the words.
    """
    known = {id(row) for row in learnt}
    return {
        row.line
        for group in (clusters([*learnt, *asked]) if learnt else ())
        if any(id(row) in known for row in group)
        for row in group
        if id(row) not in known
    }
