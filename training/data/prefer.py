"""Builds pairs of answers in TRL's format, for DPO after fine-tuning.

Prompts are rendered as the gateway would send them now.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from eval.questions.rows import Row
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.prompt import REFUSAL, render
from training.data.support import cite, claims, uncited

PAIRS = "pairs.jsonl"  # read by training/tuning/preference.py


class Opinion(NamedTuple):
    """An answer and its rating."""

    cluster: str
    """Cluster of questions with the same meaning, as in training rows; "": unknown."""
    question: str
    answer: str
    """Empty: a refusal."""
    page: str
    """Path of the answer's source page, if the writer gives it."""
    is_good: bool


class Preferences(NamedTuple):
    """Pairs for TRL's DPOTrainer."""

    pairs: list[dict[str, Any]]
    """`prompt`, `chosen`, `rejected`."""
    learnt: list[Row]
    """The questions of these pairs: a model trained on them knows them."""
    unpaired: int
    """Questions left out: they lack a good or a bad answer."""
    not_found: int
    """Questions left out: the gateway finds no page, or not the page of the writer's answer."""


def prefer(
    opinions: Iterable[Opinion],
    grounding: Grounding,
    runner: asyncio.Runner,
    budget: int,
    instructions: str,
) -> Preferences:
    """The pairs of all questions.

    Args:
        opinions: grouped by question, in any order within it.
        grounding: the gateway's.
        runner: runs its coroutines.
        budget: token budget for pages in a prompt.
        instructions: the alias's.
    """
    by_question: dict[str, list[Opinion]] = defaultdict(list)
    for opinion in opinions:
        by_question[opinion.question].append(opinion)
    pairs: list[dict[str, Any]] = []
    learnt: list[Row] = []
    unpaired = not_found = 0
    for question, given in by_question.items():
        grounds = runner.run(grounding.ground(question, budget))
        there = {part.page.path for part in grounds.excerpts}
        if not there or any(opinion.page and opinion.page not in there for opinion in given):
            not_found += 1
            continue
        good, bad = (
            list(
                dict.fromkeys(
                    _completion(opinion, grounds.excerpts, grounding, runner)
                    for opinion in given
                    if opinion.is_good == wanted
                )
            )
            for wanted in (True, False)
        )
        both = set(good) & set(bad)  # readers disagree: no evidence either way
        good, bad = ([answer for answer in part if answer not in both] for part in (good, bad))
        if not (good and bad):
            unpaired += 1
            continue
        prompt = render(grounds.excerpts, question, instructions=instructions)
        learnt.append(Row(len(learnt) + 1, question, "", cluster=given[0].cluster))
        pairs.extend(
            {"prompt": prompt, "chosen": _message(chosen), "rejected": _message(rejected)}
            for chosen, rejected in product(good, bad)
        )
    return Preferences(pairs, learnt, unpaired, not_found)


def _completion(
    opinion: Opinion, excerpts: Sequence[Excerpt], grounding: Grounding, runner: asyncio.Runner
) -> str:
    """The answer with this prompt's section numbers."""
    answer = uncited(opinion.answer.strip())
    if not answer:
        return REFUSAL
    checked = claims(runner, answer, excerpts, grounding.index.idf, opinion.question)
    return neutral(cite(answer, checked, excerpts))


def _message(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
