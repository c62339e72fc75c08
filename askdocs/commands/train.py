"""`askdocs train`: train a model version from a dataset and a recipe."""

import json
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from askdocs import environments
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import base
from askdocs.models.deriving import check_run
from askdocs.models.finetuning import command, follow, refused
from askdocs.models.registry import opened_store
from askdocs.models.training_bar import TrainingBar
from askdocs.models.training_run import JOB, Run, check_pairs, default_folder
from askdocs.state import home
from askdocs.state.home import existing
from askdocs.terminal.bar import Bar
from askdocs.terminal.consoles import say
from core.errors import AskdocsError, together
from training.data import dataset
from training.plan import machine
from training.plan import recipe as recipes
from training.plan.preflight import preflight
from training.versions.name import check_alias

if TYPE_CHECKING:
    from askdocs.models.base import Base
    from training.plan.preflight import Preflight
    from training.plan.recipe import Recipe
    from training.versions.store import Store

GIB = 2**30
err = Console(stderr=True, highlight=False, soft_wrap=True)


def train(
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A bundled recipe, or a TOML file.")
    ],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder that `dataset build` wrote.")],
    preferences: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Then train on these pairs (DPO): folder that `dataset prefer` wrote.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the run (default: in the state folder)."),
    ] = None,
    name: Annotated[str, typer.Option(help="Alias of the new version.")] = "docs",
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume this run from its last checkpoint.")
    ] = False,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Maximum number of steps.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, report the requirements, and exit.")
    ] = False,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a dataset, and store it as a new version. After Ctrl-C, use --resume."""
    check_alias(name)
    if preferences:
        check_pairs(preferences)
    here = machine.look()
    chosen = recipes.load(recipe).settled(here.prefers_bfloat16)
    start = base.find(chosen.base_model)
    rows = dataset.read(data)
    state = home.find(home_dir)
    store = opened_store(home_dir)
    folder = out or default_folder(state, name, chosen, rows, max_steps)
    run = Run(folder, chosen, rows, max_steps)
    run.can_start(resume or dry_run)
    if dry_run or not run.is_done:
        say(f"checking {chosen.base_model} and this machine")
        free = shutil.disk_usage(existing(run.folder)).free
        shape, token = start.shape(), _tokenizer(start)
        stage = preferences is not None
        checked = preflight(chosen, shape, rows, token, here, free, max_steps, preference=stage)
        if not as_json:
            _show(recipe, run, checked)
        if checked.problems and not dry_run:
            raise together(checked.problems)
        if dry_run:
            python = environments.ensure(environments.trainer(), state.root, say)
            refused = _refused(python, run, str(start.path or start.name))
            _dry(chosen, checked, refused, as_json)
            raise typer.Exit(1 if checked.problems or refused else 0)
    python = environments.ensure(environments.trainer(), state.root, say)
    with run.claimed() as lock:
        if not run.is_done:
            _train(python, run, str(start.folder(python, state, say)), resume, lock)
        _finish(python, run, store, name, as_json, preferences is None)
    if preferences:
        _prefer(python, run.second(preferences), str(run.base), store, name, as_json)


def _prefer(python: Path, run: "Run", base: str, store: "Store", name: str, as_json: bool) -> None:
    """The second stage. A killed run starts over."""
    run.can_start(resume=True)
    with run.claimed() as lock:
        if not run.is_done:
            say(f"training on preferences in {run.folder}")
            _train(python, run, base, True, lock)
        _finish(python, run, store, name, as_json)


def _tokenizer(start: "Base") -> str | AskdocsError:
    """Its SHA-256, or why not: a gated model can be planned before its terms are accepted."""
    try:
        return start.tokenizer()
    except AskdocsError as error:
        return error


def _train(python: Path, run: "Run", base: str, resume: bool, lock: int) -> None:
    """Run the process that trains, with a bar."""
    run.write_job(run.folder / JOB, base, resume)
    argv = command(python, run.folder / JOB, run.recipe.processes)
    try:
        with TrainingBar(err) as bar, closing(follow(argv, run.folder, [lock])) as events:
            for event in events:
                bar.show(event)
                if event["event"] == "eval":
                    run.draw()
    except AskdocsError as error:
        raise AskdocsError(f"{error}; {run.resumable()}") from None
    except KeyboardInterrupt:
        say(f"interrupted; {run.resumable()}")
        raise typer.Exit(130) from None
    run.draw()


def _finish(
    python: Path, run: "Run", store: "Store", name: str, as_json: bool, is_last: bool = True
) -> None:
    """Check it and make it a version, unless it is one. Of two stages the last one prints JSON."""
    version = run.known(store, name)
    is_new = version is None
    if version is None:
        with Bar() as bar:
            run.choose(python, bar.show)
            if run.undecided:
                say(f"kept the checkpoint with the lowest loss: no answers ({run.undecided})")
            checks = check_run(python, run.folder, run.base, bar.show)
            with run.version() as folder:
                version = store.add(name, folder, run.facts(checks), bar.show)
    metrics, then = store.manifest(version).metrics, f"askdocs models promote {version}"
    if as_json and not is_last:
        say(f"{version} was created; next: preferences")
        return
    if as_json:
        facts = {"version": version, "new": is_new, "run": str(run.folder), "metrics": metrics}
        print(json.dumps({**facts, "next": then}, indent=2))
        return
    print(f"{version}{'' if is_new else ' was made of this run before'}: {_metrics(metrics)}")
    print(f"losses      {run.folder / 'loss.png'}")
    print(f"next        {then}")


def _metrics(metrics: dict[str, float]) -> str:
    parts = [f"{metrics['steps']:,.0f} steps"]
    if "eval_loss" in metrics:
        parts.append(
            f"validation loss {metrics['eval_loss']:.3f} at step {metrics['best_step']:.0f}"
        )
    if "tokens_per_second" in metrics:
        parts.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(parts)


def _refused(python: Path, run: "Run", base: str) -> list[str]:
    """What the libraries say against options of the recipe."""
    with TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        run.write_job(job, base, False)
        return refused(python, job)


def _show(name: str, run: "Run", checked: "Preflight") -> None:
    recipe, data = run.recipe, run.data
    rows = ", ".join(f"{len(lengths):,} {split}" for split, lengths in data.lengths.items())
    parts = ", ".join(f"{key} {size / GIB:.1f}" for key, size in checked.memory._asdict().items())
    free = "" if checked.available is None else f" of {checked.available / GIB:.1f} free"
    each = " in each process" if recipe.processes > 1 else ""
    print(f"recipe      {name}")
    print(
        f"model       {recipe.base_model}: {checked.parameters / 1e6:,.1f} million parameters,"
        f" {checked.trainable / 1e6:,.1f} million are trained"
    )
    print(
        f"dataset     {rows} examples; {checked.tokens:,} tokens,"
        f" {checked.longest:,} at most in one"
    )
    print(f"steps       {checked.steps:,} of {recipe.examples_per_step} rows at most")
    print(f"memory      about {checked.memory.total / GIB:.1f} GiB{each}{free} ({parts})")
    print(f"time        {_duration(checked.seconds)}")
    print(f"run         {run.folder}")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "known after the first steps"
    if seconds < 120:
        return f"about {seconds:.0f} seconds, plus half a minute to start"
    minutes = seconds / 60
    return f"about {minutes:.0f} minutes" if minutes < 120 else f"about {minutes / 60:.1f} hours"


def _dry(recipe: "Recipe", checked: "Preflight", refused: list[str], as_json: bool) -> None:
    problems = [*checked.problems, *refused]
    if as_json:
        facts: dict[str, Any] = asdict(checked)
        facts["memory"] = checked.memory._asdict()
        facts["problems"] = problems
        print(json.dumps({"recipe": recipe.model_dump(mode="json"), **facts}, indent=2))
        return
    tables = {"": recipe, "lora.": recipe.lora, "preference.": recipe.preference}
    for table_name, values in tables.items():
        for key, value in values:
            if f"{key}." not in tables:
                print(f"  {table_name}{key} = {json.dumps(value)}")
    for problem in problems:
        err.print(f"[red]askdocs:[/red] {escape(problem)}")
    if not refused:
        print("the libraries accept every option")
    print("dry run: nothing was trained")
