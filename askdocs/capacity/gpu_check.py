"""Checks a new GPU machine: its hardware, and a recipe's measured needs next to the plan.

Each check compares what was measured with what the plan says. Where there is no GPU, or a small
model is named, the same checks run at that size.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from askdocs.capacity.gpus import seen
from askdocs.environments import gpu
from askdocs.models import model
from askdocs.models.base import Base
from askdocs.models.deriving import derive
from eval.report.cost import read
from gateway.core.errors import AskdocsError
from training.artefacts.convert import tokenizer_files
from training.plan import trial
from training.plan.machine import Machine
from training.plan.memory import GIB, estimate
from training.plan.preflight import rate
from training.plan.recipe import Recipe
from training.plan.shape import Shape

Outcome = Literal["passed", "failed", "skipped"]
# What may be measured above the plan: what the plan leaves out is less than this share.
ABOVE = 1.03
# On a CPU the memory of the libraries and of the allocator differs by more between machines.
ABOVE_CPU = 1.25
STEPS = 3
# Tokens of a row where there is no GPU: more would take minutes.
TOKENS_CPU = 128
# Seconds for a whole check, once the environments are there.
SECONDS = 600.0
# Bytes of the environments that vLLM and training need beside the weights, on a GPU.
ENVIRONMENTS = 20 * GIB


@dataclass(frozen=True)
class Checked:
    """A check and what came of it."""

    name: str
    outcome: Outcome
    planned: str
    measured: str
    fix: str = ""
    """What to do; empty where nothing is wrong."""
    article: str = ""
    """What the article says of the same."""


class Budget:
    """The time that a check may take; its parts end, or are not run, when it is over."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds, 0 or more."""
        return max(0.0, self._end - self._clock())

    def not_run(self, name: str, planned: str) -> Checked:
        """A part that does not fit."""
        measured = f"not run: the {self.seconds / 60:.0f} minutes are over"
        return Checked(name, "skipped", planned, measured, "run each half alone: --only PART")


def machine(here: Machine) -> Iterator[Checked]:
    """GPUs, driver, compiler and headers."""
    named = ", ".join(f"{card.name} ({card.memory / GIB:.0f} GiB)" for card in here.gpus)
    if not here.gpus:
        yield Checked("GPU", "skipped", "an NVIDIA GPU", f"none; {here.cores} cores")
        return
    yield Checked("GPU", "passed", "an NVIDIA GPU", named)
    problems = gpu.problems()
    for problem in problems:
        text, _, fix = problem.rpartition(": ")
        yield Checked("driver and compiler", "failed", f"driver {gpu.DRIVER} or newer", text, fix)
    if not problems:
        present = f"driver {gpu.driver() or 'unknown'}, a C compiler and Python.h"
        yield Checked("driver and compiler", "passed", f"driver {gpu.DRIVER} or newer", present)


def disk(folder: Path, shape: Shape, here: Machine) -> Checked:
    """Room for the environments, the weights, and a merged copy of them."""
    needed = 2 * 2 * shape.parameters + (ENVIRONMENTS if here.gpus else 0)
    free = shutil.disk_usage(folder).free
    enough = free >= needed
    return Checked(
        "disk",
        "passed" if enough else "failed",
        f"{needed / GIB:.1f} GiB",
        f"{free / GIB:.1f} GiB free",
        "" if enough else f"free some space on the disk of {folder}",
    )


def hub(base: Base) -> Checked:
    """Can the base model be had?"""
    if base.path is not None:
        return Checked("hub", "skipped", "no access needed", f"{base.name} is on this machine")
    try:
        base.tokenizer()
    except AskdocsError as error:
        text, _, fix = str(error).partition(": check ")
        return Checked("hub", "failed", f"access to {base.name}", text, f"check {fix}")
    return Checked("hub", "passed", f"access to {base.name}", "its tokenizer was read")


