"""Intervals that hold the truth as often as they say, and tests that find what is there."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import bootstrap, paired
from eval.statistics.bootstrap import Estimate

P = st.floats(0, 1)


def held(
    estimate: Callable[[list[float]], Estimate],
    draw: Callable[[np.random.Generator], float],
    truth: float,
    size: int = 80,
    times: int = 100,
) -> float:
    """How often the interval of a sample holds the truth."""
    chance = np.random.default_rng(5)
    found = [estimate([float(draw(chance)) for _ in range(size)]) for _ in range(times)]
    return sum(one.low <= truth <= one.high for one in found) / times


def test_intervals_hold_the_truth_about_as_often_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 400)
    assert held(bootstrap.mean, lambda chance: chance.exponential(2), 2) >= 0.87
    assert held(bootstrap.mean, lambda chance: chance.beta(0.5, 2), 0.2) >= 0.87
    assert held(paired.share, lambda chance: chance.random() < 0.03, 0.03) >= 0.9


@pytest.mark.parametrize(
    ("q", "size"), [(0.5, 7), (0.5, 80), (0.95, 60), (0.95, 140), (0.99, 140), (0.99, 400)]
)
def test_the_interval_of_a_percentile_holds_the_true_one(q: float, size: int) -> None:
    truth = -math.log(1 - q)
    found = held(lambda v: paired.percentile(v, q), lambda c: c.exponential(), truth, size, 400)
    assert found >= 0.94


def test_few_values_bound_no_end_of_a_percentile() -> None:
    def ends(size: int, q: float) -> tuple[float, float]:
        return paired.percentile([float(number) for number in range(size)], q)[1:3]

    # That all are below p99 is likelier than 2.5 % of 367, and less likely of 368.
    assert 0.99**367 > 0.025 > 0.99**368
    assert ends(367, 0.99) == (358, math.inf)
    assert ends(368, 0.99) == (359, 367)
    # As many heads or tails in a row: 3.125 % of five, on each side.
    assert ends(5, 0.5) == (-math.inf, math.inf)
    assert ends(6, 0.5) == (0, 5)
    assert ends(1, 0.99) == (0, math.inf)


@given(st.lists(P, min_size=1, max_size=40), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_lies_in_its_interval(values: list[float], q: float) -> None:
    found = paired.percentile(values, q)
    assert found.low <= found.value <= found.high


def test_an_interval_leaves_the_truth_out_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 400)
    assert held(bootstrap.mean, lambda chance: chance.normal(), 0, size=30, times=200) < 0.99
    assert held(lambda v: paired.percentile(v, 0.5), lambda c: c.normal(), 0, times=200) < 0.99


def test_nothing_of_forty_is_not_nothing_for_sure() -> None:
    found = paired.share([0.0] * 40)
    assert (found.value, found.low) == (0, 0)
    assert 0.05 < found.high < 0.1
    assert found.size == 40


def test_a_mean_of_few_values_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    nineteen = [number / 20 for number in range(19)]
    for few in ([0.3], nineteen):
        assert bootstrap.mean(few)[1:] == (-math.inf, math.inf, len(few))
        assert paired.means(few, [0.0] * len(few))[1:3] == (-math.inf, math.inf)
    enough = bootstrap.mean([*nineteen, 0.95])
    assert 0.3 < enough.low < enough.value < enough.high < 0.65
    monkeypatch.setattr(bootstrap, "SAMPLES", 400)
    assert held(bootstrap.mean, lambda chance: chance.beta(0.5, 2), 0.2, size=20) >= 0.87


def test_values_that_are_all_the_same_have_an_interval_without_width() -> None:
    assert bootstrap.mean([2.0] * 20) == (2, 2, 2, 20)
    with pytest.raises(ValueError, match="nothing"):
        paired.percentile([], 0.5)
    with pytest.raises(ValueError, match="nothing"):
        paired.share([])


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    # scipy.stats.binomtest(5, 23, 0.5), and by hand.
    [
        (18, 5, 0.010622),
        (5, 18, 0.010622),
        (0, 0, 1),
        (3, 3, 1),
        (5, 0, 0.0625),
        (900, 700, 6.4e-7),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(better: int, worse: int, p: float) -> None:
    assert paired.mcnemar(better, worse) == pytest.approx(p, rel=0.02)


def test_pairs_that_never_differ_leave_a_doubt() -> None:
    found = paired.shares([1.0] * 40, [1.0] * 40)
    assert found.value == 0
    assert -0.1 < found.low < -0.05
    assert found.high == pytest.approx(-found.low)
    # (12 - 3) / 60, by hand: 0.1452 +- 1.96 sqrt((13 / 62 + 4 / 62 - 0.1452^2) / 62)
    one, other = [1.0] * 12 + [0.0] * 48, [0.0] * 12 + [1.0] * 3 + [0.0] * 45
    found = paired.shares(one, other)
    assert found.value == pytest.approx(0.15)
    assert (found.low, found.high) == (
        pytest.approx(0.0200, abs=5e-4),
        pytest.approx(0.2703, abs=5e-4),
    )
    assert found.p == pytest.approx(paired.mcnemar(12, 3))


@given(st.lists(P, min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p: list[float]) -> None:
    corrected = paired.holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, corrected, strict=True))
    pairs = sorted(zip(p, corrected, strict=True))
    assert [after for _, after in pairs] == sorted(corrected)
    assert min(corrected) == min(1.0, len(p) * min(p))


def test_holm_is_the_published_procedure() -> None:
    # statsmodels.stats.multitest.multipletests([.01, .04, .03, .005], method="holm")
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(P, P), min_size=2, max_size=30))
def test_a_difference_has_two_sides(pairs: list[tuple[float, float]]) -> None:
    one, other = zip(*pairs, strict=True)
    forth, back = paired.means(one, other), paired.means(other, one)
    assert forth.value == pytest.approx(-back.value)
    assert forth.detectable() == pytest.approx(back.detectable())
    assert 0 < forth.p <= 1


def test_a_true_difference_is_found_and_none_is_not() -> None:
    chance = random.Random(3)
    base = [chance.random() for _ in range(200)]
    noisy = [value + chance.gauss(0, 0.3) for value in base]
    better = [value + 0.1 for value in noisy]
    assert paired.means(better, base).p < 0.01
    assert paired.means(noisy, base).p > 0.05
    assert paired.percentiles(better, base, 0.5).size == 200
    assert paired.percentiles(base, base, 0.95) == (0, 0, 0, 200, 1, 0)


def test_a_few_pairs_that_agree_prove_nothing() -> None:
    assert paired.means([1.0], [0.0]).p == 1
    assert paired.means([1.0] * 4, [0.0] * 4).p == pytest.approx(0.125)
    assert paired.percentiles([3.0, 3.0], [1.0, 1.0], 0.5).p == 0.5
    assert paired.means([1.0] * 30, [0.0] * 30).p < 0.001


@pytest.mark.parametrize("family", [1, 10])
def test_the_detectable_difference_is_detected_four_times_out_of_five(family: int) -> None:
    """By the verdict of a report, which corrects for all that are compared by one measure."""
    true = paired.means([1.0, -1.0] * 50, [0.0] * 100).detectable(family)
    chance = np.random.default_rng(11)
    found = []
    for _ in range(1000):
        one = chance.normal(0, 0.1, family)  # the means of 100 questions
        one[0] += true
        p = [math.erfc(abs(mean) / 0.1 / math.sqrt(2)) for mean in one]
        found.append(paired.holm(p)[0] < paired.SIGNIFICANT)
    assert 0.77 < np.mean(found) < 0.83


def test_pairs_that_never_differ_hide_small_differences() -> None:
    assert paired.shares([1.0] * 50, [1.0] * 50).detectable() > 0.05
