"""`askdocs gpu`: check that a machine is ready to train and serve on its GPU."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from askdocs import environments
from askdocs.capacity import gpu_check, gpu_serving, random_adapter
from askdocs.capacity.gpu_check import Checked
from askdocs.commands.options import HomeOption, JsonOption
from askdocs.models import base
from askdocs.models.base import Base
from askdocs.state import home
from askdocs.state.home import existing
from askdocs.state.scratch import scratch
from askdocs.terminal import table
from askdocs.terminal.consoles import say
from askdocs.terminal.stopping import stoppable
from core.errors import AskdocsError
from training.plan import machine
from training.plan import recipe as recipes
from training.plan.recipe import Recipe
from training.plan.shape import Shape

app = typer.Typer(help="Check a GPU machine before using it.", no_args_is_help=True)


PARTS = ("training", "serving")
SCRATCH = ".gpu-check-"


@app.callback()
def _verbs() -> None:
    """Has verbs, though it is one so far."""


@app.command()
def check(
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A bundled recipe, or a TOML file.")
    ] = "llama31-8b-1gpu",
    only: Annotated[
        str | None, typer.Option(metavar="PART", help="training or serving (default: both).")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="A Python with torch, transformers and peft (default: create an environment)."
        ),
    ] = None,
    vllm_python: Annotated[
        Path | None,
        typer.Option("--vllm", help="A Python with vLLM (default: create an environment)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for check.json and check.md.")
    ] = None,
    home_dir: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a GPU machine with the plan: hardware, hub, training steps, vLLM.

    A model that is not on this machine has random weights in its real shape. Exit code 1: a check
    failed.
    """
    if only not in (None, *PARTS):
        raise AskdocsError(f"--only {only}: use one of {', '.join(PARTS)}")
    here = machine.look()
    chosen = recipes.load(recipe).settled(here.prefers_bfloat16)
    start = base.find(chosen.base_model)
    shape, state = start.shape(), home.find(home_dir)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AskdocsError(
                f"--out {out}: is not a writable folder ({error.strerror}): name another"
            ) from None
    checks = [
        *gpu_check.machine(here),
        gpu_check.disk(existing(state.root), shape, here),
        gpu_check.hub(start),
    ]
    if all(result.outcome != "failed" or result.name != "driver and compiler" for result in checks):
        checks += _measured(chosen, start, shape, state, here, only, python, vllm_python)
    facts = {"recipe": recipe, "model": chosen.base_model, "parameters": shape.parameters}
    report = {**facts, "checks": [asdict(result) for result in checks]}
    if out is not None:
        home.write_json(out / "check.json", report)
        home.write(out / "check.md", gpu_check.report(checks, facts))
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        table.show(
            ["check", "outcome", "plan", "measured"],
            [[result.name, result.outcome, result.planned, result.measured] for result in checks],
        )
        for result in checks:
            if result.fix:
                print(f"{result.name}: {result.fix}")
    raise typer.Exit(int(any(result.outcome == "failed" for result in checks)))


def _measured(
    recipe: Recipe,
    start: Base,
    shape: Shape,
    state: home.Home,
    here: machine.Machine,
    only: str | None,
    python: Path | None,
    vllm_python: Path | None,
) -> Iterator[Checked]:
    """The checks that need environments."""
    try:
        trains = python or environments.ensure(environments.trainer(), state.root, say)
        serves = None
        if only != "training":
            serves = vllm_python or environments.ensure_vllm(state.root, say)
    except AskdocsError as error:
        fix = "see the message, or name Pythons that have the libraries: --python, --vllm"
        yield Checked("environments", "failed", "can be installed", str(error), fix)
        return
    budget = gpu_check.Budget(gpu_check.SECONDS)
    if only != "serving":
        yield from gpu_check.training(trains, recipe, shape, here, budget)
    if serves is None:
        return
    with stoppable(), scratch(existing(state.root), SCRATCH) as work:
        try:
            if start.path is None:
                folder = gpu_check.drawn(trains, recipe, shape, work / "random", budget)
            else:
                folder = start.folder(trains, state, say)
        except AskdocsError as error:
            yield (
                Checked("weights", "failed", "are available", str(error))
                if budget.left
                else budget.not_run("vLLM", gpu_serving.STARTS)
            )
            return
        adapter = random_adapter.write(work / "adapter", folder, seed=1)
        context = recipe.max_length
        yield from gpu_serving.serving(serves, folder, adapter, work, here, context, budget)
