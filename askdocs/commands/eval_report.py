"""`askdocs eval report|compare|gate`: report results, and check them against the release gate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from askdocs.commands.options import HomeOption, JsonOption
from askdocs.evaluation import reports, verdicts
from askdocs.evaluation.plan import pages_of, source_of, wiki_of
from askdocs.state import home
from askdocs.terminal import table
from askdocs.terminal.bar import Bar
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from eval.gate import gate as gating
from eval.report import comparison, cost, front, tables
from eval.running import run as runs
from eval.running.pair import Pair
from eval.scoring import families, similarity
from eval.scoring.measures import pairs
from eval.statistics import agreement
from wiki.pages.page import Page

MEANING = {
    "promote": "promote (better, or as good within the margin)",
    "canary": "canary only (large harm is excluded; its readers decide)",
    "stop": "stop",
}
EXIT = {"canary": 3, "stop": 1}

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
            help="Folder of the wiki, to measure groundedness and show judges the pages (default: "
            "the gateway's index, if its pages are still those of the run).",
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
    costs = cost.read(prices or cost.FILE, assume or ())
    by_hand = agreement.read(labels) if labels else None
    index = index_file(home_dir)
    pages = _pages(run, docs, home_dir) if docs else pages_of(index, runs.read(run).wiki)
    if judges and not pages:
        typer.echo("note: the judges see no pages: name the wiki's folder with --docs", err=True)
    with Bar() as bar:
        scored, panel = reports.score(run, bar.show, similarity, judges, pages)
        made = reports.make(scored, bar.show, costs, system, panel, by_hand)
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
    judges = [reports.judge_of(folder) for folder in (first, second)]
    judge = judges[0] if judges[0] == judges[1] else None
    with Bar() as bar:
        similar = all((folder / similarity.FILE).is_file() for folder in (first, second))
        first_scored, second_scored = (
            reports.stored_scores(folder, judge, similar, bar.show) for folder in (first, second)
        )
    both = [name for name in first_scored.fair if name in second_scored.fair]
    if not both:
        raise AskdocsError(
            f"{first} and {second} have no system in common: the first has"
            f" {', '.join(first_scored.marks)}, the second {', '.join(second_scored.marks)}"
        )
    for side in (first_scored, second_scored):
        reports.check_judged(side, judge, both)
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
    """Check a run against the release gate: promote, canary only, or stop.

    Exit code 0: promote, 3: canary only, 1: stop, 2: no verdict, since nothing valid was measured.

    The verdict on a version is kept beside the version, for `askdocs models promote`.
    """
    run = run_folder(run, home_dir)
    against = run_folder(against, home_dir) if against else None
    repeat = [run_folder(folder, home_dir) for folder in repeat or ()]
    limits = gating.read(thresholds or gating.FILE)
    index = index_file(home_dir)
    with Bar() as bar:
        summary = reports.of_run(run, system, bar.show, index)
        pair = Pair(summary.provenance, runs.read(against) if against else summary.provenance)
        reference = verdicts.reference(run, summary, against, pair, bar.show, index)
        if repeat:
            reference = verdicts.repeated(
                run, summary, against, repeat, reference, limits.errors, bar.show, index
            )
        gating.valid(summary, reference)
        checks = gating.decide(summary, reference, limits)
    failed = [f"{check.asks}: {check.found}" for check in checks if not check.passed]
    decision = gating.decision(checks)
    verdict = verdicts.keep(run, summary, decision, failed, home_dir)
    if as_json:
        facts = {
            "decision": decision,
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
            shown = "ok    " if check.passed else "open  " if check.canary else "FAILED"
            print(f"{shown}  {check.asks}: {check.found}")
        _tell(pair, run, against or run)
        print(f"\n{summary.subject}: {MEANING[decision]}")
        print(f"verdict     {verdict or f'none: only {verdicts.PRODUCT} of a version gets one'}")
    if decision != "promote":
        raise typer.Exit(EXIT[decision])


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


def _pages(run: Path, docs: Path, home_dir: Path | None) -> list[Page]:
    """The pages of the wiki, which must be those that the run has asked about."""
    source, pages = source_of(index_file(home_dir), docs)
    if wiki_of(source, pages).sha256 != runs.read(run).wiki.sha256:
        raise AskdocsError(
            f"--docs {docs}: its pages have changed since {run}: leave --docs out, or run the"
            " evaluation again"
        )
    return pages


def _tell(pair: Pair, first: Path, second: Path) -> None:
    """What of two runs differs, for people."""
    for name, (before, after) in pair.differs.items():
        print(f"{name} is {json.dumps(before)} in {first}, {json.dumps(after)} in {second}")
    if not pair.same_machine:
        print("the runs differ in machine or engine: times cannot be compared")
    if not pair.same_load:
        print("the runs differ in concurrent questions: times cannot be compared")