def training(
    python: Path, recipe: Recipe, shape: Shape, here: Machine, budget: Budget
) -> Iterator[Checked]:
    """Steps of the recipe with random weights: memory and speed.

    The weights are not quantised and the optimiser has 32 bits, in the plan, too.

    Args:
        python: has torch, transformers and peft.
    """
    on_gpu = bool(here.gpus)
    tokens = recipe.max_length if on_gpu else min(recipe.max_length, TOKENS_CPU)
    plain = {"load_in_4bit": False, "optimizer": "adamw_torch", "processes": 1}
    tried = recipe.model_copy(update={**plain, "max_length": tokens, "packing": True})
    planned = estimate(shape, tried, tokens, on_gpu).total
    free = here.gpus[0].free if on_gpu else here.memory
    what = f"{tried.batch_size} x {tokens:,} tokens: {planned / GIB:.1f} GiB"
    if planned > free:
        text = f"{free / GIB:.1f} GiB are free; the recipe itself may fit in 4 bits"
        yield Checked("training memory", "skipped", what, text)
        return
    if not budget.left:
        yield budget.not_run("training memory", what)
        return
    trial_run = _tried(python, tried, shape, tokens, budget)
    if isinstance(trial_run, Checked):
        yield trial_run
        return
    most = planned * (ABOVE if on_gpu else ABOVE_CPU)
    fits = trial_run["memory"] <= most
    yield Checked(
        "training memory",
        "passed" if fits else "failed",
        what,
        f"{trial_run['memory'] / GIB:.1f} GiB on {trial_run['device']}",
        "" if fits else "halve batch_size, double gradient_accumulation, and report the numbers",
    )
    speed, hundred = trial_run["tokens_per_second"], 1e8 / trial_run["tokens_per_second"] / 3600
    expected = "" if on_gpu else f"about {rate(tried, shape, here):,.0f} tokens/s when idle"
    measured = f"{speed:,.0f} tokens/s; 100 million tokens take {hundred:,.0f} hours"
    price = read().of_gpu(seen(here.gpus[0].name) or "") if on_gpu else None
    if price:
        measured += f" and ${hundred * price.usd:,.0f}"
    expected = expected or "no plan"
    yield Checked("training speed", "passed", expected, measured, article=_article())
    learns = trial_run["losses"][-1] < trial_run["losses"][0]
    losses = " ".join(f"{loss:.3f}" for loss in trial_run["losses"])
    fix = "" if learns else "the loss of a repeated batch does not fall: run doctor, and report it"
    yield Checked("training loss", "passed" if learns else "failed", "falls", losses, fix)


def artefacts(
    python: Path, quantiser: Path | None, folder: Path, adapter: Path, work: Path, budget: Budget
) -> Iterator[Checked]:
    """Merge an adapter into the model, and quantise what comes of it.

    Args:
        python: has torch, transformers and peft.
        quantiser: has llm-compressor; None: it is not there.
        folder: the model, as a Hugging Face folder.
        adapter: as PEFT writes it.
        work: folder for the results.
    """
    merged = work / "merged"
    job = {"base": str(folder), "adapter": str(adapter), "out": str(merged)}
    steps: list[tuple[str, Path | None, dict[str, Any]]] = [("merge", python, job)]
    for scheme in ("fp8", "w4a16"):
        job = {"model": str(merged), "out": str(work / scheme), "scheme": scheme}
        steps.append((f"quantise {scheme}", quantiser, job))
    for name, runs, job in steps:
        if runs is None:
            text = "llm-compressor is not installed"
            fix = "python -m askdocs.environments quantise --home HOME"
            yield Checked(name, "skipped", "is made", text, fix)
            continue
        if not budget.left:
            yield budget.not_run(name, "is made")
            continue
        step: Literal["merge", "quantise"] = "merge" if name == "merge" else "quantise"
        try:
            derive(runs, step, job, lambda *_: None, budget.left)
        except AskdocsError as error:
            if not budget.left:
                yield budget.not_run(name, "is made")
                continue
            yield Checked(name, "failed", "is made", str(error), "see the message")
            return
        size = sum(file.stat().st_size for file in Path(job["out"]).iterdir())
        yield Checked(name, "passed", "is made", f"{size / GIB:.2f} GiB")


def drawn(python: Path, recipe: Recipe, shape: Shape, out: Path, budget: Budget) -> Path:
    """A Hugging Face folder with random weights of this shape, and the bundled tokenizer.

    Raises AskdocsError: it could not be made.
    """
    job = {"shape": asdict(shape), "dtype": recipe.dtype, "save": str(out)}
    result = _run(python, job, budget)
    if isinstance(result, Checked):
        raise AskdocsError(f"no random weights: {result.measured}: {result.fix}")
    for name, text in tokenizer_files(Path(model.shipped().source)).items():
        (out / name).write_text(text, encoding="utf-8")
    return out


def _article() -> str:
    price = read().gpu_hour.usd
    return f"48 hours on four A10G (${4 * 48 * price:,.0f} at ${price:g} an hour)"


def report(checks: Sequence[Checked], facts: dict[str, Any]) -> str:
    """As Markdown."""
    lines = ["# GPU check", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| check | outcome | plan | measured | what to do | article |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(asdict(check).values())} |" for check in checks]
    return "\n".join(lines) + "\n"


def _tried(
    python: Path, recipe: Recipe, shape: Shape, tokens: int, budget: Budget
) -> dict[str, Any] | Checked:
    job = {
        "shape": asdict(shape),
        "lora": recipe.lora.model_dump(mode="json"),
        "dtype": recipe.dtype,
        "batch_size": recipe.batch_size,
        "tokens": tokens,
        "steps": STEPS,
        "gradient_checkpointing": recipe.gradient_checkpointing,
    }
    return _run(python, job, budget)


def _run(python: Path, job: dict[str, Any], budget: Budget) -> dict[str, Any] | Checked:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        argv, patience = [str(python), "-I", trial.__file__, str(file)], budget.left
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=patience)
        except OSError as error:
            text = f"{python} does not start ({error.strerror})"
            return Checked("training", "failed", f"{STEPS} steps", text, "name another --python")
        except subprocess.TimeoutExpired:
            text = f"not done after {patience:.0f} seconds"
            return Checked("training", "failed", f"{STEPS} steps", text, "report it")
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "")
        return Checked("training", "failed", f"{STEPS} steps", last, "see the message")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
