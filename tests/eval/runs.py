"""Runs of an evaluation with scripted systems, as `askdocs eval run` leaves them."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.questions.question import Question
from eval.running.answer import Answer
from eval.running.measured import Measured, Took
from eval.running.run import Model, Provenance, QuestionSet, Run, WikiRecord
from eval.statistics.contrasts import declared
from eval.systems.rag.settings import RagSettings
from gateway.answering.grounding.prompt import REFUSAL, fingerprint

TYPES = ("how", "what", "where", "yes-no")


@dataclass(frozen=True)
class Behaviour:
    """What a system does."""

    accuracy: float = 0.6
    """Of what it does not refuse."""
    false_refusals: float = 0.05
    true_refusals: float = 0.7
    contaminated_accuracy: float | None = None
    """On contaminated questions; None: as on all others."""
    seconds: float = 1.0
    """Of an answer, in the middle."""
    first_sentence: bool = False
    """It says what `first-sentence` says."""
    fails: float = 0.0


def questions(
    answerable: int = 150, unanswerable: int = 60, contaminated: int = 0
) -> list[Question]:
    """The contaminated ones come on top of the answerable ones."""
    found = []
    for number in range(answerable + unanswerable + contaminated):
        there = number < answerable or number >= answerable + unanswerable
        found.append(
            Question(
                id=f"q{number}",
                line=number + 1,
                text=f"How is valve {number} opened?",
                answer=f"Turn the valve {number} left until it clicks {number * 7} times."
                if there
                else "",
                answerable=there,
                pages=(f"valve-{number}.md",) if there else (),
                type=TYPES[number % len(TYPES)],
                page_tokens=200 * (number % 30) if there else None,
                contaminated=number >= answerable + unanswerable,
            )
        )
    return found


def answer(name: str, asked: Question, does: Behaviour, luck: random.Random) -> Answer:
    """What it says, with all that is measured of it."""
    draw = [luck.random() for _ in range(6)]
    accuracy = does.accuracy
    if asked.contaminated and does.contaminated_accuracy is not None:
        accuracy = does.contaminated_accuracy
    refuses = draw[0] < (does.false_refusals if asked.answerable else does.true_refusals)
    # Hard questions are hard for everyone: half of the answers of two systems go together.
    hard = random.Random(asked.id).random() if draw[1] < 0.5 else draw[2]
    right = asked.answerable and hard < accuracy
    text = f"Nobody could say which lever {luck.random()} belongs here."
    if does.first_sentence:
        common = random.Random(f"first {asked.id}").random() < 0.3
        text = asked.answer if asked.answerable and common else f"Welcome to page {asked.id}."
    elif refuses:
        text = REFUSAL
    elif right:
        text = f"Certainly. {asked.answer}"
    other = f"valve-{int(draw[2] * 1000) + 1000}.md"
    pages = (asked.pages[0], other) if asked.pages and draw[3] < 0.5 else (other, *asked.pages)
    seconds = does.seconds * (0.5 + draw[4]) * (1 if draw[5] < 0.97 else 3)
    failed = luck.random() < does.fails
    trivial = name in ("first-sentence", "best-overlap", "always-refuse")
    return Answer(
        system=name,
        question=asked.id,
        text="" if failed else text,
        error="the engine went away" if failed else "",
        prompt_pages=pages if "closed" not in name else (),
        found_pages=pages if "closed" not in name else (),
        cited_pages=pages[:1] if "closed" not in name and text != REFUSAL else (),
        confidence=None if trivial else min(1.0, 0.35 + 0.4 * right + 0.2 * draw[2]),
        prompt_tokens=0 if trivial else 1200,
        completion_tokens=0 if trivial else 60,
        retrieval_s=0.02,
        first_token_s=None if trivial else seconds * 0.4,
        total_s=0.001 if trivial else seconds,
    )


def write(
    folder: Path,
    systems: Mapping[str, Behaviour],
    asked: list[Question] | None = None,
    seed: int = 1,
    tuned: str = "docs@v1",
    trained: str | None = "d" * 64,
    manifest: str | None = None,
    change: Callable[[Answer], Answer] = lambda one: one,
) -> Path:
    """A whole run in a folder. `trained` and `manifest` are hashes of what the tuned model learnt
    from and of its version; `change` may rewrite each answer."""
    asked = questions() if asked is None else asked
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "questions.jsonl").write_text(
        "".join(one.model_dump_json() + "\n" for one in asked), encoding="utf-8"
    )
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        for name, does in systems.items():
            luck = random.Random(f"{seed} {name}")
            for one in asked:
                file.write(change(answer(name, one, does, luck)).model_dump_json() + "\n")
    models = {
        "base": Model(named="base", name="base", context=8192),
        "tuned": Model(named="tuned", name=tuned, context=8192, manifest_sha256=manifest),
    }
    run = Run(
        questions=QuestionSet(
            file="qa_pairs.jsonl",
            sha256="a" * 64,
            split="test",
            seed=seed,
            ids=tuple(one.id for one in asked),
            trained_sha256=trained,
        ),
        wiki=WikiRecord(name="valves", pages=len(asked), sha256="b" * 64),
        systems=tuple(systems),
        contrasts=declared(list(systems)),
        models=models,
        alias="docs",
        page_budget=1500,
        max_tokens=200,
        at_once=2,
        rag=RagSettings(),
        prompt_fingerprint=fingerprint(),
        provenance=Provenance(
            made=datetime(2026, 1, 2, tzinfo=UTC),
            commit=f"{'c' * 40}-dirty",
            versions={"python": "3.11", "lancedb": "0.3"},
            engine="llama.cpp",
            engine_model="<tiny> & co",
            machine={"system": "Linux", "cores": 2, "memory": 2**34, "gpus": []},
        ),
    )
    (folder / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    took = {name: Took(questions=len(asked), wall_s=10.0, engine_s=9.8) for name in systems}
    measured = Measured(
        took=took,
        engine_bytes={"base-rag": 2**30},
        gpu_bytes={"tuned-pages": 15 * 2**30},
        index_bytes={"pages": 2**20},
    )
    (folder / "measured.json").write_text(measured.model_dump_json(), encoding="utf-8")
    return folder


def labels(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
