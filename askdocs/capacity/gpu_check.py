"""Checks a new GPU machine: its hardware, and a recipe's measured needs next to the plan.

Each check compares a measurement with the plan. Without a GPU, or with a small model, the same
checks run at that size.
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
from core.errors import AskdocsError
from eval.report.cost import read
from training.artefacts.convert import tokenizer_files
from training.plan import trial
from training.plan.machine import Machine
from training.plan.memory import GIB, estimate
from training.plan.preflight import rate
from training.plan.recipe import Recipe
from training.plan.shape import Shape
from training.tuning.options import quantisation

Outcome = Literal["passed", "failed", "skipped"]
# Allowed ratio of measurement to plan: the plan ignores less than this.
ABOVE = 1.03
# On a CPU, memory of libraries and allocator varies more between machines.
ABOVE_CPU = 1.25
STEPS = 3
# Tokens of a row without a GPU: more would take minutes.
TOKENS_CPU = 128
# Seconds for a whole check, once the environments exist.
SECONDS = 600.0
# Bytes of the environments of vLLM and training besides the weights, on a GPU.
ENVIRONMENTS = 20 * GIB


@dataclass(frozen=True)
class Checked:
    """A check with its result."""

    name: str
    outcome: Outcome
    planned: str
    measured: str
    fix: str = ""
    """The fix; empty if nothing is wrong."""


class Budget:
    """The time limit of a check; its parts end, or are skipped, when it is over."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Remaining seconds, at least 0."""
        return max(0.0, self._end - self._clock())

    def not_run(self, name: str, planned: str) -> Checked:
        """The result for a part that was skipped."""
        measured = f"not run: the limit of {self.seconds / 60:.0f} minutes was reached"
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
    """Space for the environments and the weights."""
    needed = 2 * shape.parameters + (ENVIRONMENTS if here.gpus else 0)
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
    """Is the base model available?"""
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
    """Measure memory and speed of the recipe's training steps with random weights.

    On a GPU they follow the recipe: packed rows, 4-bit weights and an 8-bit optimiser if it says
    so. On a CPU, weights and optimiser are unquantised, in the plan, too.

    Args:
        python: has torch, transformers and peft; for 4 and 8 bits bitsandbytes.
    """
    on_gpu = bool(here.gpus)
    tokens = recipe.max_length if on_gpu else min(recipe.max_length, TOKENS_CPU)
    plain = {} if on_gpu else {"load_in_4bit": False, "optimizer": "adamw_torch"}
    same = {"max_length": tokens, "packing": recipe.packing or not on_gpu, "processes": 1}
    tried = recipe.model_copy(update={**plain, **same})
    planned = estimate(shape, tried, tokens, on_gpu).total
    free = here.gpus[0].free if on_gpu else here.memory
    what = f"{tried.batch_size} x {tokens:,} tokens: {planned / GIB:.1f} GiB"
    if planned > free:
        text = f"{free / GIB:.1f} GiB are free"
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
    yield Checked("training speed", "passed", expected, measured)
    learns = trial_run["losses"][-1] < trial_run["losses"][0]
    losses = " ".join(f"{loss:.3f}" for loss in trial_run["losses"])
    fix = "" if learns else "the loss on a repeated batch does not fall: run doctor, and report it"
    yield Checked("training loss", "passed" if learns else "failed", "falls", losses, fix)


def drawn(python: Path, recipe: Recipe, shape: Shape, out: Path, budget: Budget) -> Path:
    """A Hugging Face folder with random weights of this shape, and the bundled tokenizer.

    Raises AskdocsError: the folder could not be created.
    """
    job = {"shape": asdict(shape), "dtype": recipe.dtype, "save": str(out)}
    result = _run(python, job, budget)
    if isinstance(result, Checked):
        raise AskdocsError(f"no random weights: {result.measured}: {result.fix}")
    for name, text in tokenizer_files(Path(model.shipped().source)).items():
        (out / name).write_text(text, encoding="utf-8")
    return out


def report(checks: Sequence[Checked], facts: dict[str, Any]) -> str:
    """The report in Markdown."""
    lines = ["# GPU check", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| check | outcome | plan | measured | what to do |", "|---|---|---|---|---|"]
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
        "optimizer": recipe.optimizer,
        "packing": recipe.packing,
    }
    if recipe.load_in_4bit:
        job["quantisation"] = quantisation(recipe.model_dump(mode="json"))
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
