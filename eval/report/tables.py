"""The tables of a report, with plain text cells, for report.md and report.html."""

from typing import NamedTuple

from eval.report.claim import COLUMNS, RAG, SHOWN, beside, dollars, rows
from eval.report.report import Agreement, Comparison, Report
from eval.running.run import Model, Provenance
from eval.scoring.judge import AND
from eval.scoring.measures import ACCURACY, BY_NAME, F1, JUDGED, MEASURES
from eval.statistics.bootstrap import in_brackets
from eval.systems.systems import is_recorded

ONCE = (
    "Peak memory and index size are measured once per run, so they have no interval. Repeat the "
    "run to see how they vary."
)


DECLARED = (
    "Declared before the run, and tested as one family: p is corrected by Holm for all of them."
    " Every other comparison of this report is exploratory."
)


class Table(NamedTuple):
    """Column headings, and lines whose first cell is their label."""

    head: list[str]
    body: list[list[str]]


def summary(report: Report) -> str:
    """A paragraph about the questions asked and the meaning of the numbers."""
    counts, run = report.questions, report.provenance
    made = run.provenance
    sources = f" Source: {'; '.join(made.sources)}." if made.sources else ""
    left_out = unknown = ""
    if counts["contaminated"]:
        left_out = f" {counts['contaminated']} more are contaminated, and are left out."
    elif run.questions.trained_sha256 is None and "tuned" in run.models:
        unknown = " Whether questions are contaminated was not checked."
    untuned = ""
    if made.untuned:
        untuned = f" No tuned model: {made.untuned}, so the tuned systems are left out."
    by = "word comparison"
    if report.accuracy == JUDGED:
        by = "judges" if AND in (report.judge or "") else "a judge"
    every = counts["answerable"] + counts["unanswerable"]
    short = [system for system in report.systems if system.answers < every]
    recorded = [
        f" {system.name} has answers to {system.answers} of them."
        for system in short
        if is_recorded(system.name)
    ]
    unfinished = [
        f" Not finished: {system.name} answered {system.answers} of {every}."
        for system in short
        if not is_recorded(system.name)
    ]
    return (
        f"{counts['answerable']} answerable and {counts['unanswerable']} unanswerable questions of"
        f" {run.questions.file}, about {run.wiki.pages} pages.{sources}{left_out}{unknown}{untuned}"
        f"{''.join(recorded)} Accuracy covers answerable questions and is decided by {by}; a"
        f" refusal is wrong there. Parentheses hold 95 % confidence intervals.{''.join(unfinished)}"
    )


def claim(report: Report) -> Table:
    head = ["", *COLUMNS, *(f"{system.name}, measured" for system in beside(report))]
    return Table(head, [[row.what, *row.published, *row.measured] for row in rows(report)])


def in_words(report: Report) -> str:
    """The claim's table in words: the subject against RAG; empty if one is missing."""
    comparisons = [report.comparison(RAG, name) for name in (report.accuracy, "total_p99")]
    sentences = [
        f"{BY_NAME[comparison.measure].title}: {_difference(comparison)}, {_says(comparison)}"
        for comparison in comparisons
        if comparison
    ]
    return f"{report.subject} beside {RAG}: {'; '.join(sentences)}." if sentences else ""


def _says(comparison: Comparison) -> str:
    if comparison.says == "within noise":
        return f"which is not significant (p = {comparison.holm:.2f})"
    return f"which is {comparison.says}"


def measured(report: Report) -> Table:
    """Every measure of every system."""
    body = []
    for measure in MEASURES:
        numbers = [system.measures.get(measure.name) for system in report.systems]
        if any(numbers):
            body.append([measure.title, *(SHOWN[measure.unit](number) for number in numbers)])
    if any(system.corrected for system in report.systems):
        cells = (SHOWN["share"](system.corrected) for system in report.systems)
        body.insert(0, ["accuracy (judge, corrected by labels: PPI++)", *cells])
    return Table(["", *(system.name for system in report.systems)], body)


def compared(comparisons: list[Comparison]) -> Table:
    body = [
        [
            BY_NAME[comparison.measure].title,
            f"{comparison.first} minus {comparison.second}",
            _difference(comparison),
            "< 0.001" if comparison.holm < 0.001 else f"{comparison.holm:.3f}",
            comparison.says,
            _in_unit(
                comparison, f"{_scaled(comparison, detectable(comparison)):.{_digits(comparison)}f}"
            ),
        ]
        for comparison in comparisons
    ]
    return Table(["measure", "systems", "difference", "p (Holm)", "result", "detectable"], body)


def groups(report: Report) -> Table:
    """The subject's results by group."""
    subject = report.system(report.subject)
    body = [
        [by, group, *(SHOWN[BY_NAME[name].unit](number) for name, number in numbers.items()), n]
        for by, inner in (subject.groups if subject else {}).items()
        for group, numbers in inner.items()
        for n in [str(next(iter(numbers.values())).n)]
    ]
    heads = [BY_NAME[name].title for name in (ACCURACY, F1)]
    return Table(["by", "group", *heads, "questions"], body)


