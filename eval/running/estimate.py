"""Estimates the duration and cost of a run before its first question."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from core.errors import AskdocsError
from eval.report import cost
from eval.report.cost import Prices
from eval.running import measured, run
from eval.running.run import Run
from eval.systems.systems import METHODS, RECORDED, System, parse

# Tokens besides pages: the contract, the question, the alias's instructions.
BESIDE = 300


class Estimate(NamedTuple):
    """The estimate for a whole run."""

    answers: int
    prompt_tokens: int
    """Upper bound, as is `completion_tokens`."""
    completion_tokens: int
    dollars: float
    """Upper bound: as if every answer came from a service billed by the token."""
    seconds: float
    measured: int
    """Systems timed by an earlier run; the others are estimated from GPU prices in prices.toml."""
    systems: int


def estimate(new: Run, prices: Prices, earlier: Iterable[Path]) -> Estimate:
    """Estimate a run with all its questions; a resumed run's answers are not deducted.

    Args:
        new: the run.
        prices: prices of services and GPUs.
        earlier: folders of earlier runs.
    """
    known = _known(new, earlier)
    systems = [parsed for parsed in parse(new.systems) if parsed.method != RECORDED]
    questions = len(new.questions.ids)
    prompt = completion = 0
    seconds = 0.0
    for system in systems:
        reads, writes = _tokens(new, system)
        prompt += reads
        completion += writes
        busy = cost.gpu_seconds(reads, writes, prices)
        seconds += known.get(system.name, busy)
    return Estimate(
        answers=questions * len(systems),
        prompt_tokens=questions * prompt,
        completion_tokens=questions * completion,
        dollars=questions * cost.token_dollars(prompt, completion, prices),
        seconds=questions * seconds,
        measured=sum(system.name in known for system in systems),
        systems=len(systems),
    )


def _tokens(new: Run, system: System) -> tuple[int, int]:
    """Maximum prompt and completion tokens per question."""
    if system.method not in METHODS:
        return 0, 0
    pages = {"closed": 0, "rag": new.rag.budget if new.rag else 0}
    return BESIDE + pages.get(system.method, new.page_budget), new.max_tokens


def _known(new: Run, earlier: Iterable[Path]) -> dict[str, float]:
    """Seconds per question by system, from the newest runs with the same models and load."""
    newest_times: dict[str, tuple[float, float]] = {}
    for folder in earlier:
        try:
            old, took = run.read(folder), measured.read(folder).took
        except AskdocsError:
            continue
        made = old.provenance.made.timestamp()
        if (old.at_once, old.provenance.engine_model) != (
            new.at_once,
            new.provenance.engine_model,
        ):
            continue
        for name, usage in took.items():
            newest = newest_times.get(name, (0.0, 0.0))[0]
            if usage.questions and made > newest:
                newest_times[name] = made, usage.wall_s / usage.questions
    return {name: each for name, (_, each) in newest_times.items()}
