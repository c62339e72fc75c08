"""Compares systems, with corrected p-values."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from eval.report.report import Comparison, Says
from eval.scoring.mark import Mark
from eval.scoring.measures import MEASURES, Measure, pairs
from eval.statistics.paired import SIGNIFICANT, Difference, holm

Side = tuple[str, Sequence[Mark]]
"""A system's name and answers."""


def compare(
    sides: Sequence[tuple[Side, Side]], progress: Callable[[int, int], None] = lambda *_: None
) -> list[Comparison]:
    """Compare each pair of systems by every measure that is used for comparisons.

    Each measure's comparisons form a family for Holm's correction. Calls `progress(done, total)`.
    """
    compared = [measure for measure in MEASURES if measure.compared]
    comparisons: list[Comparison] = []
    for done, measure in enumerate(compared, 1):
        comparisons += family(measure, sides)
        progress(done, len(compared))
    return comparisons


def pooled(
    runs: Sequence[tuple[Side, Side]], progress: Callable[[int, int], None] = lambda *_: None
) -> list[Comparison]:
    """Compare two systems over several runs, with all answers pooled.

    A question asked in several runs forms a cluster.
    """

    def together(side: int) -> Side:
        name = runs[0][side][0]
        marks = [
            replace(
                mark, question=mark.question.model_copy(update={"id": f"{run} {mark.question.id}"})
            )
            for run, sides in enumerate(runs)
            for mark in sides[side][1]
        ]
        return name, marks

    return compare([(together(0), together(1))], progress)


def family(measure: Measure, sides: Sequence[tuple[Side, Side]]) -> list[Comparison]:
    """Compare each pair by one measure, corrected together by Holm's method."""
    differences = [
        (first[0], second[0], difference)
        for first, second in sides
        if (difference := measure.difference(pairs(first[1], second[1]))) is not None
    ]
    corrected = holm([difference.p for *_, difference in differences])
    return [
        Comparison(
            first=first,
            second=second,
            measure=measure.name,
            value=difference.value,
            low=difference.low,
            high=difference.high,
            n=difference.size,
            p=difference.p,
            holm=p,
            detectable=difference.detectable(),
            detectable_holm=difference.detectable(len(differences)),
            says=_says(difference, p, measure.better == "more"),
        )
        for (first, second, difference), p in zip(differences, corrected, strict=True)
    ]


def _says(difference: Difference, p: float, more_is_better: bool) -> Says:
    if p >= SIGNIFICANT:
        return "within noise"
    return "better" if (difference.value > 0) == more_is_better else "worse"
