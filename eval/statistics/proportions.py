"""Compares two models by outcomes with real users, with confidence intervals.

Shares have Wilson's interval, and a difference of shares Newcombe's, which combines the two
(Newcombe
1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10).
A percentile's interval lies between the values two standard errors of rank below and above; two
percentiles differ if their intervals do not overlap, which is conservative.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from gateway.telemetry.answer_statistics import AnswerTally, middle

Z = 1.959964  # 95 %


class Value(NamedTuple):
    """A measured value and its 95 % confidence interval, infinite where little is known."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A measure of both models; None if a model has no data."""

    measure: str
    unit: str
    """`share` or `seconds`."""
    first: Value | None
    second: Value | None
    differs: bool | None
    """Is the difference significant? None: cannot be determined."""
    less_is_better: bool


def share(part: int, whole: int) -> Value | None:
    """`part` of `whole`, with Wilson's interval; None: `whole` is 0."""
    return Value(part / whole, *wilson(part / whole, whole)) if whole else None


def wilson(p: float, whole: float) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a share `p` of `whole`, which may be an effective
    number."""
    z2 = Z * Z / whole
    centre = p + z2 / 2
    half = Z * math.sqrt(p * (1 - p) / whole + z2 / (4 * whole))
    low, high = (centre - half) / (1 + z2), (centre + half) / (1 + z2)
    # Rounding must not exclude a share of 0 or 1.
    return max(0.0, min(p, low)), min(1.0, max(p, high))


def shares_differ(first: Value, second: Value) -> bool:
    """Does Newcombe's interval of the difference exclude 0?"""
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    difference = first.value - second.value
    return difference - down > 0 or difference + up < 0


def percentile(times: "Counter[int]", q: float) -> Value | None:
    """The time in seconds that a share `q` of the answers did not exceed; None: no answers."""
    n = times.total()
    if not n:
        return None
    error = Z * math.sqrt(n * q * (1 - q))
    below, above = n * q - error, n * q + error
    return Value(
        _ranked(times, n * q),
        _ranked(times, below) if below >= 1 else 0.0,
        _ranked(times, above) if above <= n else math.inf,
    )


def _ranked(times: "Counter[int]", rank: float) -> float:
    """The time of that rank, which is at most the number of times."""
    passed = 0
    for bucket, count in sorted(times.items()):
        passed += count
        if passed >= rank:
            return middle(bucket)
    return middle(max(times))


def _marked(tally: AnswerTally) -> int:
    return tally.counts["unsupported"] + tally.counts["contradicted"]


def compare(first: AnswerTally, second: AnswerTally) -> list[Line]:
    """Compare both models by every measure."""
    lines = []

    def add(measure: str, unit: str, value: Value | None, other: Value | None, less: bool) -> None:
        differs = None
        if value is not None and other is not None:
            meet = value.low <= other.high and other.low <= value.high
            differs = shares_differ(value, other) if unit == "share" else not meet
        lines.append(Line(measure, unit, value, other, differs, less))

    for name in ("refused", "cautious"):
        first_value, second_value = (
            share(t.counts[name], t.counts["answers"]) for t in (first, second)
        )
        add(name, "share", first_value, second_value, less=True)
    first_value, second_value = (
        share(t.counts["failed"], t.counts["answers"] + t.counts["failed"]) for t in (first, second)
    )
    add("failed", "share", first_value, second_value, less=True)
    first_value, second_value = (
        share(_marked(t), _marked(t) + t.counts["supported"]) for t in (first, second)
    )
    add("claims not supported", "share", first_value, second_value, less=True)
    first_value, second_value = (
        share(t.counts["up"], t.counts["up"] + t.counts["down"]) for t in (first, second)
    )
    add("votes for", "share", first_value, second_value, less=False)
    for measure, name in (("first_token", "time to first token"), ("duration", "whole answer")):
        for q in (0.5, 0.95):
            first_value, second_value = (percentile(t.times[measure], q) for t in (first, second))
            add(f"{name} p{q * 100:.0f}", "seconds", first_value, second_value, less=True)
    return lines
