"""Builds a report from the files of a run."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from core.errors import AskdocsError
from eval.report import cost
from eval.report.claim import RAG
from eval.report.comparison import compare, family
from eval.report.cost import Cost, CostEstimate, Prices
from eval.report.report import (
    Agreement,
    Bin,
    Case,
    Number,
    Report,
    System,
    SystemAnswer,
    number,
    sha256_of_answers,
)
from eval.scoring.groups import groups
from eval.scoring.judge import Panel
from eval.scoring.mark import Mark
from eval.scoring.measures import ACCURACY, BY_NAME, F1, JUDGED, MEASURES, right
from eval.scoring.scored import Scored
from eval.statistics import paired, prediction_powered
from eval.statistics.agreement import Labels, agreement
from eval.statistics.prediction_powered import Judged
from eval.systems.systems import METHODS, parse

WORST = 20
BETWEEN = "both judges with each other"
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Progress = Callable[[str, int, int], None]
"""Called with a step's name, the number done, and the total."""


def report(
    scored: Scored,
    prices: Prices,
    subject: str | None = None,
    judge: str | None = None,
    labels: Labels | None = None,
    panel: Panel | None = None,
    progress: Progress = lambda *_: None,
) -> Report:
    """Every number of a run.

    Args:
        scored: the run with its marks.
        prices: from prices.toml or a similar file.
        subject: the system to compare with all others.
        judge: the model that judged the answers.
        labels: human labels to compare with judge and word comparison.
        panel: the individual judges, if there are several, to report their agreement.
        progress: see `Progress`.

    Raises:
        AskdocsError: the subject answered nothing, or no label belongs to this run.
    """
    name, fair = scored.subject(subject), scored.fair
    systems = []
    for done, (system, marks) in enumerate(fair.items(), 1):
        systems.append(_system(scored, system, marks, prices, (labels or {}) if judge else {}))
        progress("measuring", done, len(fair))
    sides = [((name, fair[name]), (other, fair[other])) for other in fair if other != name]
    fair_questions = [question for question in scored.questions if not question.contaminated]
    accuracy = JUDGED if judge else ACCURACY
    return Report(
        run=scored.folder.resolve().name,
        questions={
            "answerable": sum(question.answerable for question in fair_questions),
            "unanswerable": sum(not question.answerable for question in fair_questions),
            "contaminated": len(scored.questions) - len(fair_questions),
        },
        subject=name,
        accuracy=accuracy,
        answer_words=_answer_words(fair[name]),
        systems=systems,
        contrasts=family(
            BY_NAME[accuracy],
            [
                ((first, fair[first]), (second, fair[second]))
                for first, second in scored.run.contrasts
                if first in fair and second in fair
            ],
        ),
        comparisons=compare(sides, lambda done, all_: progress("comparing", done, all_)),
        worst=_worst(fair, name),
        judge=judge,
        agreements=_agreements(scored.marks, labels or {}, judge, panel),
        prices=prices,
        measured=scored.measured,
        answers_sha256=sha256_of_answers(scored.folder),
        provenance=scored.run,
    )


def _answer_words(marks: Sequence[Mark]) -> float:
    answered = [mark for mark in marks if mark.question.answerable and mark.answered]
    texts = ([mark.answer.text for mark in answered], [mark.question.answer for mark in answered])
    return max(sum(len(text.split()) for text in of) / max(1, len(of)) for of in texts)


def numbers(marks: Sequence[Mark]) -> dict[str, Number]:
    """Every measure of a system's answers, by name."""
    estimates = {measure.name: measure.estimate(marks) for measure in MEASURES}
    return {name: number(estimate) for name, estimate in estimates.items() if estimate is not None}


def _system(
    scored: Scored, name: str, marks: Sequence[Mark], prices: Prices, labels: Labels
) -> System:
    measures = numbers(marks)
    grouped = {**groups(marks), "contaminated": groups(scored.marks[name]).get("contaminated", {})}
    (system,) = parse([name])
    gpu_seconds = token_dollars = own = hosted = None
    has_price = system.method in METHODS and system.role != "other"
    if has_price and {"prompt_tokens", "completion_tokens"} <= measures.keys():
        gpu_seconds = _for_a_question(cost.gpu_seconds, marks, prices)
        own = _estimate(cost.own, gpu_seconds, prices)
        if system.role == "base":
            rag = scored.run.rag if system.method == "rag" else None
            token_dollars = _for_a_question(cost.token_dollars, marks, prices)
            hosted = _estimate(partial(cost.hosted, rag=rag), token_dollars, prices)
    return System(
        name=name,
        answers=len(marks),
        measures=measures,
        groups={
            by: {group: _in_short(inside) for group, inside in inner.items()}
            for by, inner in grouped.items()
        },
        corrected=_corrected(marks, labels),
        calibration=_calibration(marks),
        memory=scored.measured.engine_bytes.get(name),
        gpu_memory=scored.measured.gpu_bytes.get(name),
        index=scored.measured.index_bytes.get(system.method),
        gpu_seconds=gpu_seconds,
        token_dollars=token_dollars,
        own=own,
        hosted=hosted,
    )


def _corrected(marks: Sequence[Mark], labels: Labels) -> Number | None:
    """The judge's accuracy on answerable questions, clustered by gold page."""
    judged = [
        Judged(
            verdict=float(bool(mark.judged)),
            label=labels.get(_place(mark)),
            cluster=mark.cluster,
            is_known=not mark.answered,
        )
        for mark in marks
        if mark.question.answerable and mark.judged is not None
    ]
    estimate = prediction_powered.mean(judged)
    return None if estimate is None else number(estimate)


