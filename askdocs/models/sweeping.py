"""A small sweep of a recipe: learning rate, rank, rsLoRA and seeds, within a budget of GPU hours.

Each combination is a training run in its own folder, so that an interrupted sweep can resume. All
settings are tried with the first seed before the second: a budget that ends early leaves complete
rounds. A setting's score is the mean over its seeds, with Student's 95 % interval.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from askdocs.models.training_run import Run
from gateway.core.errors import AskdocsError, first_problem
from training.data.dataset import Dataset
from training.plan.recipe import Recipe

T = TypeVar("T")
# Ignore repeated values: their runs would be identical.
Unique = Annotated[tuple[T, ...], AfterValidator(lambda values: tuple(dict.fromkeys(values)))]


class Sweep(BaseModel):
    """A sweep's parameters: a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_hours: float = Field(gt=0)
    """Budget for all runs together. A run that would exceed it is not started."""
    seeds: Unique[Annotated[int, Field(ge=0)]] = Field((0, 1, 2), min_length=1)
    learning_rate: Unique[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = ()
    """Empty: the recipe's value, also for the next two."""
    r: Unique[Annotated[int, Field(gt=0)]] = ()
    """`alpha` is scaled with it, so that an adapter has the same weight at every rank; with rsLoRA,
    the weight grows with the square root of the ratio."""
    rslora: Unique[bool] = ()


@dataclass(frozen=True)
class Tried:
    """A setting with the scores of its seeds."""

    setting: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.scores)

    @property
    def half(self) -> float | None:
        """Half the width of the interval; None: a single seed has no interval."""
        from scipy import stats

        n = len(self.scores)
        return float(stats.t.ppf(0.975, n - 1)) * stdev(self.scores) / sqrt(n) if n > 1 else None


def load(file: Path) -> Sweep:
    """Raises AskdocsError: the file cannot be read, or a key is invalid."""
    try:
        return Sweep.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise AskdocsError(
            f"--sweep {file}: cannot be read ({error.strerror}): name another"
        ) from None
    except ValidationError as error:
        key, message = first_problem(error)
        raise AskdocsError(
            f"{file}: {key}: {message}; keys are {', '.join(Sweep.model_fields)}"
        ) from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not TOML: {error}") from None


def recipes(sweep: Sweep, recipe: Recipe) -> Iterator[tuple[str, int, Recipe]]:
    """Setting, seed and recipe of each run, in order."""
    lora = recipe.lora
    grid = list(
        product(
            sweep.learning_rate or (recipe.learning_rate,),
            sweep.r or (lora.r,),
            sweep.rslora or (lora.rslora,),
        )
    )
    for seed, (rate, rank, rslora) in product(sweep.seeds, grid):
        adapter = {"r": rank, "alpha": max(1, round(lora.alpha * rank / lora.r)), "rslora": rslora}
        changed = {"learning_rate": rate, "seed": seed, "lora": lora.model_copy(update=adapter)}
        name = f"lr{rate!r}-r{rank}{'-rslora' if rslora else ''}"
        yield name, seed, recipe.model_copy(update=changed)


def runs(
    sweep: Sweep, recipe: Recipe, data: Dataset, max_steps: int | None, out: Path
) -> list[tuple[str, Run]]:
    """The runs with their settings, in order."""
    return [
        (setting, Run(out / f"{setting}-seed{seed}", tuned, data, max_steps))
        for setting, seed, tuned in recipes(sweep, recipe)
    ]


def run(
    sweep: Sweep,
    recipe: Recipe,
    data: Dataset,
    max_steps: int | None,
    out: Path,
    train: Callable[[Run], None],
    choose: Callable[[Run], None],
    say: Callable[[str], None],
) -> list[Tried]:
    """Make the runs that the budget allows; returns the settings, the best first.

    Args:
        sweep: the parameters to try.
        recipe: the recipe common to all runs.
        data: the dataset.
        max_steps: maximum steps of each run.
        out: folder for the runs.
        train: trains or resumes a run.
        choose: chooses the checkpoint of a completed run, unless already chosen.
        say: receives a line for each run.
    """
    scores: dict[str, list[float]] = {}
    spent: list[float] = []
    for setting, made in runs(sweep, recipe, data, max_steps, out):
        if not made.is_done:
            made.can_start(resume=True)
            if sum(spent) + max([made.gpu_hours, *spent]) > sweep.gpu_hours:
                spent.append(made.gpu_hours)
                say(f"{made.folder.name}: skipped, {sum(spent):.2f} GPU hours are used")
                continue
            train(made)
        choose(made)  # also for a run that was killed after its training
        spent.append(made.gpu_hours)
        scores.setdefault(setting, []).append(score(made))
        say(f"{made.folder.name}: {scores[setting][-1]:.4f}, {spent[-1]:.2f} GPU hours")
    return ranked(Tried(name, tuple(values)) for name, values in scores.items())


def ranked(tried: Iterable[Tried]) -> list[Tried]:
    """The best first; settings with fewer seeds rank lower."""
    return sorted(tried, key=lambda setting: (len(setting.scores), setting.mean), reverse=True)


def score(made: Run) -> float:
    """The score of its answers, or the negative loss if the recipe compares no answers.

    Raises AskdocsError: memory is too small for answers.
    """
    if made.undecided:
        raise AskdocsError(
            f"{made.folder}: has no score of its answers ({made.undecided}): set answers = 0 in the"
            " recipe, or free memory and delete its choice.json"
        )
    metrics = made.metrics()
    return metrics["answer_score"] if "answer_score" in metrics else -metrics["eval_loss"]


def table(tried: Iterable[Tried]) -> list[list[str]]:
    """Setting, mean with its interval, and seeds."""
    return [
        [
            row.setting,
            f"{row.mean:.4f}" + (f" ± {row.half:.4f}" if row.half is not None else ""),
            str(len(row.scores)),
        ]
        for row in tried
    ]
