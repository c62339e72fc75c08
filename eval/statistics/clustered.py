"""Widens confidence intervals for clustered questions: questions about a page are not independent.

Answers about a page tend to be right or wrong together, so 100 questions about 20 pages say less
than 100 questions about 100 pages. The factor is the root of Kish's design effect: the
cluster-robust
variance of the mean (Liang & Zeger 1986, https://doi.org/10.1093/biomet/73.1.13) divided by that of
independent values, never below 1, with Student's t whose degrees of freedom are the number of
clusters minus one.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

COVERED = 0.95


class Clustering(NamedTuple):
    """The effect of clusters on a mean."""

    widening: float
    """The factor by which an interval of independent values widens; 1 if every cluster has one
    value."""
    p: float
    """Two-sided p-value of a zero mean, by the cluster-robust error; 0 if uninformative: combine it
    with another test's by taking the larger."""


ALONE = Clustering(1.0, 0.0)


def clustering(values: Sequence[float], clusters: Sequence[Hashable] | None) -> Clustering:
    """The effect on the mean of `values` in `clusters` (None: each in its own)."""
    if clusters is None or len(set(clusters)) == len(values):
        return ALONE
    # Here, because it takes a second to load.
    from scipy import stats

    size, count = len(values), len(set(clusters))
    data = np.asarray(values, dtype=float)
    mean = float(data.mean())
    sums: dict[Hashable, float] = defaultdict(float)
    for cluster, value in zip(clusters, data, strict=True):
        sums[cluster] += float(value) - mean
    freedom = max(1, count - 1)
    robust = sum(total**2 for total in sums.values()) * count / freedom / size**2
    simple = float(data.var()) / size
    beyond = (1 + COVERED) / 2
    wider = float(stats.t.ppf(beyond, freedom) / stats.norm.ppf(beyond))
    if count == 1 or not simple:
        # The variation between clusters is unknown: count clusters instead of values, which could
        # all have fallen on one side by chance.
        return Clustering(math.sqrt(size / count) * wider, 2.0 ** (1 - count))
    effect = max(1.0, robust / simple)
    p = 2 * float(stats.t.sf(abs(mean) / math.sqrt(robust), freedom)) if robust else 0.0
    return Clustering(math.sqrt(effect) * wider, p)
