"""The tables of a report, as plain text in cells: for report.md and report.html."""

from typing import NamedTuple

from eval.report.claim import COLUMNS, RAG, SHOWN, beside, dollars, rows
from eval.report.report import Agreement, Comparison, Report
from eval.running.run import Model, Provenance
from eval.scoring.measures import ACCURACY, BY_NAME, F1, MEASURES
from eval.statistics.bootstrap import in_brackets

ONCE = (
    "Memory, at its highest, and the index are one measurement of a run: they have no interval."
    " Repeat the run to see how they vary."
)


DECLARED = (
    "Declared before the run, and tested as one family: p is corrected by Holm for all of them."
    " Every other comparison of this report is exploratory."
)


class Table(NamedTuple):
    """Heads of the columns, and lines whose first cell says what they are about."""

    head: list[str]
    body: list[list[str]]


def summary(report: Report) -> str:
    """What was asked, and what the numbers mean, in a paragraph."""
    asked, run = report.questions, report.provenance
    by = "the judge tells" if report.accuracy == "judged" else "words tell"
    leaked = f" {asked['leaked']} more had leaked, and are left out."
    unknown = " Whether questions had leaked into training was not looked at."
    every = asked["answerable"] + asked["unanswerable"]
    short = [
        f" Not finished: {one.name} answered {one.answers} of {every}."
        for one in report.systems
        if one.answers < every
    ]
    looked = run.questions.trained_sha256 is not None
    return (
        f"{asked['answerable']} answerable and {asked['unanswerable']} unanswerable questions of"
        f" {run.questions.file}, about {run.wiki.pages} pages."
        f"{leaked if asked['leaked'] else '' if looked else unknown}"
        f" Accuracy is of answerable questions, as far as {by}; a refusal is wrong there."
        f" In brackets the interval of 95 %.{''.join(short)}"
    )


def claim(report: Report) -> Table:
    head = ["", *COLUMNS, *(f"{one.name}, measured" for one in beside(report))]
    return Table(head, [[row.what, *row.published, *row.measured] for row in rows(report)])


def in_words(report: Report) -> str:
    """What the claim's table comes to: the subject beside RAG; empty where one of them is not."""
    found = [report.comparison(RAG, name) for name in (report.accuracy, "total_p99")]
    told = [
        f"{BY_NAME[one.measure].title}: {_difference(one)}, {_says(one)}" for one in found if one
    ]
    return f"{report.subject} beside {RAG}: {'; '.join(told)}." if told else ""


def _says(one: Comparison) -> str:
    if one.says == "within noise":
        return f"which is within noise (p = {one.holm:.2f})"
    return f"which is {one.says}"


def measured(report: Report) -> Table:
    """Every measure of every system."""
    body = []
    for measure in MEASURES:
        numbers = [one.measures.get(measure.name) for one in report.systems]
        if any(numbers):
            body.append([measure.title, *(SHOWN[measure.unit](number) for number in numbers)])
    if any(one.corrected for one in report.systems):
        cells = (SHOWN["share"](one.corrected) for one in report.systems)
        body.insert(0, ["right, the judge corrected by labels (PPI++)", *cells])
    return Table(["", *(one.name for one in report.systems)], body)


def compared(comparisons: list[Comparison]) -> Table:
    body = [
        [
            BY_NAME[one.measure].title,
            f"{one.first} minus {one.second}",
            _difference(one),
            "< 0.001" if one.holm < 0.001 else f"{one.holm:.3f}",
            one.says,
            _in_unit(one, f"{_scaled(one, detectable(one)):.{_digits(one)}f}"),
        ]
        for one in comparisons
    ]
    return Table(["measure", "of", "difference", "p", "", "detectable"], body)


def groups(report: Report) -> Table:
    """Of the subject."""
    subject = report.system(report.subject)
    body = [
        [by, group, *(SHOWN[BY_NAME[name].unit](one) for name, one in numbers.items()), n]
        for by, inner in (subject.groups if subject else {}).items()
        for group, numbers in inner.items()
        for n in [str(next(iter(numbers.values())).n)]
    ]
    heads = [BY_NAME[name].title for name in (ACCURACY, F1)]
    return Table(["by", "group", *heads, "questions"], body)


def agreed(report: Report) -> Table:
    body = [[a.who, _kappa(a), f"{100 * a.share:.1f} %", f"{a.n}"] for a in report.agreements]
    return Table(["", "Cohen's kappa", "agree", "answers"], body)


def _kappa(one: Agreement) -> str:
    if one.kappa is None:
        return "none: all verdicts are the same"
    return f"{one.kappa:.2f} {in_brackets(one.low, one.high, '{:.2f}'.format)}"


def cost(report: Report) -> Table:
    body = []
    for one in report.systems:
        if one.own:
            cells = [one.name]
            for found in (one.own, one.hosted):
                cells += [dollars(found, "month", 2), dollars(found, "thousand", 2)]
            body.append(cells)
    thousand = "1,000 questions"
    return Table(["", "own GPU: a month", thousand, "hosted: a month", thousand], body)


def assumptions(report: Report) -> list[list[str]]:
    found = report.prices.assumptions.model_dump()
    return [[key.replace("_", " "), f"{value:,g}"] for key, value in found.items()]


def prices(report: Report) -> list[list[str]]:
    """Name, dollars, day and address of each."""
    found = report.prices.model_dump(exclude={"assumptions", "gpu_hours"})
    return [
        [key.replace("_", " "), f"{one['usd']:,.3f}", f"{one['read']}", one["source"]]
        for key, one in found.items()
    ]


def provenance(report: Report) -> list[list[str]]:
    """Names and values."""
    run = report.provenance
    made = run.provenance
    return [
        ["made", f"{made.made:%Y-%m-%d %H:%M} UTC"],
        ["commit", made.commit or "not a checkout"],
        *(["went on", _went_on(one)] for one in run.resumed),
        ["questions, SHA-256", run.questions.sha256],
        ["answers, SHA-256", report.answers_sha256],
        ["training rows, SHA-256", run.questions.trained_sha256 or "not looked at"],
        ["drawn", f"{len(run.questions.ids)} by seed {run.questions.seed}"],
        *([["near copies left out", str(run.questions.copies)]] if run.questions.copies else []),
        ["wiki, SHA-256", run.wiki.sha256],
        *(["the product alone reads, SHA-256", one.sha256] for one in run.beside),
        *([["memory of answered questions", run.memory]] if run.memory else []),
        ["prompt", run.prompt_fingerprint],
        *([f"model, {role}", _called(one)] for role, one in run.models.items()),
        *(
            [f"manifest of {one.name}, SHA-256", one.manifest_sha256]
            for one in run.models.values()
            if one.manifest_sha256
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


def _difference(one: Comparison) -> str:
    def shown(value: float) -> str:
        return f"{_scaled(one, value):+,.{_digits(one)}f}"

    return f"{_in_unit(one, shown(one.value))} {in_brackets(one.low, one.high, shown)}"


def detectable(one: Comparison) -> float:
    """The smallest true difference that is found four times out of five."""
    return one.detectable if one.detectable_holm is None else one.detectable_holm


def _scaled(one: Comparison, value: float) -> float:
    return value * {"share": 100, "seconds": 1000}.get(BY_NAME[one.measure].unit, 1)


def _digits(one: Comparison) -> int:
    return {"share": 1, "seconds": 0}.get(BY_NAME[one.measure].unit, 3)


def _in_unit(one: Comparison, value: str) -> str:
    return value + {"share": " points", "seconds": " ms"}.get(BY_NAME[one.measure].unit, "")
