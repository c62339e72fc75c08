"""A canary's readers: the error rate holds however often one looks."""

import numpy as np
import pytest

from eval.gate.canary import Outcome, half_width, standing

DAYS, DAILY, MARGIN = 60, 60, 0.1


def history(difference: float, seed: int) -> tuple[list[list[Outcome]], float]:
    """The outcomes of each day, of readers who ask one to five questions, and are alike or not."""
    draws = np.random.default_rng(seed)
    days = []
    for day in range(DAYS):
        outcomes = []
        for reader in range(DAILY):
            model = "docs@v8" if reader % 4 == 0 else "docs@v7"
            content = draws.random()  # a reader's questions are all easy, or all hard
            good = (0.55 if content < 0.5 else 0.85) + (difference / 2 if model == "docs@v8" else 0)
            values = np.where(draws.random(draws.integers(1, 6)) < good, 1.0, -1.0)
            outcomes += [Outcome(model, (day, reader), float(value)) for value in values]
        days.append(outcomes)
    return days, difference


def looks(difference: float, seed: int) -> list[str]:
    days, _ = history(difference, seed)
    so_far: list[Outcome] = []
    decisions = []
    for outcomes in days:
        so_far += outcomes
        decisions.append(standing(so_far, "docs@v8", "docs@v7", MARGIN).decision)
        if decisions[-1] != "wait":
            break
    return decisions


@pytest.mark.slow  # hundreds of canaries of two months
@pytest.mark.parametrize(("difference", "wrong"), [(-MARGIN, "promote"), (0.0, "stop")])
def test_daily_looks_do_not_raise_the_error_rate(difference: float, wrong: str) -> None:
    """At the border of the margin, and of no difference."""
    ends = [looks(difference, seed)[-1] for seed in range(200)]
    assert ends.count(wrong) <= 0.05 * len(ends)


@pytest.mark.parametrize(("difference", "decision"), [(0.1, "promote"), (-0.4, "stop")])
def test_a_clear_difference_is_found_within_weeks(difference: float, decision: str) -> None:
    ends = [looks(difference, seed) for seed in range(5)]
    assert [found[-1] for found in ends] == [decision] * 5


def test_it_waits_for_readers_of_both() -> None:
    few = [Outcome("docs@v8", number, 1.0) for number in range(49)]
    many = [Outcome("docs@v7", number, -1.0) for number in range(99)]
    found = standing([*few, *many], "docs@v8", "docs@v7", MARGIN)
    assert (found.readers, found.decision) == ((49, 99), "wait")
    assert standing(few, "docs@v8", "docs@v7", MARGIN).difference is None


def test_answers_of_one_reader_count_as_few() -> None:
    values = [1.0, -1.0, 1.0, 1.0]
    alone = [Outcome(m, n, values[n % 4]) for m in ("a", "b") for n in range(400)]
    together = [Outcome(m, n // 100, values[n // 100]) for m in ("a", "b") for n in range(400)]
    wide, narrow = (standing(some, "a", "b", MARGIN) for some in (together, alone))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_the_interval_is_narrowest_where_it_is_as_wide_as_the_margin() -> None:
    ratio = {
        variance: half_width(variance, 0.1) / variance**0.5
        for variance in (1e-5, 1e-4, 0.1**2 / 9.2, 1e-2, 1e-1)
    }
    assert min(ratio, key=ratio.__getitem__) == 0.1**2 / 9.2
    assert half_width(0.1**2 / 9.2, 0.1) == pytest.approx(0.1, rel=0.02)
