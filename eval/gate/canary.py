"""Decides by a canary's readers whether its version is as good.

The error rate holds however often one looks.

Each answer has a value: 1 supported, or voted up; 0 refused; -1 unsupported, failed or voted down.
The difference of the two means has an asymptotic confidence sequence (Waudby-Smith et al. 2021,
https://arxiv.org/abs/2103.06476): the normal mixture of Robbins 1970, narrowest where its
half-width is the margin. Answers of one reader form a cluster (Liang & Zeger 1986), as in
`eval.statistics.clustered`.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

ERROR = 0.05
"""Probability that the interval ever excludes the true difference."""
FEW = 50
"""Readers of each version below which nothing is decided: the sequence is asymptotic."""
# The parameter of the mixture at which its interval is narrowest: the minimum of `_squared`.
NARROWEST = 8.2

Decision = Literal["promote", "stop", "wait"]


class Outcome(NamedTuple):
    """A reader's answer."""

    model: str
    reader: Hashable
    value: float


@dataclass(frozen=True)
class Standing:
    """Where a canary stands."""

    readers: tuple[int, int]
    """Of the canary, and of the version in use."""
    answers: tuple[int, int]
    difference: float | None
    """The canary's mean value minus the other's; None: one of them has no answers."""
    low: float
    high: float
    margin: float

    @property
    def decision(self) -> Decision:
        if min(self.readers) < FEW:
            return "wait"
        if self.low > -self.margin:
            return "promote"
        return "stop" if self.high < 0 else "wait"


def standing(outcomes: Iterable[Outcome], canary: str, other: str, margin: float) -> Standing:
    """Compare the outcomes so far of a canary and the version in use."""
    by_model: Mapping[str, dict[Hashable, list[float]]] = {
        canary: defaultdict(list),
        other: defaultdict(list),
    }
    for outcome in outcomes:
        if outcome.model in by_model:
            by_model[outcome.model][outcome.reader].append(outcome.value)
    sides = [list(by_model[name].values()) for name in (canary, other)]
    readers = (len(sides[0]), len(sides[1]))
    answers = (sum(map(len, sides[0])), sum(map(len, sides[1])))
    if not min(answers):
        return Standing(readers, answers, None, -math.inf, math.inf, margin)
    (first, first_variance), (second, second_variance) = map(_mean, sides)
    half = half_width(first_variance + second_variance, margin)
    difference = first - second
    return Standing(readers, answers, difference, difference - half, difference + half, margin)


def half_width(variance: float, margin: float) -> float:
    """Half of the interval's width, for the variance of the difference so far."""
    if not variance:
        return 0.0
    k = NARROWEST / _squared(NARROWEST) * margin**2 / variance
    return math.sqrt(variance * _squared(k))


def _squared(k: float) -> float:
    """Square of the half-width in standard errors."""
    return (1 + 1 / k) * math.log((k + 1) / ERROR**2)


def _mean(clusters: list[list[float]]) -> tuple[float, float]:
    """Mean of all values, and its cluster-robust variance."""
    size, count = sum(map(len, clusters)), len(clusters)
    mean = sum(map(sum, clusters)) / size
    squares = sum((sum(values) - mean * len(values)) ** 2 for values in clusters)
    return mean, squares * count / max(1, count - 1) / size**2
