"""Do a judge and a person agree? Cohen's kappa, against labels by hand.

Cohen 1960, https://doi.org/10.1177/001316446002000104: agreement beyond what two that judge at
random, each with its own share of yes, would have; 1 is always, 0 is chance.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from eval import rows
from eval.bootstrap import COVERED
from gateway.errors import AskdocsError, together

SAMPLES = 2_000


class Agreement(NamedTuple):
    """Of two that judged the same answers."""

    kappa: float
    low: float
    high: float
    size: int
    share: float
    """Of answers on which they agree."""


Labels = dict[tuple[str, str], bool]
"""By contender and question: is the answer correct, as a person has it?"""


def read(file: Path) -> Labels:
    """Rows of `question` (its id), `contender` and `correct`.

    Raises:
        AskdocsError: the file cannot be read, has no rows, or with file and line, rows that are
            none.
    """
    found: Labels = {}
    problems = []
    for number, line in rows.lines(file):
        try:
            row = json.loads(line)
            question, contender, correct = row["question"], row["contender"], row["correct"]
            if not isinstance(correct, bool):
                raise TypeError
            found[str(contender), str(question)] = correct
        except (ValueError, KeyError, TypeError):
            problems.append(
                f"{file}:{number}: is no label: write"
                ' {"question": ID, "contender": NAME, "correct": true or false}'
            )
    if problems:
        raise together(problems)
    if not found:
        raise AskdocsError(f"{file}: there are no labels: write one JSON object a line")
    return found


def agreement(labels: Labels, judged: Mapping[tuple[str, str], bool]) -> Agreement | None:
    """With an interval by bootstrap over answers; None where there are no answers of both."""
    both = [(label, judged[place]) for place, label in labels.items() if place in judged]
    if not both:
        return None
    data = np.array(both, dtype=bool)
    random = np.random.default_rng(0)
    drawn = data[random.integers(0, len(data), (SAMPLES, len(data)))]
    low, high = np.quantile(_kappa(drawn), [(1 - COVERED) / 2, (1 + COVERED) / 2])
    share = float((data[:, 0] == data[:, 1]).mean())
    return Agreement(float(_kappa(data[None])[0]), float(low), float(high), len(data), share)


def _kappa(pairs: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Of samples, [samples, pairs, 2]. Where both always say the same one thing it is 1."""
    agreed = (pairs[..., 0] == pairs[..., 1]).mean(1)
    yes, other = pairs[..., 0].mean(1), pairs[..., 1].mean(1)
    chance = yes * other + (1 - yes) * (1 - other)
    return np.where(chance == 1, 1.0, (agreed - chance) / np.where(chance == 1, 1, 1 - chance))
