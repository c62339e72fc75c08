"""Do a judge and a person agree? Cohen's kappa, against labels by hand.

Cohen 1960, https://doi.org/10.1177/001316446002000104: agreement beyond what two that judge at
random, each with its own share of yes, would have; 1 is always, 0 is chance. Its interval is
Wilson's of the share on which they agree, and takes chance for known, as Cohen's does. Of 100
answers, 80 of them correct, it held a kappa of 0.97 in 94 % of samples, a bootstrap in 62 %: that
has no width where all agree.
"""

import json
import math
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import NamedTuple

from eval.questions import rows
from eval.statistics import paired
from gateway.core.errors import AskdocsError, together


class Agreement(NamedTuple):
    """Of two that judged the same answers."""

    kappa: float | None
    """None: both always said the same one thing, which chance does, too."""
    low: float
    high: float
    size: int
    share: float
    """Of answers on which they agree."""


Labels = dict[tuple[str, str], bool]
"""By system and question: is the answer correct, as a person has it?"""


def read(file: Path) -> Labels:
    """Rows of `question` (its id), `system` and `correct`.

    Raises:
        AskdocsError: the file cannot be read, has no rows, or with file and line, rows that are
            none.
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
                f"{file}:{number}: is no label: write"
                ' {"question": ID, "system": NAME, "correct": true or false}'
            )
    if problems:
        raise together(problems)
    if not labels:
        raise AskdocsError(f"{file}: there are no labels: write one JSON object a line")
    return labels


def agreement(
    labels: Labels,
    judged: Mapping[tuple[str, str], bool],
    clusters: Mapping[tuple[str, str], Hashable] | None = None,
) -> Agreement | None:
    """With its interval, wider where answers lie in `clusters`; None: no answers of both."""
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
