"""What may be chance: intervals of shares and percentiles, paired tests, and what a sample is too
small to show.

Two systems answer the same questions, so they are compared question by question: shares by
McNemar's exact test (McNemar 1947, https://doi.org/10.1007/BF02295996), all else by the bootstrap
of the differences, centred (Efron & Tibshirani 1993, chapter 16). If several are compared with one,
p-values are corrected together by Holm's method (Holm 1979,
https://www.jstor.org/stable/4615733). For clustered questions, such as those about one page,
intervals and p-values come from `eval.statistics.clustered`.
"""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from eval.statistics import proportions
from eval.statistics.bootstrap import COVERED, Drawn, Estimate, drawn_mean, drawn_percentiles
from eval.statistics.clustered import Clustering, clustering

SIGNIFICANT = 0.05
POWER = 0.8
Clusters = Sequence[Hashable] | None
"""The cluster of each value; None: no clusters."""
_NORMAL = NormalDist()
NORMAL_95 = _NORMAL.inv_cdf(1 - SIGNIFICANT / 2)
"""Standard errors on each side of a 95 % confidence interval."""


class Difference(NamedTuple):
    """Difference of two systems on the same questions: the first minus the second."""

    value: float
    low: float
    high: float
    size: int
    """Questions with values of both."""
    p: float
    """The probability of such a difference, or a larger one, by chance alone."""
    error: float
    """Its standard error."""

    def detectable(self, family: int = 1) -> float:
        """The smallest true difference that this number of questions shows four times out of five.

        In a `family` of comparisons, Bonferroni's method must find it: Holm's then does, too.
        """
        return detectable(self.error, family)


def detectable(error: float, family: int = 1) -> float:
    """The smallest true difference shown four times out of five, from its standard error."""
    bound = 1 - SIGNIFICANT / (2 * family)
    return error * (_NORMAL.inv_cdf(bound) + _NORMAL.inv_cdf(POWER))


def questions_needed(detectable: float, size: int, margin: float) -> int:
    """Questions needed for the interval of two equal systems to lie above `-margin` 4 times out of
    5.

    Args:
        detectable: the smallest difference that `size` questions show; it decreases with the root
            of `size`.
    """
    return math.ceil(size * (detectable / margin) ** 2)


def share(values: Sequence[float], clusters: Clusters = None) -> Estimate:
    """The share of ones among zeros and ones, with Wilson's interval for the effective sample size.

    A bootstrap would make 0 of 40 certain. Raises ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is nothing to take a share of")
    value = round(sum(values)) / len(values)
    widening = clustering(values, clusters).widening
    effective = len(values) / widening**2
    low, high = proportions.wilson(value, effective) if effective else (0.0, 1.0)
    return Estimate(value, low, high, len(values))


def mean(values: Sequence[float], clusters: Clusters = None) -> Estimate:
    """Like `bootstrap.mean`, widened for clusters."""
    return _widened(drawn_mean(list(values)).estimate, clustering(values, clusters))


def percentile(values: Sequence[float], q: float) -> Estimate:
    """The value that a share `q` of `values` does not exceed, with an interval between two of them.

    The number of values below the true percentile is binomial for any distribution (David &
    Nagaraja 2003, Order Statistics, section 7.1). Fewer than 368 values do not bound p99 from
    above: a bootstrap would end at the largest. Raises ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    from scipy import stats

    size, value = len(values), float(np.quantile(values, q))
    beyond = (1 - COVERED) / 2
    below, above = (int(n) for n in stats.binom.ppf([beyond, 1 - beyond], size, q))
    by_rank = [-math.inf, *sorted(values), math.inf]
    # The percentile of two values lies between them, and p99 most likely above both.
    return Estimate(value, min(value, by_rank[below]), by_rank[above + 1], size)


def shares(
    first: Sequence[float], second: Sequence[float], clusters: Clusters = None
) -> Difference:
    """The difference of two paired shares, by McNemar's exact test.

    The interval is that of Bonett & Price 2012, https://doi.org/10.3102/1076998611411915, which
    adds a pair of each kind, since pairs without a difference do not prove that there is none.
    """
    differences = np.subtract(first, second)
    within = clustering(list(differences), clusters)
    size = len(differences)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    up, down = (better + 1) / (size + 2), (worse + 1) / (size + 2)
    half = NORMAL_95 * within.widening * math.sqrt((up + down - (up - down) ** 2) / (size + 2))
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    estimate = Estimate((better - worse) / size, low, high, size)
    spread = math.sqrt((better + worse + 1) / size)
    return _difference(estimate, spread, mcnemar(better, worse), within)


def means(first: Sequence[float], second: Sequence[float], clusters: Clusters = None) -> Difference:
    """The difference of two paired means."""
    differences = np.subtract(first, second)
    within = clustering(list(differences), clusters)
    drawn = drawn_mean(list(differences))
    spread = float(np.sqrt(np.mean(np.square(differences))))
    return _difference(_widened(drawn.estimate, within), spread, _p(drawn), within)


def percentiles(first: Sequence[float], second: Sequence[float], q: float) -> Difference:
    """The difference of two paired percentiles."""
    drawn = drawn_percentiles(first, second, q)
    return Difference(*drawn.estimate, _p(drawn), float(np.std(drawn.others)))


def mcnemar(better: int, worse: int) -> float:
    """McNemar's two-sided exact p-value, from the numbers of pairs that differ in each
    direction."""
    from scipy import stats

    return min(1.0, 2 * float(stats.binom.cdf(min(better, worse), better + worse, 0.5)))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for multiple comparisons by Holm's method."""
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = highest
    return corrected


def _p(drawn: Drawn) -> float:
    value, size = drawn.estimate.value, drawn.estimate.size
    if value == 0:
        return 1.0
    beyond = int((np.abs(drawn.others - value) >= abs(value) * (1 - 1e-9)).sum())
    # So few pairs could all have fallen on one side by chance, however alike they are.
    return max((beyond + 1) / (len(drawn.others) + 1), 2.0 ** (1 - size))


def _difference(estimate: Estimate, spread: float, p: float, within: Clustering) -> Difference:
    error = within.widening * spread / math.sqrt(estimate.size)
    return Difference(*estimate, max(p, within.p), error)


def _widened(estimate: Estimate, within: Clustering) -> Estimate:
    low, high = (estimate.value + within.widening * (end - estimate.value) for end in estimate[1:3])
    return estimate if within.widening == 1 else estimate._replace(low=low, high=high)
