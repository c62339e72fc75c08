"""Bootstrap confidence intervals (Efron & Tibshirani 1993, chapters 13 and 14)."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Twice as many as Efron & Tibshirani draw for BCa.
SAMPLES = 4_000
# Fewer draws for percentiles, since each draw sorts: their intervals are wide anyway.
SAMPLES_OF_PERCENTILES = 1_000
# With fewer values, BCa intervals of skewed samples covered the true mean in less than 90 % of
# samples, with two values in half of them: so there is no interval.
FEW = 20
# The share of draws inside the interval.
COVERED = 0.95
_DRAWN = 1_000_000  # values per batch of draws: 8 MB

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number with its interval, infinite on a side where the sample is too small for an end."""

    value: float
    low: float
    high: float
    size: int
    """Of the sample."""


class Drawn(NamedTuple):
    """An estimate, and its values on samples drawn from the sample."""

    estimate: Estimate
    others: Floats


def in_brackets(low: float, high: float, shown: Callable[[float], str]) -> str:
    """The interval as text, to follow a number."""
    if math.isinf(low) and math.isinf(high):
        return "(no interval)"
    if math.isinf(high):
        return f"({shown(low)} or more)"
    return f"({shown(low)} to {shown(high)})" if math.isfinite(low) else f"({shown(high)} or less)"


def finite(end: float) -> float | None:
    """An end for JSON, which has no infinity."""
    return end if math.isfinite(end) else None


def mean(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean of independent `values`, with a BCa interval for at least `FEW` values.

    Identical values have an interval without width; for shares use `eval.statistics.paired.share`,
    which handles this. Raises ValueError: there are no values.
    """
    return drawn_mean(values, seed).estimate


def drawn_mean(values: Sequence[float], seed: int = 0) -> Drawn:
    """Like `mean`. For a paired comparison, pass the differences of the pairs."""
    data = _checked(values)
    drawn = _drawn((data,), lambda sample, axis: sample.mean(axis), "BCa", SAMPLES, seed)
    if len(data) >= FEW:
        return drawn
    return drawn._replace(estimate=drawn.estimate._replace(low=-math.inf, high=math.inf))


def drawn_percentiles(left: Sequence[float], right: Sequence[float], q: float) -> Drawn:
    """The percentile of `left` minus that of `right`, whose values are paired."""

    def statistic(first: Floats, second: Floats, axis: int) -> Any:
        return np.quantile(first, q, axis=axis) - np.quantile(second, q, axis=axis)

    data = (_checked(left), _checked(right))
    return _drawn(data, statistic, "percentile", SAMPLES_OF_PERCENTILES, 0)


def _checked(values: Sequence[float]) -> Floats:
    if not values:
        raise ValueError("there is nothing to take the mean or a percentile of")
    return np.asarray(values, dtype=float)


def _drawn(data: tuple[Floats, ...], statistic: Any, method: str, samples: int, seed: int) -> Drawn:
    size = len(data[0])
    value = float(statistic(*data, axis=-1))
    if all(np.ptp(sample) == 0 for sample in data):
        return Drawn(Estimate(value, value, value, size), np.full(samples, value))
    # Here, because it takes a second to load.
    from scipy import stats

    def drawn(method: str) -> Any:
        return stats.bootstrap(
            data,
            statistic,
            n_resamples=samples,
            batch=max(1, _DRAWN // size),
            paired=True,
            confidence_level=COVERED,
            method=method,
            rng=np.random.default_rng(seed),
        )

    with warnings.catch_warnings(action="ignore"):  # warns if there is no BCa interval
        interval = drawn(method)
        low, high = interval.confidence_interval
        if not np.isfinite([low, high]).all():
            interval = drawn("percentile")
            low, high = interval.confidence_interval
    return Drawn(Estimate(value, float(low), float(high), size), interval.bootstrap_distribution)
