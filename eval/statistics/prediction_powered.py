"""A judge's score, corrected by a sample of labels by hand: prediction-powered inference.

A judge that is too kind to all answers moves the mean of its verdicts, however many it gives. The
labels tell by how much, and the verdicts, where they go along with the labels, make the interval
narrower than that of the labels alone. Angelopoulos, Duchi & Zrnic 2023,
https://arxiv.org/abs/2311.01453 (PPI++), in the form that takes the labelled answers for a random
sample of all: theta = mean(w F) + mean over labelled of (Y - w F), with w between 0 and 1 chosen to
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

# Of fewer labels neither their mean nor what they correct is known well enough.
FEW = 20


class Judged(NamedTuple):
    """A judge's verdict on an answer."""

    verdict: float
    """0 or 1; of a refusal, which is known to be no right answer, 0."""
    label: float | None
    """By hand; None where there is none. A refusal needs none: it is 0."""
    cluster: Hashable
    """Answers of one cluster, such as those about one page, are not independent."""
    is_known: bool = False
    """Is the verdict certain without a label, as of a refusal?"""


def mean(answers: Sequence[Judged]) -> Estimate | None:
    """The share of right answers, with its 95 % confidence interval; None: too few labels.

    The answers with a label must be a random sample of those that need one.
    """
    verdicts = np.array([answer.verdict for answer in answers])
    labels = np.array([math.nan if answer.label is None else answer.label for answer in answers])
    needs = np.array([not answer.is_known for answer in answers], dtype=bool)
    labelled = needs & ~np.isnan(labels)
    size = int(labelled.sum())
    if size < FEW:
        return None
    share = size / needs.sum()  # of those that need a label, those that have one
    sample_verdicts, sample_labels = verdicts[labelled], labels[labelled]
    spread = sample_verdicts.var()
    covariance = np.mean(
        (sample_labels - sample_labels.mean()) * (sample_verdicts - sample_verdicts.mean())
    )
    weight = float(np.clip(covariance / spread, 0, 1)) if spread else 0.0
    residuals = sample_labels - weight * sample_verdicts
    correction = float(residuals.mean())
    # The influence of each answer: their mean is theta, and their spread the error of it. The
    # number of labels is fixed, so a label adds only what its residual differs from the mean one;
    # two degrees of freedom went into the weight and that mean.
    estimates = weight * verdicts + needs * correction
    estimates[labelled] += (residuals - correction) / share * math.sqrt(size / (size - 2))
    value = float(estimates.mean())
    clusters = [answer.cluster for answer in answers]
    within = clustering(list(estimates), clusters)
    # As sure as the labels are: of few pages, they tell little, however many pages have verdicts.
    beside = len({answer.cluster for answer, has in zip(answers, labelled, strict=True) if has})
    wider = _quantile(beside) / _quantile(len(set(clusters)))
    half = NORMAL_95 * wider * within.widening * float(estimates.std()) / math.sqrt(len(answers))
    if not half:  # all are labelled and alike, which does not prove that none differs
        return paired.share(list(estimates), clusters)
    return Estimate(
        min(1.0, max(0.0, value)), max(0.0, value - half), min(1.0, value + half), len(answers)
    )


def _quantile(clusters: int) -> float:
    """Student's t, by which the interval of a mean of so many clusters is as wide."""
    from scipy import stats  # here, because it takes a second to load

    return float(stats.t.ppf((1 + COVERED) / 2, max(1, clusters - 1)))
