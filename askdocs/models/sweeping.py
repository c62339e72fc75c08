"""A small sweep of a recipe: learning rate, rank, rsLoRA and seeds, within a budget of GPU hours.

Each combination is a training run in a folder of its own, so that a sweep that was stopped resumes
where it was. All settings are tried with the first seed before the second one begins: a budget that
ends early leaves whole rounds. A setting's score is the mean over its seeds, with Student's 95 %
interval.
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
# A value that is named twice is tried once: its runs would be the same.
Unique = Annotated[tuple[T, ...], AfterValidator(lambda values: tuple(dict.fromkeys(values)))]


class Sweep(BaseModel):
    """What is tried: a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_hours: float = Field(gt=0)
    """Of all runs together. One that would go beyond it is not begun."""
    seeds: Unique[Annotated[int, Field(ge=0)]] = Field((0, 1, 2), min_length=1)
    learning_rate: Unique[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = ()
    """Empty, as the two below: the recipe's."""
    r: Unique[Annotated[int, Field(gt=0)]] = ()
    """`alpha` grows with it: an adapter counts as much at every rank, and with rsLoRA more at a
    higher one, by the root of the ratio."""
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
        """Half the width of the interval; None: one seed says nothing of it."""
        from scipy import stats

        n = len(self.scores)
        return float(stats.t.ppf(0.975, n - 1)) * stdev(self.scores) / sqrt(n) if n > 1 else None


def load(file: Path) -> Sweep:
    """Raises AskdocsError: it cannot be read, or a key is wrong."""
    try:
        return Sweep.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise AskdocsError(
            f"--sweep {file}: cannot be read ({error.strerror}): name another"
        ) from None
    except ValidationError as error:
        key, what = first_problem(error)
        raise AskdocsError(
            f"{file}: {key}: {what}; keys are {', '.join(Sweep.model_fields)}"
        ) from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not TOML: {error}") from None


def recipes(sweep: Sweep, recipe: Recipe) -> Iterator[tuple[str, int, Recipe]]:
    """Setting, seed and recipe of each run, in the order in which they are made."""
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
    """Each with its setting, in the order in which they are made."""
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
    """Make the runs that the budget allows, and rank the settings, the best one first.

    Args:
        sweep: what is tried.
        recipe: what is the same in all runs.
        data: to train on.
        max_steps: of each run at most.
        out: folder of the runs.
        train: trains or resumes one.
        choose: chooses the checkpoint of one that is done, unless that has been done.
        say: gets a line for each.
    """
    scores: dict[str, list[float]] = {}
    spent: list[float] = []
    for setting, made in runs(sweep, recipe, data, max_steps, out):
        if not made.is_done:
            made.can_start(resume=True)
            if sum(spent) + max([made.gpu_hours, *spent]) > sweep.gpu_hours:
                spent.append(made.gpu_hours)
                say(f"{made.folder.name}: is left out, {sum(spent):.2f} GPU hours are spent")
                continue
            train(made)
        choose(made)  # of a run that was killed after its training, too
        spent.append(made.gpu_hours)
        scores.setdefault(setting, []).append(score(made))
        say(f"{made.folder.name}: {scores[setting][-1]:.4f}, {spent[-1]:.2f} GPU hours")
    return ranked(Tried(name, tuple(values)) for name, values in scores.items())


def ranked(tried: Iterable[Tried]) -> list[Tried]:
    """The best one first; whoever has fewer seeds is behind."""
    return sorted(tried, key=lambda setting: (len(setting.scores), setting.mean), reverse=True)


def score(made: Run) -> float:
    """The score of its answers, or the negative loss where none were wanted.

    Raises AskdocsError: there is no memory for answers.
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
