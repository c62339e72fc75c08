"""`askdocs eval`: evaluate model versions and other systems on a set of questions."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from askdocs import environments
from askdocs.commands import eval_check, eval_label, eval_report, eval_sweep
from askdocs.commands.options import (
    ANSWER,
    FolderOption,
    GatewayOption,
    HomeOption,
    JsonOption,
    KeyOption,
    QuestionsOption,
)
from askdocs.evaluation import reports, run_folder, target
from askdocs.evaluation.bar import EvaluationBar
from askdocs.evaluation.meter import Meter
from askdocs.evaluation.plan import Options, plan
from askdocs.models import serving
from askdocs.models.finetuning import follow
from askdocs.state import home
from askdocs.terminal.bar import Bar
from askdocs.terminal.consoles import say
from askdocs.wikis.index import index_file
from core.errors import AskdocsError
from eval.report import changes, cost
from eval.running import answer, ask, measured
from eval.running.estimate import estimate
from eval.systems import systems as known
from eval.systems.rag import settings
from eval.systems.recorded import Recorded

if TYPE_CHECKING:
    from askdocs.evaluation.plan import EvaluationPlan

NO_GPU = (
    ", and this machine has none: run with --limit 10 and the same --at-once to measure their time"
)

app = typer.Typer(
    help="Evaluate models and RAG on the same questions.",
    no_args_is_help=True,
)
app.command()(eval_check.check)
app.command()(eval_report.report)
app.command()(eval_report.compare)
app.command()(eval_report.gate)
app.command()(eval_label.label)
app.command()(eval_sweep.sweep)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command("run")
def run_evaluation(
    questions: QuestionsOption,
    docs: FolderOption,
    systems: Annotated[
        str | None,
        typer.Option(help="Systems to evaluate, such as base-rag,tuned-pages (default: all)."),
    ] = None,
    base: Annotated[str, typer.Option(metavar="MODEL", help="Baseline model.")] = "base",
    tuned: Annotated[
        str, typer.Option(metavar="MODEL", help="The model under evaluation, or its alias.")
    ] = "docs",
    other: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Another model, such as a provider's: adds other-rag."),
    ] = None,
    recorded: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Recorded answers of other tools, JSON lines: question, answer, pages, system.",
        ),
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="Alias whose pages and instructions are used (default: the tuned model's)."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Rows of this split (default: test, if the file has splits).")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=2, help="Number of questions, stratified by answerability."),
    ] = None,
    answerable: Annotated[
        int | None, typer.Option(min=0, help="Number of answerable questions.")
    ] = None,
    unanswerable: Annotated[
        int | None, typer.Option(min=0, help="Number of unanswerable questions.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for sampling questions.")] = 0,
    trained: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Training rows of the tuned model, to mark contaminated questions "
            "(default: from its version).",
        ),
    ] = None,
    rag: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="RAG settings, such as rag.toml of `eval sweep`, or seedling: 512 tokens, 20 "
            "chunks, MMR, reranked to 5.",
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=16, help="Maximum tokens of an answer.")] = ANSWER,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Concurrent questions (default: the engine's capacity)."),
    ] = None,
    url: GatewayOption = None,
    key: KeyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the run (default: in the state folder)."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Ask only the questions without an answer or with an error."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Compare with this run, or with the last one: writes junit.xml and worse.md, and "
            "exits with 1 if a question is answered worse.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, report what would be asked, and exit."),
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an evaluation. After Ctrl-C, continue with the same command and --resume."""
    names = [name.strip() for name in systems.split(",")] if systems else [*known.NAMES]
    if other:
        names.append(known.OTHER)
    elif known.OTHER in names:
        raise AskdocsError(f"{known.OTHER} needs a model: add --other MODEL")
    names += Recorded(recorded).systems
    options = Options(
        questions=questions,
        docs=docs,
        systems=known.parse(names),
        named={"base": base, "tuned": tuned, **({"other": other} if other else {})},
        alias=alias,
        split=split,
        limit=limit,
        answerable=answerable,
        unanswerable=unanswerable,
        seed=seed,
        trained=trained,
        rag=settings.load(rag) if rag else settings.RagSettings(),
        max_tokens=max_tokens,
        at_once=at_once,
        recorded=recorded,
    )
    state = home.find(home_dir)
    to_come = serving.unserved(options.models.values(), home_dir) if url is None else []
    # Report mistakes before an engine starts.
    planned = plan(options, target.find(state, url, key), home_dir, to_come)
    with serving.lent([] if dry_run else to_come, home_dir, say):
        if to_come and not dry_run:
            planned = plan(options, target.find(state, url, key), home_dir)
        folder = (out or run_folder.default_folder(state, planned.run)).absolute()
        run_folder.can_start(folder, planned.run, resume, state.root / "evals")
        earlier = run_folder.earlier(against, folder, state.root / "evals") if against else None
        for note in planned.notes:
            say(f"note: {note}")
        _show(planned, folder, state, say if as_json else print)
        if dry_run:
            if as_json:
                print(planned.run.model_dump_json(indent=2))
            else:
                print("dry run: nothing was asked")
            return
        with run_folder.claimed(folder) as lock:
            run_folder.begin(folder, planned.run, planned.asked)
            _ask(planned, folder, state, lock)
    _tell(planned, folder, as_json)
    if earlier and _got_worse(earlier, folder, index_file(home_dir), print_text=not as_json):
        raise typer.Exit(1)


