"""Two models side by side: intervals as published, and no difference where there is none."""

import math
import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eval.statistics.proportions import Line, compare, percentile, share, shares_differ
from gateway.telemetry.answer_statistics import AnswerTally, bucket

COUNTS = st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_the_published_one(
    part: int, whole: int, low: float, high: float
) -> None:
    found = share(part, whole)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    # Newcombe 1998, 17:873-890, table II, method 10: 0.0524 to 0.3339; 0.0428 below to 0.6791.
    [((56, 70), (48, 80), True), ((5, 56), (0, 29), False), ((9, 10), (3, 10), True)],
)
def test_shares_differ_where_the_published_interval_leaves_out_nothing(
    one: tuple[int, int], other: tuple[int, int], differ: bool
) -> None:
    first, second = share(*one), share(*other)
    assert first is not None
    assert second is not None
    assert shares_differ(first, second) is differ
    assert shares_differ(second, first) is differ


@given(COUNTS)
@example((24, 24))  # whose upper end is the number below 1, as computed
def test_a_share_is_within_its_interval_and_differs_not_from_itself(
    counts: tuple[int, int],
) -> None:
    found = share(*counts)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert not shares_differ(found, found)


def test_the_interval_of_a_percentile_holds_the_true_one_nearly_always() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(200):
        times = Counter(bucket(chance.expovariate(1)) for _ in range(300))
        found = percentile(times, 0.5)
        assert found is not None
        held += found.low * 0.957 <= 0.6931 <= found.high * 1.044
    assert held >= 186


def of(answers: int, refused: int, seconds: float) -> AnswerTally:
    one = AnswerTally()
    one.counts.update(answers=answers, refused=refused)
    one.times["duration"].update({bucket(seconds): answers})
    return one


def lines(one: AnswerTally, other: AnswerTally) -> dict[str, Line]:
    return {line.measure: line for line in compare(one, other)}


def test_a_slower_and_more_refusing_model_is_seen_and_noise_is_not() -> None:
    found = lines(of(400, 40, 1.0), of(400, 90, 3.0))
    assert found["refused"].differs
    assert found["whole answer p95"].differs
    assert found["votes for"].differs is None
    assert found["time to first token p50"].first is None
    found = lines(of(400, 40, 1.0), of(40, 5, 1.0))
    assert found["refused"].differs is False
    assert found["whole answer p50"].differs is False


def test_a_single_answer_of_each_tells_nothing() -> None:
    found = lines(of(1, 0, 1.0), of(1, 0, 3.0))
    one = found["whole answer p50"].first
    assert one is not None
    assert (one.low, one.high) == (0.0, math.inf)
    assert not any(line.differs for line in found.values())
