"""Corrects a judge's score with a sample of human labels: prediction-powered inference.

A lenient judge biases the mean of its verdicts, however many it gives. The labels show by how much,
and verdicts that correlate with the labels make the interval narrower than that of the labels
alone. Angelopoulos, Duchi & Zrnic 2023,
https://arxiv.org/abs/2311.01453 (PPI++), treating the labelled answers as a random sample of all:
theta = mean(w F) + mean over labelled of (Y - w F), with w between 0 and 1 chosen to
make the variance small; w = 0 is the mean of the labels alone.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from eval.statistics import paired
from eval.statistics.bootstrap import COVERED, Estimate
from eval.statistics.clustered import clustering
from eval.statistics.paired import NORMAL_95

# With fewer labels, neither their mean nor the correction is known well enough.
FEW = 20


class Judged(NamedTuple):
    """A judge's verdict on an answer."""

    verdict: float
    """0 or 1; 0 for a refusal, which is known to be wrong."""
    label: float | None
    """The human label; None if there is none. A refusal needs none: it is 0."""
    cluster: Hashable
    """Answers in a cluster, such as those about one page, are not independent."""
    is_known: bool = False
    """Is the verdict certain without a label, as for a refusal?"""


def mean(answers: Sequence[Judged]) -> Estimate | None:
    """The share of right answers with its 95 % confidence interval; None: too few labels.

    The answers with a label must be a random sample of those that need one.
    """
    return _corrected(answers, 0.0)


def difference(first: Sequence[Judged], second: Sequence[Judged]) -> Estimate | None:
    """The paired difference of two systems' shares of right answers, as `mean`.

    A question counts as labelled if both of its answers have a label or need none.
    """

    def label(answer: Judged) -> float | None:
        return answer.verdict if answer.is_known else answer.label

    pairs = []
    for one, other in zip(first, second, strict=True):
        labels = label(one), label(other)
        both = None if None in labels else (labels[0] or 0.0) - (labels[1] or 0.0)
        known = one.is_known and other.is_known
        pairs.append(Judged(one.verdict - other.verdict, both, one.cluster, known))
    return _corrected(pairs, -1.0)


def _corrected(answers: Sequence[Judged], least: float) -> Estimate | None:
    """The mean of values between `least` and 1."""
    verdicts = np.array([answer.verdict for answer in answers])
    labels = np.array([math.nan if answer.label is None else answer.label for answer in answers])
    needs = np.array([not answer.is_known for answer in answers], dtype=bool)
    labelled = needs & ~np.isnan(labels)
    size = int(labelled.sum())
    if size < FEW:
        return None
    share = size / needs.sum()  # the labelled share of those that need a label
    sample_verdicts, sample_labels = verdicts[labelled], labels[labelled]
    spread = sample_verdicts.var()
    covariance = np.mean(
        (sample_labels - sample_labels.mean()) * (sample_verdicts - sample_verdicts.mean())
    )
    weight = float(np.clip(covariance / spread, 0, 1)) if spread else 0.0
    residuals = sample_labels - weight * sample_verdicts
    correction = float(residuals.mean())
    # The influence of each answer: their mean is theta, and their spread its error. As the number
    # of labels is fixed, a label contributes only the deviation of its residual from the mean
    # residual; the weight and that mean use up two degrees of freedom.
    estimates = weight * verdicts + needs * correction
    estimates[labelled] += (residuals - correction) / share * math.sqrt(size / (size - 2))
    value = float(estimates.mean())
    clusters = [answer.cluster for answer in answers]
    within = clustering(list(estimates), clusters)
    # Limited by the labels: if they are about few pages, they tell little, however many pages have
    # verdicts.
    beside = len({answer.cluster for answer, has in zip(answers, labelled, strict=True) if has})
    wider = _quantile(beside) / _quantile(len(set(clusters)))
    half = NORMAL_95 * wider * within.widening * float(estimates.std()) / math.sqrt(len(answers))
    if not half:  # all are labelled and alike, which does not prove that none differs
        span = 1 - least
        alike = paired.share(list((estimates - least) / span), clusters)
        low, high = (least + span * end for end in (alike.low, alike.high))
        return Estimate(least + span * alike.value, low, high, alike.size)
    return Estimate(
        min(1.0, max(least, value)), max(least, value - half), min(1.0, value + half), len(answers)
    )


def _quantile(clusters: int) -> float:
    """Quantile of Student's t for the interval of a mean over this number of clusters."""
    from scipy import stats  # here, because it takes a second to load

    return float(stats.t.ppf((1 + COVERED) / 2, max(1, clusters - 1)))
