"""`askdocs eval report|compare|gate`: report results, and check them against the release gate."""

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.evaluation.plan import source_of, wiki_of
from askdocs.models.registry import opened_store
from askdocs.state import home
from askdocs.state.home import write
from askdocs.terminal import table
from askdocs.terminal.bar import Bar
from askdocs.wikis.index import index_file
from eval.gate import gate as gating
from eval.gate.gate import Reference
from eval.gate.verdict import Verdict
from eval.questions import question
from eval.report import build, comparison, cost, front, html, markdown, tables
from eval.report import report as reports
from eval.report.build import numbers
from eval.report.report import FILE
from eval.running import run as runs
from eval.running.pair import Pair
from eval.scoring import families, mark, scored, similarity
from eval.scoring import judge as judging
from eval.scoring.groundedness import Groundedness
from eval.scoring.judge import AND, AT, SILENT, Judge, Panel
from eval.scoring.measures import pairs
from eval.scoring.similarity import Similarity
from eval.statistics import agreement
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.embed import load
from training.versions.manifest import sha256
from training.versions.name import is_version

if TYPE_CHECKING:
    from eval.report.report import Report
    from eval.running.run import Run
    from eval.scoring.mark import Similar
    from eval.scoring.scored import Scored
    from gateway.knowledge.wiki.page import Page

RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of `askdocs eval run`, or its name in the state folder."
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option(help="The system to compare with the others (default: tuned-pages, if present)."),
]
VERDICT = "verdict.json"
PRODUCT = "tuned-pages"
"""The system that answers readers once its version is promoted."""


def run_folder(run: Path, home_dir: Path | None) -> Path:
    """The folder of a run, which may be named as it is called in the state folder."""
    of_home = home.find(home_dir).root / "evals" / run
    return run if run.is_dir() or not of_home.is_dir() else of_home


