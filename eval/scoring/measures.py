"""Defines the measures of a system: what each counts in an answer, and how."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.scoring.mark import Mark
from eval.scoring.words import admits_gap
from eval.statistics import paired
from eval.statistics.bootstrap import Estimate
from eval.statistics.paired import Difference

Of = Callable[[Mark], float | None]
"""The value of an answer; None: it is left out."""


@dataclass(frozen=True)
class Measure:
    """A metric of a system."""

    name: str
    title: str
    unit: Literal["share", "score", "seconds", "tokens"]
    better: Literal["more", "less", ""]
    of: Of
    q: float | None = None
    """Percentile; None: the mean."""
    needs: Callable[[Mark], bool] = lambda mark: True
    """The measure applies if this holds for at least one answer of the system."""
    compared: bool = False
    """Is it used to compare systems?"""

    def values(self, marks: Iterable[Mark]) -> list[float]:
        """Values without omitted answers. Empty if the measure does not apply."""
        return [value for value, _ in self._counted(marks)]

    def _counted(self, marks: Iterable[Mark]) -> list[tuple[float, Hashable]]:
        """The values, each with its cluster."""
        values: list[tuple[float, Hashable]] = [
            (value, mark.cluster) for mark in marks if (value := self.of(mark)) is not None
        ]
        return values if any(map(self.needs, marks)) else []

    def estimate(self, marks: Sequence[Mark]) -> Estimate | None:
        """None if the measure has no values."""
        counted = self._counted(marks)
        if not counted:
            return None
        values, clusters = zip(*counted, strict=True)
        if self.q is not None:
            return paired.percentile(values, self.q)
        return (paired.share if self.unit == "share" else paired.mean)(values, clusters)

    def difference(self, pairs: Sequence[tuple[Mark, Mark]]) -> Difference | None:
        """Difference of two systems over the same questions; None: no values in common."""
        if not all(any(self.needs(pair[side]) for pair in pairs) for side in (0, 1)):
            return None
        counted = ((self.of(first), self.of(second), first.cluster) for first, second in pairs)
        both = [(a, b, where) for a, b, where in counted if a is not None and b is not None]
        if not both:
            return None
        first_values, second_values, clusters = zip(*both, strict=True)
        if self.q is not None:
            return paired.percentiles(first_values, second_values, self.q)
        return (paired.shares if self.unit == "share" else paired.means)(
            first_values, second_values, clusters
        )


def _answerable(of: Of) -> Of:
    return lambda mark: of(mark) if mark.question.answerable else None


def _unanswerable(of: Of) -> Of:
    return lambda mark: None if mark.question.answerable else of(mark)


def _answered(of: Of) -> Of:
    return lambda mark: of(mark) if mark.answered else None


def _given(of: Of) -> Of:
    """Failures took time, too, but not that of an answer."""
    return lambda mark: None if mark.answer.error else of(mark)


def _recall(k: int) -> Of:
    return _answerable(lambda mark: float(mark.rank is not None and mark.rank <= k))


def _brier(mark: Mark) -> float | None:
    if mark.answer.confidence is None:
        return None
    return (mark.answer.confidence - right(mark)) ** 2


def right(mark: Mark) -> bool:
    """The judge's verdict, or else a comparison by words."""
    return mark.near if mark.judged is None else mark.judged


def _utility(mark: Mark) -> float | None:
    """Value to a reader for whom a wrong answer costs as much as a right one helps."""
    if not mark.answered:
        return 0.0
    return 1.0 if mark.question.answerable and right(mark) else -1.0


def supported_utility(mark: Mark) -> float | None:
    """Like `_utility`, judged by the pages instead of the reference answer.

    An answer with an unsupported claim is wrong; an answer that admits a gap is half right.
    """
    if not mark.answered:
        return 0.0
    if mark.grounded is None:
        return None
    if mark.grounded < 1:
        return -1.0
    return 0.5 if admits_gap(mark.answer.text) else 1.0


def _supported_utility(mark: Mark) -> float | None:
    """Here, supported answers to unanswerable questions are wrong, too."""
    worth = supported_utility(mark)
    return -1.0 if worth and not mark.question.answerable else worth


def _judged(mark: Mark) -> float | None:
    return None if mark.judged is None else float(mark.judged)


def _ranks(mark: Mark) -> bool:
    """Are the retrieved pages and their order known? For recorded answers they are not."""
    return bool(mark.answer.prompt_pages and mark.answer.found_pages)