def agreed(report: Report) -> Table:
    body = [[a.rater, _kappa(a), f"{100 * a.share:.1f} %", f"{a.n}"] for a in report.agreements]
    return Table(["", "Cohen's kappa", "agree", "answers"], body)


def _kappa(agreement: Agreement) -> str:
    if agreement.kappa is None:
        return "none: all verdicts are equal"
    return f"{agreement.kappa:.2f} {in_brackets(agreement.low, agreement.high, '{:.2f}'.format)}"


def cost(report: Report) -> Table:
    body = []
    for system in report.systems:
        if system.own:
            cells = [system.name]
            for estimate in (system.own, system.hosted):
                cells += [dollars(estimate, "month", 2), dollars(estimate, "thousand", 2)]
            body.append(cells)
    thousand = "1,000 questions"
    return Table(["", "own GPU: a month", thousand, "hosted: a month", thousand], body)


def assumptions(report: Report) -> list[list[str]]:
    values = report.prices.assumptions.model_dump()
    return [[key.replace("_", " "), f"{value:,g}"] for key, value in values.items()]


def prices(report: Report) -> list[list[str]]:
    """Name, dollars, day and URL of each price."""
    values = report.prices.model_dump(exclude={"assumptions", "gpu_hours"})
    return [
        [key.replace("_", " "), f"{price['usd']:,.3f}", f"{price['read']}", price["source"]]
        for key, price in values.items()
    ]


def provenance(report: Report) -> list[list[str]]:
    """Names and values."""
    run = report.provenance
    made = run.provenance
    return [
        ["made", f"{made.made:%Y-%m-%d %H:%M} UTC"],
        ["commit", made.commit or "not a checkout"],
        *(["went on", _went_on(resumption)] for resumption in run.resumed),
        ["questions, SHA-256", run.questions.sha256],
        ["answers, SHA-256", report.answers_sha256],
        ["training rows, SHA-256", run.questions.trained_sha256 or "not checked"],
        ["drawn", f"{len(run.questions.ids)} by seed {run.questions.seed}"],
        *([["near copies left out", str(run.questions.copies)]] if run.questions.copies else []),
        ["wiki, SHA-256", run.wiki.sha256],
        *(["read by the product only, SHA-256", page_set.sha256] for page_set in run.beside),
        ["prompt", run.prompt_fingerprint],
        *([f"model, {role}", _called(model)] for role, model in run.models.items()),
        *(
            [f"manifest of {model.name}, SHA-256", model.manifest_sha256]
            for model in run.models.values()
            if model.manifest_sha256
        ),
        ["engine", f"{made.engine} {made.engine_model}".strip()],
        ["decoding", f"temperature {run.temperature:g}, at most {run.max_tokens} tokens"],
        ["asked at once", f"{run.at_once}"],
        ["the product", {"quote": "quotes pages", "write": "writes"}.get(run.answers or "", "–")],
        ["pages in a prompt", f"{run.page_budget} tokens at most"],
        *(["RAG", f"{run.rag.model_dump(mode='json')}"] for _ in [0] if run.rag),
        *([name, version] for name, version in made.versions.items()),
        *([name, f"{value}"] for name, value in made.machine.items()),
        *(["judge", report.judge] for _ in [0] if report.judge),
    ]


def _called(model: Model) -> str:
    serves = f", which is {model.serves}" if model.serves not in (None, model.name) else ""
    return f"{model.name}{serves}"


def _went_on(place: Provenance) -> str:
    machine = place.machine.get("processor", "")
    engine = f"{place.engine} {place.engine_model}".strip()
    commit = place.commit or "not a checkout"
    return f"{place.made:%Y-%m-%d %H:%M} UTC, commit {commit}, {engine}, {machine}"


def _difference(comparison: Comparison) -> str:
    def shown(value: float) -> str:
        return f"{_scaled(comparison, value):+,.{_digits(comparison)}f}"

    ends = in_brackets(comparison.low, comparison.high, shown)
    return f"{_in_unit(comparison, shown(comparison.value))} {ends}"


def detectable(comparison: Comparison) -> float:
    """The smallest true difference that is found four times out of five."""
    return (
        comparison.detectable if comparison.detectable_holm is None else comparison.detectable_holm
    )


def _scaled(comparison: Comparison, value: float) -> float:
    return value * {"share": 100, "seconds": 1000}.get(BY_NAME[comparison.measure].unit, 1)


def _digits(comparison: Comparison) -> int:
    return {"share": 1, "seconds": 0}.get(BY_NAME[comparison.measure].unit, 3)


def _in_unit(comparison: Comparison, value: str) -> str:
    return value + {"share": " points", "seconds": " ms"}.get(BY_NAME[comparison.measure].unit, "")