def report(
    run: RunArgument,
    system: SystemOption = None,
    judge_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Also let this model judge answers; give two judges of different families.",
        ),
    ] = None,
    judge_url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="OpenAI endpoint of a judge, with /v1; OPENAI_API_KEY is used. One per "
            "model, or one for all.",
        ),
    ] = None,
    judge_family: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=FAMILY", help="Model family of a judge, if its name does not show it."
        ),
    ] = None,
    docs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the wiki, to measure groundedness and show judges the pages.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Human labels, JSON lines: question, system, correct."),
    ] = None,
    similarity: Annotated[
        bool, typer.Option(help="Also compare answers by meaning: 20 to 45 ms each, once.")
    ] = True,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prices (default: eval/report/prices.toml).")
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Override a cost assumption, such as questions_a_day=5000."
        ),
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run: report.html, report.md and report.json in its folder."""
    run = run_folder(run, home_dir)
    judges = _judges(run, judge_model or (), judge_url or (), judge_family or ())
    if judges and not docs:
        typer.echo("note: the judges see no pages: name the wiki's folder with --docs", err=True)
    costs = cost.read(prices or cost.FILE, assume or ())
    by_hand = agreement.read(labels) if labels else None
    pages = _pages(run, docs, home_dir) if docs else []
    with Bar() as bar:
        scored, panel = _scored(run, bar, similarity, judges, pages)
        made = _report(scored, bar, costs, system, panel, by_hand)
    if as_json:
        print(made.model_dump_json(indent=2))
        return

    print(f"{front.sentence(made)}\n\n{tables.summary(made)}\n")
    table.show(*tables.claim(made))
    if made.contrasts:
        print(f"\nDeclared contrasts. {tables.DECLARED}\n")
        table.show(*tables.compared(made.contrasts))
    accuracy = [
        comparison for comparison in made.comparisons if comparison.measure == made.accuracy
    ]
    if accuracy:
        words = tables.in_words(made)
        print(f"\nExploratory.{f' {words}' if words else ''}\n")
        table.show(*tables.compared(accuracy))
    print(f"\n{run / 'report.html'}")


def compare(
    first: RunArgument,
    second: Annotated[Path, typer.Argument(metavar="RUN", help="The run to compare it with.")],
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs, system by system, on their common questions."""
    first, second = run_folder(first, home_dir), run_folder(second, home_dir)
    judges = [_judge_of(folder) for folder in (first, second)]
    judge = judges[0] if judges[0] == judges[1] else None
    with Bar() as bar:
        similar = all((folder / similarity.FILE).is_file() for folder in (first, second))
        first_scored, second_scored = (
            _stored_scores(folder, judge, similar, bar) for folder in (first, second)
        )
    both = [name for name in first_scored.fair if name in second_scored.fair]
    if not both:
        raise AskdocsError(
            f"{first} and {second} have no system in common: the first has"
            f" {', '.join(first_scored.marks)}, the second {', '.join(second_scored.marks)}"
        )
    for side in (first_scored, second_scored):
        _check_judged(side, judge, both)
    with Bar() as bar:
        comparisons = comparison.compare(
            [
                ((n, first_scored.fair[n]), (f"{n} of {second.name}", second_scored.fair[n]))
                for n in both
            ],
            lambda done, total: bar.show("comparing", done, total),
        )
    shared = {name: len(pairs(first_scored.fair[name], second_scored.fair[name])) for name in both}
    if not any(shared.values()):
        raise AskdocsError(
            f"{first} and {second} have no question in common: use the same --seed for both"
        )
    pair = Pair(first_scored.run, second_scored.run)
    facts: dict[str, Any] = {
        "shared": shared,
        "alone": {
            str(folder): {name: len(side.fair[name]) - shared[name] for name in both}
            for folder, side in ((first, first_scored), (second, second_scored))
        },
        "systems_alone": sorted(first_scored.marks.keys() ^ second_scored.marks.keys()),
        "same_wiki": first_scored.run.wiki.sha256 == second_scored.run.wiki.sha256,
        "same_machine": pair.same_machine,
        "same_load": pair.same_load,
        "differs": pair.differs,
        "judge": judge,
        "comparisons": [comparison.model_dump(mode="json") for comparison in comparisons],
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return

    table.show(*tables.compared(comparisons))
    for folder, alone in facts["alone"].items():
        if any(alone.values()):
            print(f"only in {folder}: {max(alone.values())} questions; they are left out")
    if facts["systems_alone"]:
        print(f"only in one of them: {', '.join(facts['systems_alone'])}")
    if not facts["same_wiki"]:
        print("the wiki changed between the runs")
    _tell(pair, first, second)
    if judges[0] != judges[1]:
        names = " and ".join(name or "nobody" for name in judges)
        print(f"different judges ({names}): correctness is compared by words alone")


def gate(
    run: RunArgument,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Threshold file (default: eval/gate/thresholds.toml)."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Compare with this run (default: with the base model)."),
    ] = None,
    repeat: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Another run of the same version, for example with another --seed; can "
            "be repeated.",
        ),
    ] = None,
    system: SystemOption = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a run against the release gate. Exit code 0: passed, 1: failed, 2: no verdict.

    The verdict on a version is kept beside the version, for `askdocs models promote`.
    """
    run = run_folder(run, home_dir)
    against = run_folder(against, home_dir) if against else None
    repeat = [run_folder(folder, home_dir) for folder in repeat or ()]
    limits = gating.read(thresholds or gating.FILE)
    with Bar() as bar:
        summary = _report_of(run, system, bar)
        pair = Pair(summary.provenance, runs.read(against) if against else summary.provenance)
        reference = _reference(run, summary, against, pair, bar)
        if repeat:
            reference = _repeated(run, summary, against, repeat, reference, limits.errors, bar)
        checks = gating.decide(summary, reference, limits)
    failed = [f"{check.asks}: {check.found}" for check in checks if not check.passed]
    verdict = _keep_verdict(run, summary, failed, home_dir)
    if as_json:
        facts = {
            "passed": not failed,
            "system": summary.subject,
            "checks": [check._asdict() for check in checks],
            "same_machine": pair.same_machine,
            "same_load": pair.same_load,
            "differs": pair.differs,
            "verdict": verdict,
        }
        print(json.dumps(facts, indent=2))
    else:
        for check in checks:
            print(f"{'ok    ' if check.passed else 'FAILED'}  {check.asks}: {check.found}")
        _tell(pair, run, against or run)
        print(f"\n{summary.subject} {'may not answer people' if failed else 'may answer people'}")
        print(f"verdict     {verdict or f'none: only {PRODUCT} of a version gets one'}")
    if failed:
        raise typer.Exit(1)


def _judges(
    run: Path, models: Sequence[str], urls: Sequence[str], named: Sequence[str]
) -> list[tuple[str, str]]:
    """Models, each with its endpoint.

    Raises AskdocsError: a part is missing, or families are not as they must be.
    """
    if bool(models) != bool(urls):
        raise AskdocsError("a judge needs both --judge-model and --judge-url: add the other")
    if any("?" in url or "#" in url for url in urls):
        raise AskdocsError(
            "--judge-url: has a query or a fragment, which may be a secret: write the base URL with"
            " /v1 alone, and set the key as OPENAI_API_KEY"
        )
    if len(urls) not in (0, 1, len(models)):
        raise AskdocsError(
            f"{len(models)} --judge-model and {len(urls)} --judge-url: name a URL for each model,"
            " or one for all"
        )
    of = {}
    for pair in named:
        model, equals, family = pair.rpartition("=")
        if not equals or model not in models:
            raise AskdocsError(
                f"--judge-family {pair}: write MODEL=FAMILY, with a model of --judge-model"
            )
        of[model] = family.lower()
    if models:
        used = runs.read(run)
        writers = [
            model_name
            for used_model in used.models.values()
            for model_name in (used_model.name, used_model.serves or "")
        ]
        writers.append(used.provenance.engine_model)
        for note in families.check(
            [(judge_model, of.get(judge_model)) for judge_model in models], writers
        ):
            typer.echo(f"note: {note}", err=True)
    each = list(urls) * len(models) if len(urls) == 1 else urls
    return list(zip(models, each, strict=True))


def _pages(run: Path, docs: Path, home_dir: Path | None) -> list["Page"]:
    """The pages of the wiki, which must be those that the run has asked about."""
    source, pages = source_of(index_file(home_dir), docs)
    if wiki_of(source, pages).sha256 != runs.read(run).wiki.sha256:
        raise AskdocsError(
            f"--docs {docs}: its pages have changed since {run}: leave --docs out, or run the"
            " evaluation again"
        )
    return pages


def _scored(
    run: Path,
    bar: Bar,
    similarity: bool,
    judges: Sequence[tuple[str, str]],
    pages: Sequence["Page"],
) -> tuple["Scored", "Panel | None"]:

    plain = [marked for marks in mark.marks(*mark.read(run)).values() for marked in marks]
    panel = grounded = None
    if judges:
        written, key = mark.attempted_answers(plain), os.environ.get("OPENAI_API_KEY")
        texts = {page.path: page.text for page in pages}
        panel = Panel([Judge(run, model, url, key, texts) for model, url in judges])
        for judge in panel.judges:
            asyncio.run(judge.ask(written, lambda done, total: bar.show("judging", done, total)))
    if pages:
        grounded = Groundedness(run, pages)
        answers = [(marked.question, marked.answer) for marked in plain if marked.answered]
        progress = partial(bar.show, "checking against the pages")
        asyncio.run(grounded.measure(answers, progress))
    similar = _similar(run, mark.compared(plain), bar) if similarity else None
    return scored.score(run, similar, panel, grounded), panel


def _similar(run: Path, texts: Sequence[tuple[str, str]], bar: Bar) -> "Similar | None":
    """Of these pairs; None, with the reason logged, where the embedder cannot run."""
    embedder = load()
    if embedder is None:
        return None
    similar = Similarity(run, embedder)
    similar.compare(texts, lambda done, total: bar.show("comparing meanings", done, total))
    return similar


def _report(
    scored: "Scored",
    bar: Bar,
    prices: Any,
    system: str | None,
    panel: "Panel | None" = None,
    labels: Any = None,
) -> "Report":
    """Made and written."""
    made = build.report(
        scored, prices, system, panel.name if panel else None, labels, panel, bar.show
    )
    write(scored.folder / "report.html", html.html(made))
    write(scored.folder / "report.md", markdown.markdown(made))
    # The last, since its presence means that all are there.
    write(scored.folder / FILE, made.model_dump_json(indent=2) + "\n")
    return made


def _report_of(run: Path, system: str | None, bar: Bar) -> "Report":
    """The report of a run; made where there is none.

    Raises AskdocsError: there is one, of other questions or answers or about another system. It
    is not made again, since a judge, labels or prices may have been named for it.
    """
    file = run / FILE
    if not file.is_file():
        scored_run = _stored_scores(run, None, (run / similarity.FILE).is_file(), bar)
        return _report(scored_run, bar, cost.read(), system)
    stored = reports.read(run)
    again = f"create it again with {_command(run, system or stored.subject, stored.judge)}"
    if system not in (None, stored.subject):
        raise AskdocsError(f"{file}: was made for {stored.subject}: {again}")
    if stored.answers_sha256 != reports.sha256_of_answers(run):
        raise AskdocsError(f"{file}: does not cover all answers: {again}")
    counted = sum(stored.questions[kind] for kind in ("answerable", "unanswerable", "contaminated"))
    if counted != len(question.distinct(question.read(run))):  # earlier releases counted copies
        raise AskdocsError(f"{file}: counts near copies of questions: {again}")
    return stored


def _command(run: Path, system: str, judge: str | None) -> str:
    judges = (part.partition(AT) for part in judge.split(AND)) if judge else ()
    judged = "".join(
        f" --judge-model {model} --judge-url {url or 'URL'}" for model, _, url in judges
    )
    return f"`askdocs eval report {run} --system {system}{judged}`"


def _judge_of(run: Path) -> str | None:
    """Whom its report has asked; None where there is no report, too."""
    return reports.read(run).judge if (run / FILE).is_file() else None


def _stored_scores(run: Path, judge: str | None, similar: bool, bar: Bar) -> "Scored":
    """With what was said of its answers before by a judge, and with their meanings."""
    meanings = None
    if similar:
        plain = [marked for marks in mark.marks(*mark.read(run)).values() for marked in marks]
        meanings = _similar(run, mark.compared(plain), bar)
    return scored.score(run, meanings, judging.stored_panel(run, judge) if judge else None)


def _check_judged(scored: "Scored", judge: str | None, names: Sequence[str]) -> None:
    """Raises AskdocsError: the judge has not said what it holds of these systems' answers.

    What it has not judged is left out, and refusals, which need no judge, are not: the rest would
    say how often it refuses.
    """
    for name in names if judge else ():
        answered = [
            marked
            for marked in scored.marks[name]
            if marked.question.answerable and marked.answered
        ]
        silent = sum(marked.judged is None for marked in answered)
        if silent > SILENT * len(answered):
            raise AskdocsError(
                f"{scored.folder}: {judge} has not judged {silent} of {len(answered)} answers of "
                f"{name}: run {_command(scored.folder, name, judge)}"
            )


def _reference(
    run: Path, summary: "Report", against: Path | None, pair: "Pair", bar: Bar
) -> "Reference":
    """What the subject is compared with: the same in another run, or with the base model."""
    name, same = summary.subject, pair.same_machine and pair.same_load
    if against is None:
        base = name.replace("tuned-", "base-")
        other = summary.system(base)
        if base == name or other is None:
            raise AskdocsError(
                f"{run}: there is nothing to compare {name} with: run the evaluation with"
                f" --systems {base},{name},... or name a run of the model in use with --against RUN"
            )
        comparisons = [
            comparison for comparison in summary.comparisons if comparison.second == base
        ]
        return Reference(base, other.measures, comparisons, same)
    now, before = (_stored_scores(folder, summary.judge, False, bar) for folder in (run, against))
    for side in (now, before):
        _check_judged(side, summary.judge, [side.subject(name)])
    label = f"{name} of {against.name}"
    comparisons = comparison.compare([((name, now.fair[name]), (label, before.fair[name]))])
    measures = numbers(before.fair[name])
    return Reference(label, measures, comparisons, same)


def _repeated(
    run: Path,
    summary: "Report",
    against: Path | None,
    repeats: Sequence[Path],
    reference: "Reference",
    errors: float,
    bar: Bar,
) -> "Reference":
    """With the comparison of all runs together.

    Raises AskdocsError: a run is of another version or setup, has a larger share of `errors`, or
        there is another run to compare with.
    """
    if against is not None:
        raise AskdocsError("--repeat and --against: runs can be pooled only against the base model")
    name = summary.subject
    base = name.replace("tuned-", "base-")
    sides, tuned = [], summary.provenance.models.get("tuned")
    for folder in dict.fromkeys(path.resolve() for path in (run, *repeats)):
        scored_run = _stored_scores(folder, summary.judge, False, bar)
        if scored_run.run.models.get("tuned") != tuned:
            raise AskdocsError(
                f"{folder}: --repeat is about another version than {run}: run it with --tuned"
                f" {tuned.named if tuned else 'VERSION'}"
            )
        if differs := _setup_differs(summary.provenance, scored_run.run, name):
            raise AskdocsError(
                f"{folder}: --repeat is about another setup than {run} ({', '.join(differs)}):"
                " pooled runs may differ only in their questions"
            )
        for system in (name, base):
            scored_run.subject(system)
            failed = sum(bool(mark.answer.error) for mark in scored_run.fair[system])
            # Those of the first run are a check of the gate.
            if folder != run.resolve() and failed > errors * len(scored_run.fair[system]):
                raise AskdocsError(
                    f"{folder}: {failed} of {len(scored_run.fair[system])} questions to {system}"
                    " ended in an error: `askdocs eval run --resume` asks them again"
                )
        _check_judged(scored_run, summary.judge, [name, base])
        sides.append(((name, scored_run.fair[name]), (base, scored_run.fair[base])))
    by_run: dict[str, list[float]] = {}
    for pair in sides:
        for difference in comparison.compare([pair]):
            by_run.setdefault(difference.measure, []).append(difference.value)
    return reference._replace(pooled=comparison.pooled(sides), by_run=by_run)


def _setup_differs(run: "Run", other: "Run", system: str) -> list[str]:
    """What decides the answers of a system, and what counts of them, and is not alike."""
    ignored: tuple[str, ...] = ("at_once", "contrasts", "models.other")
    if not system.endswith("-rag"):
        ignored += ("rag",)
    differs = [name for name in Pair(run, other).differs if not name.startswith(ignored)]
    if run.wiki.sha256 != other.wiki.sha256:
        differs.append("wiki")
    # Of a run without these rows no contaminated question is left out.
    if run.questions.trained_sha256 != other.questions.trained_sha256:
        differs.append("questions.trained_sha256")
    return differs


def _keep_verdict(
    run: Path, summary: "Report", failed: list[str], home_dir: Path | None
) -> str | None:
    """Where the verdict lies; None where what was measured is not the product with a version."""
    model = summary.provenance.models.get("tuned")
    if model is None or summary.subject != PRODUCT or not is_version(model.name):
        return None
    verdict = Verdict(
        version=model.name,
        manifest_sha256=model.manifest_sha256,
        prompt_fingerprint=summary.provenance.prompt_fingerprint,
        passed=not failed,
        reasons=tuple(failed),
        report_sha256=hashlib.sha256((run / FILE).read_bytes()).hexdigest(),
        made=datetime.now(UTC),
    )
    file = run / VERDICT
    write(file, verdict.model_dump_json(indent=2) + "\n")
    store = opened_store(home_dir)
    if model.name not in store.names():
        return f"{file} ({model.name} is not in {store.place}: add it there by --verdict)"
    if model.manifest_sha256 not in (None, sha256(store.manifest_bytes(model.name))):
        return f"{file} ({model.name} in {store.place} is not the one that was measured)"
    store.add_verdict(model.name, verdict)
    return f"{file}, and beside {model.name}"


def _tell(pair: "Pair", first: Path, second: Path) -> None:
    """What of two runs differs, for people."""
    for name, (before, after) in pair.differs.items():
        print(f"{name} is {json.dumps(before)} in {first}, {json.dumps(after)} in {second}")
    if not pair.same_machine:
        print("the runs differ in machine or engine: times cannot be compared")
    if not pair.same_load:
        print("the runs differ in concurrent questions: times cannot be compared")
