"""How sure a number is: bootstrap intervals (Efron & Tibshirani 1993, chapters 13 and 14)."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Twice as many as Efron & Tibshirani draw for BCa.
SAMPLES = 4_000
# Percentiles are drawn less often, since each draw sorts: their intervals are wide anyway.
SAMPLES_OF_PERCENTILES = 1_000
# Of fewer values BCa's interval held the true mean of skewed ones in less than 90 % of samples, and
# of two in half of them: they get none.
FEW = 20
# Of the numbers that are drawn, this share lies in the interval.
COVERED = 0.95
_DRAWN = 1_000_000  # values that are drawn at once: 8 MB

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number and its interval: to infinity on a side where the sample is too small for an end."""

    value: float
    low: float
    high: float
    size: int
    """Of the sample."""


class Drawn(NamedTuple):
    """An estimate, and what it would have been on samples drawn from the sample."""

    estimate: Estimate
    others: Floats


def in_brackets(low: float, high: float, shown: Callable[[float], str]) -> str:
    """What stands behind a number: its interval."""
    if math.isinf(low) and math.isinf(high):
        return "(no interval)"
    if math.isinf(high):
        return f"({shown(low)} or more)"
    return f"({shown(low)} to {shown(high)})" if math.isfinite(low) else f"({shown(high)} or less)"


def finite(end: float) -> float | None:
    """An end as JSON has it, which knows no infinity."""
    return end if math.isfinite(end) else None


def mean(values: Sequence[float], seed: int = 0) -> Estimate:
    """Of independent `values`, with its BCa interval if they are `FEW` at least.

    Values that are all the same have an interval without width; for shares take
    `eval.statistics.paired.share`, which knows better. Raises ValueError when there are none.
    """
    return drawn_mean(values, seed).estimate


def drawn_mean(values: Sequence[float], seed: int = 0) -> Drawn:
    """As `mean`. For a paired comparison, give the differences of the pairs."""
    data = _checked(values)
    drawn = _drawn((data,), lambda sample, axis: sample.mean(axis), "BCa", SAMPLES, seed)
    if len(data) >= FEW:
        return drawn
    return drawn._replace(estimate=drawn.estimate._replace(low=-math.inf, high=math.inf))


def drawn_percentiles(left: Sequence[float], right: Sequence[float], q: float) -> Drawn:
    """The percentile of `left` minus that of `right`, whose values are pairs."""

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

    with warnings.catch_warnings(action="ignore"):  # it warns where it has no BCa interval
        interval = drawn(method)
        low, high = interval.confidence_interval
        if not np.isfinite([low, high]).all():
            interval = drawn("percentile")
            low, high = interval.confidence_interval
    return Drawn(Estimate(value, float(low), float(high), size), interval.bootstrap_distribution)
