"""Checkpoints are chosen by their answers: what each answer counts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from askdocs.models import choosing
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import REFUSAL, render
from training.artefacts import answers
from training.data.examples import own_page
from training.plan import recipe as recipes
from training.tuning import checkpoints

PUMP = "# The pump\n\n## Filter\n\nReplace the filter of the pump every 14 weeks with a wrench.\n"
GOLD = "Replace the filter of the pump every 14 weeks [1]."
RECIPE = recipes.load("smollm2-135m-smoke").model_copy(update={"answers": 2})


def example(question: str, answer: str, kind: str = "grounded") -> dict[str, Any]:
    page = own_page(PUMP)
    prompt = render([Excerpt(page, page.sections, 0)], question)
    completion = [{"role": "assistant", "content": answer}]
    return {"prompt": prompt, "completion": completion, "meta": {"kind": kind}}


def scores(folder: Path, **said: tuple[str, str]) -> dict[str, float]:
    """Of checkpoints that say two answers each."""
    rows = [
        example("How often is the filter of the pump replaced?", GOLD),
        example("Who sells\u2028pumps?", REFUSAL, "refusal-unanswerable"),
    ]
    validation = folder / "validation.jsonl"
    # As `dataset build` writes it.
    validation.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    file = folder / choosing.ANSWERS
    lines = [
        {"checkpoint": name, "row": row, "answer": answer}
        for name, pair in said.items()
        for row, answer in enumerate(pair)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return choosing.scored(file, validation)


def test_who_refuses_everything_is_not_chosen(tmp_path: Path) -> None:
    found = scores(
        tmp_path,
        good=(GOLD, REFUSAL),
        refuses=(REFUSAL, REFUSAL),
        answers=(GOLD, "Bob sells pumps in hall 7."),
        wrong=("Replace the filter of the pump every 99 weeks.", REFUSAL),
    )
    assert found["good"] == 1
    assert found["refuses"] == found["answers"] == 0.5
    assert found["wrong"] == 0.5  # near the reference by its words, and no page supports it


def test_the_best_answers_take_the_place_of_the_lowest_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice is made once; without a wish for it the loss has chosen."""
    for step in (2, 4):
        checkpoint = tmp_path / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / choosing.WEIGHTS).write_text(f"step {step}")
        checkpoints.mark(checkpoint)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / choosing.WEIGHTS).write_text("step 4")
    scores(tmp_path, **{"checkpoint-2": (GOLD, REFUSAL), "checkpoint-4": (REFUSAL, REFUSAL)})
    asked: list[dict[str, Any]] = []

    def derive(python: Path, step: str, job: dict[str, Any], progress: object) -> dict[str, Any]:
        asked.append(job)
        return {}

    monkeypatch.setattr(choosing, "derive", derive)
    argv = (Path("python"), tmp_path, tmp_path, Path("base"))
    losses = {2: 2.0, 4: 1.0}
    plain = RECIPE.model_copy(update={"answers": 0})
    assert choosing.choose(*argv, plain, losses, lambda *_: None) is None
    choice = choosing.choose(*argv, RECIPE, losses, lambda *_: None)
    assert choice == {"step": 2, "scores": {"2": 1.0, "4": 0.5}}
    assert (tmp_path / "adapter" / choosing.WEIGHTS).read_text() == "step 2"
    assert choosing.choose(*argv, RECIPE, losses, lambda *_: None) == choice
    assert len(asked) == 1


def test_of_equally_good_answers_the_lowest_loss_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a model that has not learnt to answer: its first checkpoint is the base."""
    for step in (1, 2, 3):
        checkpoint = tmp_path / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / choosing.WEIGHTS).write_text(f"step {step}")
        checkpoints.mark(checkpoint)
    (tmp_path / "adapter").mkdir()
    same = ("What?", "What?")
    scores(tmp_path, **{f"checkpoint-{step}": same for step in (1, 2, 3)})
    monkeypatch.setattr(choosing, "derive", lambda *_: {})
    choice = choosing.choose(
        *(Path("python"), tmp_path, tmp_path, Path("base")),
        RECIPE,
        {1: 3.0, 2: 1.0, 3: 2.0},
        lambda *_: None,
    )
    assert choice is not None
    assert choice["step"] == 2


def test_fewer_answers_at_once_are_written_where_memory_is_lacking() -> None:
    asked: list[int] = []

    def write(some: Sequence[int]) -> list[list[int]]:
        asked.append(len(some))
        if len(some) > most:
            raise MemoryError
        return [[row] for row in some]

    most, freed = 2, list[None]()
    argv = (write, range(11), 8, MemoryError, lambda: freed.append(None))
    found = [row for some, said in answers.halving(*argv) for row in zip(some, said, strict=True)]
    assert found == [(row, [row]) for row in range(11)]
    assert asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert len(freed) == 2
    most = 0
    with pytest.raises(MemoryError):
        list(answers.halving(*argv))


def test_the_loss_chooses_where_memory_is_too_small_for_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / choosing.WEIGHTS).write_text("step 2")
    checkpoints.mark(checkpoint)
    monkeypatch.setattr(choosing, "derive", lambda *_: {"answers": 0, "problem": "out of memory"})
    argv = (Path("python"), tmp_path, tmp_path, Path("base"), RECIPE, {2: 1.0}, lambda *_: None)
    assert choosing.choose(*argv) == {"problem": "out of memory"}
    assert json.loads((tmp_path / choosing.CHOICE).read_text()) == {"problem": "out of memory"}


def test_answers_of_a_killed_run_are_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b'{"checkpoint": "checkpoint-2", "row": 7, "answer": "a"}\n{"checkpoint": "c')
    assert answers.there(file) == {("checkpoint-2", 7)}
    assert file.read_bytes().endswith(b"}\n")
    assert answers.there(tmp_path / "none") == set()
