"""Draws the questions that people label, and counts what they say.

A random sample of questions, each with the answers of two systems: labels then correct a judge's
difference of the two (`eval.statistics.prediction_powered.difference`). Refusals need no label.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from eval.scoring.mark import Mark
from eval.scoring.measures import pairs
from eval.statistics import agreement, prediction_powered
from eval.statistics.agreement import Agreement
from eval.statistics.bootstrap import Estimate
from eval.statistics.prediction_powered import Judged

FILE = "labels.jsonl"


class Item(NamedTuple):
    """An answer to label. People see neither its system nor the judge's verdict."""

    number: int
    mark: Mark


@dataclass(frozen=True)
class Summary:
    """What the labels say."""

    labels: dict[str, int]
    """Number of labels by person."""
    agreement: Agreement | None
    """Agreement of the two people with the most labels."""
    difference: Estimate | None
    """The first system's accuracy minus the second's, from judge and labels; without a judge from
    the labels alone."""


def draw(sides: Sequence[Sequence[Mark]], size: int, seed: int) -> list[Item]:
    """Answers to `size` random answerable questions, in an order that does not show the system.

    Args:
        sides: the answers of one or two systems.
    """
    both = [(mark,) for mark in sides[0]] if len(sides) == 1 else pairs(sides[0], sides[1])
    asked = [group for group in both if group[0].question.answerable]
    random = Random(seed)  # noqa: S311
    drawn = random.sample(asked, min(size, len(asked)))
    marks = [mark for group in drawn for mark in random.sample(group, len(group)) if mark.answered]
    return [Item(number, mark) for number, mark in enumerate(marks)]


def read(file: Path) -> list[dict[str, object]]:
    """All labels; without a last line that a kill truncated."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def by_person(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[tuple[str, str], bool]]:
    """The last label of each person for each system and question."""
    people: dict[str, dict[tuple[str, str], bool]] = {}
    for row in rows:
        place = str(row["system"]), str(row["question"])
        people.setdefault(str(row.get("by", "")), {})[place] = bool(row["correct"])
    return people


def summary(sides: Sequence[Sequence[Mark]], rows: Sequence[Mapping[str, object]]) -> Summary:
    """Agreement of people, and the difference of two systems."""
    people = by_person(rows)
    most = sorted(people.values(), key=len, reverse=True)
    agreed = agreement.agreement(most[0], most[1]) if len(most) > 1 else None
    labels = {place: correct for given in reversed(most) for place, correct in given.items()}
    difference = None
    if len(sides) == 2:
        asked = [pair for pair in pairs(sides[0], sides[1]) if pair[0].question.answerable]
        first, second = ([_judged(pair[side], labels) for pair in asked] for side in (0, 1))
        difference = prediction_powered.difference(first, second)
    return Summary({name: len(given) for name, given in people.items()}, agreed, difference)


def _judged(mark: Mark, labels: Mapping[tuple[str, str], bool]) -> Judged:
    label = labels.get((mark.answer.system, mark.question.id))
    verdict = mark.near if mark.judged is None else mark.judged
    return Judged(
        float(verdict) if mark.answered else 0.0,
        None if label is None else float(label),
        mark.cluster,
        is_known=not mark.answered,
    )
