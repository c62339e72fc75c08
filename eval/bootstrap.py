"""How sure a mean is: percentile bootstrap (Efron & Tibshirani 1993, chapter 13)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAMPLES = 10_000
# Of the means that are drawn, this share lies in the interval.
COVERED = 0.95
_DRAWN = 1_000_000  # values that are drawn at once: 8 MB


class Mean(NamedTuple):
    """A mean and its interval."""

    value: float
    low: float
    high: float
    size: int
    """Of the sample."""


def mean(values: Sequence[float], seed: int = 0) -> Mean:
    """Of independent `values`, with its interval. Raises ValueError when there are none.

    For a paired comparison, give the differences of the pairs.
    """
    if not values:
        raise ValueError("there is nothing to take the mean of")
    data = np.asarray(values, dtype=float)
    random = np.random.default_rng(seed)
    at_once = max(1, _DRAWN // len(data))
    means = np.concatenate(
        [
            data[random.integers(0, len(data), (min(at_once, SAMPLES - done), len(data)))].mean(1)
            for done in range(0, SAMPLES, at_once)
        ]
    )
    low, high = np.quantile(means, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return Mean(float(data.mean()), float(low), float(high), len(data))
