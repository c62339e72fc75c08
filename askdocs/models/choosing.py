"""Chooses a run's checkpoint by its answers on validation, not by its loss.

The lowest loss belonged to a run that refused everything. An answer scores its token F1 with the
reference, times the share of its claims that its prompt's pages support; a correct refusal scores
1. If memory is too small for answers, the choice by loss stands. `choice.json` is written last.
"""

import asyncio
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from askdocs.models.deriving import derive
from askdocs.state.home import read_json, write_json
from eval.scoring.groundedness import Rarity
from eval.scoring.words import token_f1
from gateway.answering.check import Check
from gateway.answering.claims import drafts, refuses
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import PAGE
from training.data.examples import own_page
from training.data.support import uncited
from training.plan.recipe import Recipe
from training.tuning import checkpoints
from training.tuning.thin import REFUSAL
from wiki.sources.sync import Progress

WEIGHTS = "adapter_model.safetensors"
ANSWERS, CHOICE = "answers.jsonl", "choice.json"
# Maximum tokens of an answer; longer ones are scored up to there.
MAX_TOKENS = 256


def choose(
    python: Path,
    folder: Path,
    data: Path,
    base: Path,
    recipe: Recipe,
    losses: Mapping[int, float],
    progress: Progress,
) -> dict[str, Any] | None:
    """Replace adapter/ in a run's folder by the best checkpoint, if the recipe asks for it.

    Args:
        python: Python of the training environment.
        folder: folder of a completed run.
        data: folder of its dataset.
        base: folder of the base model.
        recipe: sets the number of answers to compare; 0: the loss decides.
        losses: validation losses by step, which break ties.
        progress: see `Progress`.

    Returns:
        `step` of the chosen checkpoint, and the `scores` of all by step; or the `problem` that left
        the choice to the loss. None: nothing to choose.

    Raises:
        AskdocsError: the answers could not be generated.
    """
    known: dict[str, Any] | None = read_json(folder / CHOICE)
    if known is not None:
        return known
    there = [
        checkpoint
        for checkpoint in (folder / "checkpoints").glob("checkpoint-*")
        if checkpoints.is_whole(checkpoint)
    ]
    if not recipe.answers or not there:
        return None
    there.sort(key=checkpoints.step)
    job = {
        "base": str(base),
        "checkpoints": [str(checkpoint) for checkpoint in there],
        "data": str(data),
        "max_length": recipe.max_length,
        "rows": recipe.answers,
        "seed": recipe.seed,
        "max_tokens": MAX_TOKENS,
        "out": str(folder / ANSWERS),
    }
    if problem := derive(python, "answers", job, progress).get("problem"):
        write_json(folder / CHOICE, {"problem": problem})
        return {"problem": problem}
    scores = scored(folder / ANSWERS, data / "validation.jsonl")
    best = max(
        there,
        key=lambda checkpoint: (
            scores[checkpoint.name],
            -losses.get(checkpoints.step(checkpoint), inf),
        ),
    )
    _put(best, folder / "adapter")
    choice = {
        "step": checkpoints.step(best),
        "scores": {
            str(checkpoints.step(checkpoint)): scores[checkpoint.name] for checkpoint in there
        },
    }
    write_json(folder / CHOICE, choice)
    return choice


def scored(answers: Path, validation: Path) -> dict[str, float]:
    """The mean score of each checkpoint's answers."""
    # str.splitlines would also split at U+2028.
    rows = [json.loads(line) for line in validation.read_bytes().splitlines()]
    rarity = Rarity(text for row in rows for text in _pages(row))
    by_checkpoint: dict[str, list[float]] = defaultdict(list)
    with asyncio.Runner() as runner:
        for line in answers.read_bytes().splitlines():
            answered = json.loads(line)
            score = runner.run(_score(rows[answered["row"]], answered["answer"], rarity))
            by_checkpoint[answered["checkpoint"]].append(score)
    return {name: round(fmean(values), 4) for name, values in by_checkpoint.items()}


async def _score(row: dict[str, Any], answer: str, rarity: Rarity) -> float:
    """The score of an answer, 0 to 1."""
    refused = not answer.strip() or refuses(drafts(answer))
    if row["meta"]["kind"].startswith(REFUSAL):
        return float(refused)
    if refused:
        return 0.0
    generated, reference = uncited(answer), uncited(row["completion"][0]["content"])
    excerpts = [Excerpt(page, page.sections, 0) for page in map(own_page, _pages(row))]
    question = str(row["prompt"][-1]["content"])
    claims = await Check(excerpts, rarity, asked=question).claims(generated)
    verdicts = [claim.verdict for claim in claims if claim.verdict != "none"]
    supported = verdicts.count("supported") / len(verdicts) if verdicts else 1.0
    return token_f1(generated, reference) * supported


def _pages(row: dict[str, Any]) -> list[str]:
    """The texts of the pages in an example's prompt."""
    return PAGE.findall("\n".join(str(message["content"]) for message in row["prompt"][:-1]))


def _put(checkpoint: Path, adapter: Path) -> None:
    """Replace an adapter's weights atomically."""
    new = adapter.with_name("chosen.new")
    shutil.copyfile(checkpoint / WEIGHTS, new)
    new.replace(adapter / WEIGHTS)
    checkpoints.sync(adapter)