def _for_a_question(
    takes: Callable[[float, float, Prices], float], marks: Sequence[Mark], prices: Prices
) -> Number:
    """The mean resource use per question, from each question's prompt and completion tokens, which
    are correlated."""
    reads, writes = (BY_NAME[f"{what}_tokens"].values(marks) for what in ("prompt", "completion"))
    each = [takes(*both, prices) for both in zip(reads, writes, strict=True)]
    return number(paired.mean(each, [mark.cluster for mark in marks if not mark.answer.error]))


def _estimate(
    price: Callable[[float, Prices], Cost], takes: Number, prices: Prices
) -> CostEstimate:
    """Prices increase with resource use: the ends of one interval give the ends of the other."""
    low, high = (
        price(end, prices) if math.isfinite(end) else None for end in (takes.low, takes.high)
    )
    return CostEstimate(**price(takes.value, prices).model_dump(), low=low, high=high)


def _in_short(marks: Sequence[Mark]) -> dict[str, Number]:
    estimates = {name: BY_NAME[name].estimate(marks) for name in (ACCURACY, F1)}
    return {name: number(estimate) for name, estimate in estimates.items() if estimate is not None}


def _calibration(marks: Sequence[Mark]) -> list[Bin]:
    bins = []
    sure = [
        (mark.answer.confidence, float(right(mark)), mark.cluster)
        for mark in marks
        if mark.answered and mark.answer.confidence is not None
    ]
    for low, high in pairwise(BINS):
        inside = [point for point in sure if low <= point[0] < high or high == point[0] == 1.0]
        if inside:
            confidences, true, clusters = zip(*inside, strict=True)
            estimate = paired.share(true, clusters)
            bins.append(Bin(confidence=sum(confidences) / len(confidences), right=number(estimate)))
    return bins


def _worst(fair: Mapping[str, Sequence[Mark]], subject: str) -> list[Case]:
    """The subject's worst answers, half of them to answerable questions if there are enough of
    both.

    They are ordered by dissimilarity to the reference answer, for unanswerable questions by
    confidence, with refusals last. Failures are excluded. Each is shown with the answers of the
    base model and of RAG.
    """

    def badness(mark: Mark) -> tuple[bool, float, float, int]:
        good = mark.f1 if mark.similar is None else mark.similar
        return mark.refused, good, -(mark.answer.confidence or 0), mark.question.line

    given = sorted((mark for mark in fair[subject] if not mark.answer.error), key=badness)
    wrong = [mark for mark in given if mark.question.answerable and not right(mark)]
    made_up = [mark for mark in given if not mark.question.answerable and mark.answered]
    half = WORST // 2
    worst = wrong[: max(half, WORST - len(made_up))] + made_up[: max(half, WORST - len(wrong))]
    beside = dict.fromkeys([subject.replace("tuned-", "base-"), RAG])
    others = {
        name: {mark.question.id: mark for mark in fair[name]}
        for name in beside
        if name in fair and name != subject
    }
    cases = []
    for mark in worst:
        again = (marks_of_system.get(mark.question.id) for marks_of_system in others.values())
        cases.append(
            Case(
                question=mark.question.text,
                line=mark.question.line,
                gold=mark.question.answer,
                pages=mark.question.pages,
                answers=[
                    _system_answer(shown_mark)
                    for shown_mark in (mark, *again)
                    if shown_mark is not None
                ],
            )
        )
    return cases


def _system_answer(mark: Mark) -> SystemAnswer:
    return SystemAnswer(
        system=mark.answer.system,
        text=mark.answer.text or mark.answer.error,
        right=right(mark) if mark.question.answerable else mark.refused,
        f1=mark.f1,
        confidence=mark.answer.confidence,
        cited=mark.answer.cited_pages,
    )


def _agreements(
    marks: Mapping[str, Sequence[Mark]], labels: Labels, judge: str | None, panel: Panel | None
) -> list[Agreement]:
    """Agreement of labels with words and with judges, and between two judges."""
    # Leave out refusals, which neither words nor judges assess: they would agree by definition.
    looked = [
        mark
        for inner in marks.values()
        for mark in inner
        if mark.question.answerable and mark.answered and (mark.judged is not None or not judge)
    ]
    sides = {"word comparison": (labels, {_place(mark): mark.near for mark in looked})}
    if judge:
        judged = {_place(mark): bool(mark.judged) for mark in looked}
        sides[judge] = (labels, judged)
    several = panel.judges if panel and len(panel.judges) > 1 else ()
    alone = {
        one_judge.model: {
            _place(mark): bool(one_judge(mark.question, mark.answer)) for mark in looked
        }
        for one_judge in several
    }
    sides |= {model: (labels, judged_places) for model, judged_places in alone.items()}
    if several:
        sides[BETWEEN] = (alone[several[0].model], alone[several[1].model])
    clusters = {_place(mark): mark.cluster for mark in looked}
    agreed = {rater: agreement(*both, clusters) for rater, both in sides.items()}
    if labels and not any(result for rater, result in agreed.items() if rater != BETWEEN):
        raise AskdocsError(
            f"none of the {len(labels)} labels matches an answer of this run to an answerable "
            "question: use the ids of its questions.jsonl and the names of its systems"
        )
    return [
        Agreement(rater=rater, kappa=a.kappa, low=a.low, high=a.high, n=a.size, share=a.share)
        for rater, a in agreed.items()
        if a is not None
    ]


def _place(mark: Mark) -> tuple[str, str]:
    return mark.answer.system, mark.question.id
