"""Decides which rows become which kind of example."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from eval.questions.rows import Row
from training.data.examples import Example, Examples, is_about_something


@dataclass(frozen=True)
class Mix:
    """The rows of a split by kind of example."""

    closed: list[Row]
    answerable: list[Row]
    """Rows with a page or text of their own."""
    unanswerable: list[Row]
    removed: int
    """How many of `answerable` are used twice: with their pages, and without."""
    pageless: list[Row]
    """Left out: rows with neither a page nor text that are not used closed-book."""
    surplus: list[Row]
    """Left out: unanswerable rows beyond their share."""


def mix(rows: Sequence[Row], refusals: float, closed_book: float, random: Random) -> Mix:
    """Assign the rows to kinds.

    At most half of the refusals come from unanswerable rows. A model that sees no question whose
    page is missing learns to refuse by the question alone instead of by the pages.

    Args:
        rows: the rows of one split.
        refusals: share of refusals among the examples with pages.
        closed_book: share of the answerable rows used without pages; rows that have none come
            first.
        random: draws the rows.
    """
    answerable = [row for row in rows if row.answerable]
    unanswerable = [row for row in rows if not row.answerable]
    shuffled = random.sample(answerable, len(answerable))
    shuffled.sort(key=is_about_something)
    closed = shuffled[: round(closed_book * len(answerable))]
    left = shuffled[len(closed) :]
    with_page = [row for row in left if is_about_something(row)]
    # `refusals` is a share of all examples with pages; half of the refusals come from unanswerable
    # rows if there are enough.
    wanted = round(refusals * len(with_page) / (1 - refusals))
    unanswered = random.sample(unanswerable, min(wanted // 2, len(unanswerable)))
    removed = min(wanted - len(unanswered), len(with_page))
    gone = {row.line for row in unanswered}
    return Mix(
        closed=closed,
        answerable=with_page,
        unanswerable=unanswered,
        removed=removed,
        pageless=[row for row in left if not is_about_something(row)],
        surplus=[row for row in unanswerable if row.line not in gone],
    )


def mix_as_served(rows: Sequence[Row], closed_book: float, random: Random) -> Mix:
    """The rows for `Examples.as_served`, which decides the kind of all that are not closed-book."""
    closed = mix(rows, 0, closed_book, random).closed
    used = {row.line for row in closed}
    left = [row for row in rows if row.line not in used]
    return Mix(
        closed=closed,
        answerable=[row for row in left if row.answerable],
        unanswerable=[row for row in left if not row.answerable],
        removed=0,
        pageless=[],
        surplus=[],
    )


def made(
    mixed: Mix,
    examples: Examples,
    random: Random,
    progress: Callable[[int, int], None],
    as_served: bool = False,
) -> list[Example]:
    """The examples in file order. Calls `progress(done, total)`."""
    total = sum(map(len, (mixed.answerable, mixed.unanswerable, mixed.closed))) + mixed.removed
    done = []
    making = _as_served(mixed, examples) if as_served else _made(mixed, examples, random)
    for example in making:
        done.append(example)
        progress(len(done), total)
    return sorted(done, key=lambda example: example.row.line)


def _as_served(mixed: Mix, examples: Examples) -> Iterator[Example]:
    for row in (*mixed.answerable, *mixed.unanswerable):
        if example := examples.as_served(row):
            yield example
    yield from map(examples.closed_book, mixed.closed)


def _made(mixed: Mix, examples: Examples, random: Random) -> Iterator[Example]:
    removed = 0
    for row in random.sample(mixed.answerable, len(mixed.answerable)):
        grounded = examples.grounded(row)
        if grounded is None:
            continue
        yield grounded
        # Its twin: the same question without the pages that answer it.
        if removed < mixed.removed and (twin := examples.removed(row)):
            removed += 1
            yield twin
    yield from map(examples.unanswerable, mixed.unanswerable)
    yield from map(examples.closed_book, mixed.closed)