ACCURACY, JUDGED, F1 = "accuracy", "judged", "token_f1"
FALSE_REFUSALS, TRUE_REFUSALS, HALLUCINATED = "false_refusals", "true_refusals", "hallucinated"

MEASURES = [
    Measure(ACCURACY, "accuracy (word comparison)", "share", "more",
            _answerable(lambda m: float(m.near)), compared=True),
    Measure(JUDGED, "accuracy (judge)", "share", "more",
            _answerable(_judged), compared=True),
    Measure(F1, "token F1", "score", "more", _answerable(lambda m: m.f1), compared=True),
    Measure("token_f1_answered", "token F1 where it answers", "score", "more",
            _answerable(_answered(lambda m: m.f1))),
    Measure("containment", "contains the reference answer", "share", "more",
            _answerable(lambda m: float(m.contained)), compared=True),
    Measure("similarity", "similarity to the reference answer (cosine)", "score", "more",
            _answerable(lambda m: m.similar), compared=True),
    Measure("utility", "utility: +1 right, 0 refused, -1 wrong", "score", "more", _utility,
            compared=True),
    Measure("supported_utility",
            "utility by groundedness: +1 every claim supported (+0.5 if it leaves something open),"
            " 0 refused, -1 otherwise", "score", "more", _supported_utility,
            needs=lambda m: m.grounded is not None, compared=True),
    Measure("answered", "answered", "share", "", lambda m: float(m.answered)),
    Measure(FALSE_REFUSALS, "false refusals", "share", "less",
            _answerable(lambda m: float(m.refused)), compared=True),
    Measure(TRUE_REFUSALS, "true refusals", "share", "more",
            _unanswerable(lambda m: float(m.refused))),
    Measure(HALLUCINATED, "hallucinated (unanswerable questions)", "share", "less",
            _unanswerable(lambda m: float(m.answered)), compared=True),
    Measure("groundedness", "groundedness: claims supported by its pages", "score", "more",
            _answered(lambda m: m.grounded), compared=True),
    Measure("partial", "partial: states that the pages leave something open", "share", "",
            _answerable(_answered(lambda m: float(admits_gap(m.answer.text))))),
    Measure("errors", "errors", "share", "less",
            lambda m: float(bool(m.answer.error))),
    Measure("cited_right", "cites a page that answers", "share", "more",
            _answerable(_answered(lambda m: float(m.cites_right))),
            needs=lambda m: bool(m.answer.cited_pages)),
    *(Measure(f"recall_{k}", f"retrieval recall@{k} (pages in the prompt)", "share", "more",
              _recall(k), needs=_ranks)
      for k in (1, 3, 5)),
    Measure("brier", "Brier score of stated confidence", "score", "less", _answered(_brier)),
    *(Measure(f"first_token_p{q}", f"time to first token, p{q}", "seconds", "less",
              _given(lambda m: m.answer.first_token_s), q / 100, compared=q < 99)
      for q in (50, 95, 99)),
    *(Measure(f"total_p{q}", f"time to whole answer, p{q}", "seconds", "less",
              _given(lambda m: m.answer.total_s), q / 100, compared=True,
              needs=lambda m: m.answer.total_s > 0)
      for q in (50, 95, 99)),
    Measure("retrieval_p50", "retrieval time, p50", "seconds", "less",
            _given(lambda m: m.answer.retrieval_s), 0.5, needs=lambda m: m.answer.retrieval_s > 0),
    Measure("prompt_tokens", "input tokens", "tokens", "less",
            _given(lambda m: m.answer.prompt_tokens + m.answer.extra_prompt_tokens),
            needs=lambda m: m.answer.prompt_tokens > 0),
    Measure("completion_tokens", "output tokens", "tokens", "less",
            _given(lambda m: m.answer.completion_tokens + m.answer.extra_completion_tokens),
            needs=lambda m: m.answer.completion_tokens > 0),
]  # fmt: skip
BY_NAME = {measure.name: measure for measure in MEASURES}


def pairs(first: Iterable[Mark], second: Iterable[Mark]) -> list[tuple[Mark, Mark]]:
    """Pairs of answers to the same question: same id, text and reference answer."""

    def key(mark: Mark) -> tuple[str, str, str]:
        return mark.question.id, mark.question.text, mark.question.answer

    others = {key(mark): mark for mark in second}
    return [(mark, others[key(mark)]) for mark in first if key(mark) in others]
