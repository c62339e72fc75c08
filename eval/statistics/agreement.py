"""Measures agreement of a judge with human labels: Cohen's kappa.

Cohen 1960, https://doi.org/10.1177/001316446002000104: agreement beyond that of two random judges
with the same shares of yes; 1 is perfect, 0 is chance. Its interval is Wilson's for the share of
agreement, and takes chance agreement as known, as Cohen's does. With 100 answers, 80 of them
correct, it covered a kappa of 0.97 in 94 % of samples, a bootstrap in 62 %, because a bootstrap
interval has no width if all agree.
"""

import json
import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError, together
from eval.questions import rows
from eval.statistics import paired


class Agreement(NamedTuple):
    """Agreement of two judges of the same answers."""

    kappa: float | None
    """None: both always gave the same single verdict, which chance does, too."""
    low: float
    high: float
    size: int
    share: float
    """Share of answers on which they agree."""


Labels = dict[tuple[str, str], bool]
"""Human labels by system and question: is the answer correct?"""


def read(file: Path) -> Labels:
    """Read rows of `question` (its id), `system` and `correct`.

    Raises:
        AskdocsError: the file cannot be read, has no rows, or has invalid rows (with file and
            line).
    """
    labels: Labels = {}
    problems = []
    for number, line in rows.lines(file):
        try:
            row = json.loads(line)
            question, system, correct = row["question"], row["system"], row["correct"]
            if not isinstance(correct, bool):
                raise TypeError
            labels[str(system), str(question)] = correct
        except (ValueError, KeyError, TypeError):
            problems.append(
                f"{file}:{number}: is not a label: write"
                ' {"question": ID, "system": NAME, "correct": true or false}'
            )
    if problems:
        raise together(problems)
    if not labels:
        raise AskdocsError(f"{file}: has no labels: write one JSON object per line")
    return labels


def agreement(
    labels: Labels,
    judged: Mapping[tuple[str, str], bool],
    clusters: Mapping[tuple[str, str], Hashable] | None = None,
) -> Agreement | None:
    """Agreement with its interval, widened for `clusters`; None: no answers in common."""
    places = [place for place in labels if place in judged]
    if not places:
        return None
    both = [(labels[place], judged[place]) for place in places]
    where = None if clusters is None else [clusters[place] for place in places]
    agreed, low, high, size = paired.share([label == verdict for label, verdict in both], where)
    yes, other = (sum(verdicts) / size for verdicts in zip(*both, strict=True))
    chance = yes * other + (1 - yes) * (1 - other)
    if chance == 1:
        return Agreement(None, -math.inf, math.inf, size, agreed)
    kappa, low, high = ((share - chance) / (1 - chance) for share in (agreed, low, high))
    return Agreement(kappa, max(-1.0, low), high, size, agreed)
