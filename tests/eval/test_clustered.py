"""Intervals of questions about few pages hold the truth as often as they say."""

from collections.abc import Callable

import numpy as np
import pytest

from eval.statistics import agreement, paired
from eval.statistics.bootstrap import Estimate
from eval.statistics.clustered import ALONE, clustering

RUNS, PAGES, EACH = 400, 40, 5
CLUSTERS = np.repeat(np.arange(PAGES), EACH).tolist()


def drawn(chance: np.random.Generator, share: float) -> list[float]:
    """Answers of which those about one page go together: its pages are easy or hard."""
    easy = chance.beta(share, 1 - share, PAGES)
    return (chance.random((PAGES, EACH)) < easy[:, None]).astype(float).ravel().tolist()


@pytest.mark.parametrize("of", [paired.share, paired.mean])
def test_an_interval_of_clustered_answers_holds_the_truth(
    of: Callable[..., Estimate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.statistics.bootstrap.SAMPLES", 200)
    chance, held, naive = np.random.default_rng(1), 0, 0
    for _ in range(RUNS):
        values = drawn(chance, 0.6)
        with_pages, without = of(values, CLUSTERS), of(values)
        held += with_pages.low <= 0.6 <= with_pages.high
        naive += without.low <= 0.6 <= without.high
    assert held / RUNS > 0.92
    assert naive / RUNS < 0.85, "clusters that do not matter test nothing"


def test_two_alike_systems_differ_significantly_in_one_of_twenty_runs_at_most() -> None:
    chance, significant, naive = np.random.default_rng(2), 0, 0
    for _ in range(RUNS):
        one, other = drawn(chance, 0.5), drawn(chance, 0.5)
        found = paired.shares(one, other, CLUSTERS)
        significant += found.p < paired.SIGNIFICANT
        naive += paired.shares(one, other).p < paired.SIGNIFICANT
        assert (found.low > 0 or found.high < 0) <= (found.p < 0.2)
    assert significant / RUNS < 0.07
    assert naive / RUNS > 0.1


def test_questions_about_pages_of_their_own_are_as_before() -> None:
    values = [1.0, 0.0, 1.0, 1.0] * 10
    alone = list(range(40))
    assert clustering(values, alone) == clustering(values, None) == ALONE
    assert paired.share(values, alone) == paired.share(values)
    assert paired.shares(values, values[::-1], alone) == paired.shares(values, values[::-1])


def test_answers_that_are_all_alike_count_as_many_as_their_pages() -> None:
    one = paired.share([1.0] * 200, CLUSTERS)
    assert one.low < paired.share([1.0] * PAGES).low
    assert paired.share([1.0] * 200, ["page"] * 200).low < 0.01


def test_a_difference_that_is_the_same_for_all_of_three_pages_is_not_significant() -> None:
    better, worse, pages = [1.0] * 60, [0.0] * 60, ["one", "two", "three"] * 20
    assert paired.shares(better, worse).p < 0.001
    assert paired.shares(better, worse, pages).p == paired.means(better, worse, pages).p == 0.25
    assert paired.shares(better, worse, ["page"] * 60).p == 1
    assert paired.shares(better, worse, CLUSTERS[:60]).p < 0.001


def test_kappa_of_answers_about_few_pages_is_in_its_interval_as_often_as_it_says() -> None:
    """On hard pages a judge and a person disagree more often than on easy ones."""
    chance, held, naive = np.random.default_rng(3), 0, 0
    places = [("s", f"q{number}") for number in range(PAGES * EACH)]
    pages = dict(zip(places, CLUSTERS, strict=True))
    for _ in range(RUNS):
        labels = dict(zip(places, (chance.random(PAGES * EACH) < 0.5).tolist(), strict=True))
        agreed = drawn(chance, 0.8)
        judged = {
            place: label == bool(same)
            for (place, label), same in zip(labels.items(), agreed, strict=True)
        }
        with_pages = agreement.agreement(labels, judged, pages)
        without = agreement.agreement(labels, judged)
        assert with_pages is not None
        assert without is not None
        assert with_pages.kappa == without.kappa
        held += with_pages.low <= 0.6 <= with_pages.high
        naive += without.low <= 0.6 <= without.high
    assert held / RUNS > 0.92
    assert naive / RUNS < 0.85
