"""A judge's score that labels correct: true to the labels, and narrower than they are alone."""

import numpy as np
import pytest

from eval.statistics import paired
from eval.statistics.prediction_powered import FEW, Judged, mean

Draws = np.random.Generator


def answers(
    draws: Draws, size: int, labels: int, kind: float, refused: float = 0.0
) -> tuple[list[Judged], float]:
    """Of a judge that calls so large a share of wrong answers right; and the true share."""
    right = draws.random(size) < 0.5
    known = draws.random(size) < refused
    right &= ~known
    verdicts = (right | (draws.random(size) < kind)) & ~known
    chosen = set(draws.permutation(np.flatnonzero(~known))[:labels].tolist())
    return [
        Judged(float(said), float(true) if at in chosen else None, at, bool(known[at]))
        for at, (said, true) in enumerate(zip(verdicts, right, strict=True))
    ], float(right.mean())


@pytest.mark.parametrize("refused", [0.0, 0.3])
@pytest.mark.parametrize("kind", [0.0, 0.3, 1.0])
def test_the_interval_holds_the_true_share_however_kind_the_judge_is(
    kind: float, refused: float
) -> None:
    draws, held = np.random.default_rng(1), 0
    for _ in range(300):
        found, _ = answers(draws, 600, 120, kind, refused)
        estimate = mean(found)
        assert estimate is not None
        held += estimate.low <= 0.5 * (1 - refused) <= estimate.high
    assert held >= 0.91 * 300


def test_it_is_narrower_than_the_labels_alone_where_the_judge_is_good() -> None:
    draws = np.random.default_rng(2)
    found, _ = answers(draws, 2000, 100, kind=0.1)
    estimate = mean(found)
    alone = paired.share([one.label for one in found if one.label is not None])
    assert estimate is not None
    assert estimate.high - estimate.low < 0.7 * (alone.high - alone.low)


def test_a_judge_that_says_nothing_leaves_the_labels() -> None:
    draws = np.random.default_rng(3)
    found, _ = answers(draws, 500, 200, kind=1.0)
    labels = [one.label for one in found if one.label is not None]
    estimate = mean(found)
    assert estimate is not None
    assert estimate.value == pytest.approx(np.mean(labels))


def test_answers_about_one_page_count_less_than_independent_ones() -> None:
    draws = np.random.default_rng(4)
    found, _ = answers(draws, 400, 200, kind=0.2)
    by_page = [one._replace(cluster=int(one.verdict)) for one in found]
    apart, together = mean(found), mean(by_page)
    assert apart is not None
    assert together is not None
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_few_labels_correct_nothing() -> None:
    found, _ = answers(np.random.default_rng(5), 200, FEW - 1, kind=0.1)
    assert mean(found) is None


def test_few_pages_and_labels_that_are_all_alike_are_no_certainty() -> None:
    found, _ = answers(np.random.default_rng(6), 200, 100, kind=0.2)
    one_page = mean([one._replace(cluster="page") for one in found])
    assert one_page is not None
    assert one_page.high - one_page.low > 0.9
    same = mean([Judged(1.0, 1.0, at) for at in range(FEW)])
    assert same == paired.share([1.0] * FEW)
    assert same.low < 0.9


@pytest.mark.parametrize("kind", [0.3, 1.0])
def test_the_interval_is_no_wider_than_the_estimate_varies(kind: float) -> None:
    """A judge that is wrong on average shifts the estimate, and adds nothing to its error."""
    draws, half, values = np.random.default_rng(7), 0.0, []
    for _ in range(400):
        found, _ = answers(draws, 600, 120, kind)
        estimate = mean(found)
        assert estimate is not None
        half += (estimate.high - estimate.low) / 2 / 400
        values.append(estimate.value)
    assert half == pytest.approx(1.96 * np.std(values), rel=0.12)


def test_it_is_the_published_estimate() -> None:
    """Mean and variance of PPI++, worked out from the verdicts and labels alone."""
    found, _ = answers(np.random.default_rng(8), 900, 150, kind=0.4)
    verdicts = np.array([one.verdict for one in found])
    pairs = [(one.verdict, one.label) for one in found if one.label is not None]
    said, true = np.array(pairs).T
    weights = np.linspace(0, 1, 1001)
    size, every = len(pairs), len(found)

    def variance(weight: float) -> float:
        # Of the mean of all verdicts and that of the labelled residuals, and what they share: the
        # labelled answers are among all.
        shared = 2 * weight * float(np.cov(said, true - weight * said, ddof=0)[0, 1]) / every
        rest = float(np.var(true - weight * said)) / size
        return weight**2 * float(np.var(said)) / every + rest + shared

    best = float(weights[np.argmin([variance(weight) for weight in weights])])
    estimate = mean(found)
    assert estimate is not None
    assert estimate.value == pytest.approx(
        best * verdicts.mean() + (true - best * said).mean(), abs=1e-3
    )
    assert (estimate.high - estimate.low) / 2 == pytest.approx(
        1.96 * np.sqrt(variance(best)), rel=0.04
    )


def test_labels_about_few_pages_tell_little_of_many() -> None:
    draws = np.random.default_rng(9)
    found, _ = answers(draws, 600, 60, kind=0.3)
    places = iter(range(60))
    few = [
        one._replace(cluster=at if one.label is None else -1 - next(places) % 3)
        for at, one in enumerate(found)
    ]
    apart, together = mean(found), mean(few)
    assert apart is not None
    assert together is not None
    assert together.high - together.low > 1.8 * (apart.high - apart.low)
