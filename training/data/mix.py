"""Which rows become which kind of example."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from eval.questions.rows import Row
from training.data.examples import Example, Examples, is_about_something


@dataclass(frozen=True)
class Mix:
    """How many examples of each kind come of the rows of a split."""

    closed: list[Row]
    answerable: list[Row]
    """With a page or text of their own."""
    unanswerable: list[Row]
    removed: int
    """So many of `answerable` come twice: with their pages, and without."""
    pageless: list[Row]
    """Left out: neither a page nor text, and not wanted without."""
    surplus: list[Row]
    """Left out: unanswerable ones beyond their share."""


def mix(rows: Sequence[Row], refusals: float, closed_book: float, random: Random) -> Mix:
    """Deal out the rows.

    Of refusals at most half come from unanswerable rows. A model that meets no question whose page
    is missing learns to refuse by the question alone, and not by what it reads.

    Args:
        rows: of one split.
        refusals: their share of the examples with pages.
        closed_book: the share of the answerable rows that stand without pages; first those that
            have none.
        random: deals out.
    """
    answerable = [row for row in rows if row.answerable]
    unanswerable = [row for row in rows if not row.answerable]
    shuffled = random.sample(answerable, len(answerable))
    shuffled.sort(key=is_about_something)
    closed = shuffled[: round(closed_book * len(answerable))]
    left = shuffled[len(closed) :]
    with_page = [row for row in left if is_about_something(row)]
    # Of all that has pages in front, `refusals` are some; half of them are unanswerable rows if
    # there are enough.
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


def made(
    mixed: Mix, examples: Examples, random: Random, progress: Callable[[int, int], None]
) -> list[Example]:
    """The examples in the order of the file's lines. `progress` is told how many of how many."""
    total = sum(map(len, (mixed.answerable, mixed.unanswerable, mixed.closed))) + mixed.removed
    done = []
    for example in _made(mixed, examples, random):
        done.append(example)
        progress(len(done), total)
    return sorted(done, key=lambda example: example.row.line)


def _made(mixed: Mix, examples: Examples, random: Random) -> Iterator[Example]:
    removed = 0
    for row in random.sample(mixed.answerable, len(mixed.answerable)):
        grounded = examples.grounded(row)
        if grounded is None:
            continue
        yield grounded
        # Its twin: the same question, and what answers it is gone.
        if removed < mixed.removed and (twin := examples.removed(row)):
            removed += 1
            yield twin
    yield from map(examples.unanswerable, mixed.unanswerable)
    yield from map(examples.closed_book, mixed.closed)