def _got_worse(earlier: Path, folder: Path, index: Path, print_text: bool) -> bool:
    """Write junit.xml and worse.md into a run's folder. Did a question get worse?"""
    with Bar() as bar:
        before, now = (
            reports.stored_scores(run, None, False, bar.show, index) for run in (earlier, folder)
        )
    system = now.subject()
    before.subject(system)
    compared = changes.compare(before.fair[system], now.fair[system])
    home.write(folder / "junit.xml", changes.junit(system, compared))
    home.write(folder / "worse.md", changes.markdown(system, compared))
    worse = [change for change in compared if change.reasons]
    if print_text:
        print(f"against     {earlier}: {len(compared):,} questions in both")
        for change in worse:
            print(f"worse       {change.now.question.text}: {'; '.join(change.reasons)}")
        print(f"details     {folder / 'worse.md'}, {folder / 'junit.xml'}")
    return bool(worse)


def _ask(planned: "EvaluationPlan", folder: Path, state: home.Home, lock: int) -> None:
    """Run the process that asks, with bars, and keep what is measured meanwhile."""
    python = environments.ensure(environments.EVAL, state.root, say)
    total = Recorded(planned.recorded).count(planned.run.systems, planned.asked)
    answered = sum(not row.error for row in answer.latest(folder).values())
    with TemporaryDirectory() as work:
        job = Path(work) / "job.json"
        home.write_json(job, planned.job(folder, state.root / "evals"))
        argv = [str(python), "-I", ask.__file__, str(job)]
        secret = f"{planned.place.key}\n".encode()
        running = follow(argv, folder, [lock], "the evaluation", secret)
        try:
            with (
                Meter(folder, planned.processes, planned.index) as meter,
                EvaluationBar(err, answered, total) as bar,
                closing(running) as events,
            ):
                for event in events:
                    bar.show(event)
                    meter.hear(event)
        except AskdocsError as error:
            raise AskdocsError(f"{error}; run the same command with --resume to continue") from None
        except KeyboardInterrupt:
            say("interrupted; run the same command with --resume to continue")
            raise typer.Exit(130) from None


def _show(
    planned: "EvaluationPlan", folder: Path, state: home.Home, say: Callable[[str], None]
) -> None:
    run, asked = planned.run, planned.asked
    answerable = sum(question.answerable for question in asked)
    contaminated = sum(question.contaminated for question in asked)
    say(
        f"questions   {len(asked):,} of {run.questions.file}: {answerable:,} answerable,"
        f" {len(asked) - answerable:,} not; {contaminated:,} contaminated"
    )
    for source in run.provenance.sources:
        say(f"source      {source}")
    say(f"wiki        {run.wiki.pages:,} pages of {run.wiki.name}")
    for role, model in run.models.items():
        alias = f" ({model.named})" if model.named != model.name else ""
        say(f"{role:11} {model.name}{alias}")
    say(f"systems     {', '.join(run.systems)}")
    quoted = ", which the product quotes" if run.answers == "quote" else ""
    say(f"asked       {run.at_once} at once; {run.page_budget:,} tokens of pages{quoted}")
    earlier = (file.parent for file in (state.root / "evals").glob("*/run.json"))
    takes = estimate(run, cost.read(), earlier)
    is_guess = takes.measured < takes.systems and not run.provenance.machine.get("gpus")
    say(
        f"takes       {'at least' if is_guess else 'about'} {_duration(takes.seconds)} for"
        f" {takes.answers:,} answers ({takes.measured} of {takes.systems} systems were timed in "
        "earlier runs; the others are assumed to run on the GPU of prices.toml"
        f"{NO_GPU if is_guess else ''})"
    )
    say(
        f"costs       at most ${takes.dollars:,.2f} if a service bills by the token:"
        f" {takes.prompt_tokens:,} tokens read, {takes.completion_tokens:,} written"
    )
    say(f"run         {folder}")


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _tell(planned: "EvaluationPlan", folder: Path, as_json: bool) -> None:
    latest = answer.latest(folder)
    took = measured.read(folder).took
    facts: dict[str, Any] = {"run": str(folder), "systems": {}}
    for name in planned.run.systems:
        mine = [answered for (system, _), answered in latest.items() if system == name]
        failed = [answered.error for answered in mine if answered.error]
        facts["systems"][name] = {
            "answers": len(mine) - len(failed),
            "errors": len(failed),
            "took": took[name].model_dump() if name in took else None,
        }
        if failed and not as_json:
            print(f"{name}: {len(failed):,} errors, the first: {failed[0]}")
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    errors = sum(system["errors"] for system in facts["systems"].values())
    print(f"{len(latest) - errors:,} answers, {errors:,} errors")
    if errors:
        print("again       run the same command with --resume to ask them again")
    print(f"next        askdocs eval report {folder}")
