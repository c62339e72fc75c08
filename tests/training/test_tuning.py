"""What a training run does before and beside its libraries: token ids, options, checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from training.plan import recipe as recipes
from training.plan.recipe import Recipe
from training.tuning import checkpoints, encode, options
from training.tuning.problem import Problem
from training.tuning.tell import Teller
from training.tuning.thin import thin

SCRIPT = Path(encode.__file__).parents[1] / "finetune.py"
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Llama 3's: it takes space away from the ends of a text, and has no line behind a turn.
LLAMA3 = (
    "<|begin|>{% for m in messages %}<|head|>{{ m.role }}\n\n{{ m.content | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|head|>assistant\n\n{% endif %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|begin|>", "<|head|>", "<|eot|>")


class Characters:
    """What is asked of a tokenizer of transformers: a token for each byte, a chat template."""

    name_or_path = "characters"

    def __init__(self, chat_template: str | None) -> None:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        self._tokens = Tokenizer(models.BPE({token: at for at, token in enumerate(alphabet)}, []))
        self._tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._tokens.decoder = decoders.ByteLevel()
        self._tokens.add_special_tokens([AddedToken(one) for one in SPECIAL])
        self.chat_template = chat_template

    def apply_chat_template(
        self, messages: list[dict[str, Any]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert self.chat_template is not None
        return jinja2.Template(self.chat_template, keep_trailing_newline=True).render(
            messages=messages, add_generation_prompt=add_generation_prompt
        )

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": self._tokens.encode(text, add_special_tokens=False).ids}

    def convert_ids_to_tokens(self, one: int) -> str:
        token = self._tokens.id_to_token(one)
        assert token is not None
        return token

    def decode(self, ids: list[int]) -> str:
        return self._tokens.decode(ids, skip_special_tokens=False)


def row(question: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "meta": {"kind": "grounded"},
    }


def split(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot|>")])
def test_an_example_is_the_prompt_the_answer_and_the_end_of_the_turn(
    tmp_path: Path, template: str, end: str
) -> None:
    tokenizer = Characters(template)
    (one,) = encode.encode(split(tmp_path, row("Why?", "Because.")), tokenizer, 100)
    asked = [{"role": "user", "content": "Why?"}]
    assert tokenizer.decode(one.prompt) == tokenizer.apply_chat_template(asked, False, True)
    assert tokenizer.decode(one.completion) == f"Because.{end}"
    assert one.row["input_ids"] == one.prompt + one.completion
    assert one.row["labels"] == [-100] * len(one.prompt) + one.completion


def test_an_example_that_is_too_long_is_named(tmp_path: Path) -> None:
    file = split(tmp_path, row("Why?", "So."), row("Why?", "Because of the weather."))
    _, long = encode.encode(file, Characters(LLAMA3), 1000)
    length = len(long.prompt) + len(long.completion)
    with pytest.raises(Problem, match=rf"train\.jsonl:2: has {length} tokens.*length = {length} "):
        encode.encode(file, Characters(LLAMA3), length - 1)
    assert len(encode.encode(file, Characters(LLAMA3), length)) == 2


def test_an_answer_that_the_template_changes_is_named(tmp_path: Path) -> None:
    file = split(tmp_path, row("Why?", "So."), row("Why?", " So."))
    with pytest.raises(Problem, match=r"train\.jsonl:2: the chat template changes .*' So\.'"):
        encode.encode(file, Characters(LLAMA3), 100)
    assert len(encode.encode(file, Characters(CHATML), 100)) == 2


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "characters: has no chat template"),
        ("{{ messages[0].content }}", "does not put the answer"),
        # Thinks before it answers, but not in what it has said.
        ("{% if add_generation_prompt %}<think>{% else %}a{% endif %}", "does not put the answer"),
    ],
)
def test_a_template_that_no_answer_can_follow_is_refused(template: str | None, said: str) -> None:
    with pytest.raises(Problem, match=said):
        encode.end_of_turn(Characters(template))


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9))), max_size=4),
    st.lists(st.tuples(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9))), max_size=4),
)
def test_only_the_same_examples_have_the_same_digest(left: list[Any], right: list[Any]) -> None:
    digests = {
        encode.digest([encode.Encoded(*one, "grounded") for one in some]) for some in (left, right)
    }
    assert (len(digests) == 1) == (left == right)


class Noted(dict[str, Any]):
    """A recipe that notes which of its keys are read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)


def test_every_key_of_a_recipe_reaches_a_library() -> None:
    recipe = Noted(recipes.load("llama31-8b-4xa10g").model_dump(mode="json"))
    lora = recipe["lora"] = Noted(recipe["lora"])
    options.load(recipe, "base")
    options.adapter(recipe)
    options.preference(recipe, Path("out"), True)
    # These are read by train() itself, or by what starts it.
    elsewhere = {
        *("base_model", "max_steps", "warmup_ratio", "eval_rows", "patience", "processes"),
        "evals_per_epoch",
        "refusals",
    }
    assert recipe.read | elsewhere == set(Recipe.model_fields)
    assert lora.read == set(recipes.Lora.model_fields)


@given(
    kinds=st.lists(st.sampled_from(["grounded", "closed-book", "refusal-unanswerable"])),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_no_more_than_their_share_are_refusals_and_every_answer_stays(
    kinds: list[str], share: float, seed: int
) -> None:
    stay = thin(kinds, share, seed)
    assert stay == sorted(set(stay))
    refusals = [place for place in stay if kinds[place].startswith("refusal-")]
    answers = [place for place, kind in enumerate(kinds) if not kind.startswith("refusal-")]
    assert sorted({*refusals, *answers}) == stay
    assert len(refusals) <= share * len(stay) + 1e-9
    whole = sum(kind.startswith("refusal-") for kind in kinds)
    # One more would be too many, or there is none left.
    assert len(refusals) == whole or len(refusals) + 1 > share * (len(stay) + 1)


@given(
    batches=st.integers(1, 5000),
    accumulation=st.integers(1, 64),
    epochs=st.floats(0.01, 20),
)
def test_the_steps_see_every_batch_of_every_epoch(
    batches: int, accumulation: int, epochs: float
) -> None:
    recipe = {"gradient_accumulation": accumulation, "epochs": epochs}
    steps = options.steps(recipe, batches)
    assert steps * accumulation >= batches * epochs - 1e-6
    assert steps < (batches / accumulation + 1) * epochs + 1


@given(
    evals=st.integers(1, 50),
    patience=st.integers(0, 20).map(lambda quarters: quarters / 4),
    epoch=st.integers(1, 5000),
    run=st.integers(1, 20000),
)
def test_evaluations_and_patience_are_counted_in_epochs(
    evals: int, patience: float, epoch: int, run: int
) -> None:
    recipe = {"evals_per_epoch": evals, "patience": patience}
    between = options.eval_steps(recipe, epoch, run)
    assert between >= 1
    # As many as asked for, and never twice as many, where the steps allow it.
    assert min(epoch, run) // between >= min(evals, epoch, run)
    assert between == 1 or min(epoch, run) / between < 2 * evals
    waited = options.eval_patience(recipe, epoch, run) * between
    assert patience * epoch <= waited + 1e-6
    assert waited < patience * epoch + between


def test_the_articles_run_is_evaluated_twelve_times_and_waits_two_epochs() -> None:
    recipe = recipes.load("llama31-8b-4xa10g").model_dump()
    epoch, run = 183, 549  # of 15,000 rows
    assert run // options.eval_steps(recipe, epoch, run) == 12
    assert options.eval_patience(recipe, epoch, run) * options.eval_steps(recipe, epoch, run) >= 366


def test_a_layer_that_is_not_there_is_named() -> None:
    recipe = {"lora": {"target_modules": ["q_proj", "gate_projj"]}}
    modules = ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.gate_proj", "lm_head"]
    (said,) = options.missing(recipe, modules)
    assert "'gate_projj'" in said
    assert said.endswith("choose from gate_proj, q_proj")


def checkpoint(folder: Path, number: int) -> Path:
    place = folder / f"checkpoint-{number}"
    place.mkdir()
    for name in ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json"):
        (place / name).write_text(f"{name} {number}")
    return place


@given(name=st.sampled_from(("optimizer.pt", "trainer_state.json", "whole.json")), data=st.data())
def test_a_checkpoint_of_which_anything_is_missing_is_not_whole(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = checkpoint(tmp_path_factory.mktemp("run"), 3)
    checkpoints.mark(place)
    assert checkpoints.is_whole(place)
    content = (place / name).read_bytes()
    length = data.draw(st.integers(0, len(content) - 1) | st.none())
    if length is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(content[:length])
    assert not checkpoints.is_whole(place)


def test_the_last_whole_checkpoint_is_gone_on_from_and_broken_ones_go(tmp_path: Path) -> None:
    assert checkpoints.last_whole(tmp_path) is None
    for number in (9, 10):
        checkpoints.mark(checkpoint(tmp_path, number))
    checkpoint(tmp_path, 11)  # killed before it was whole
    assert checkpoints.last_whole(tmp_path) == tmp_path / "checkpoint-10"
    checkpoints.remove_broken(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_what_follows_half_a_line_of_a_killed_run_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"event": "step", "st')
    read, write = os.pipe()
    teller = Teller(write, is_first=True)
    teller.keep(tmp_path)
    teller.tell("eval", step=1, loss=2.0)
    other = Teller(write, is_first=False)
    other.keep(tmp_path / "none")
    other.tell("eval", step=1, loss=9.0)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert lines[1:] == ['{"event": "eval", "step": 1, "loss": 2.0}']
    assert os.read(read, 1000).decode().splitlines() == lines[1:]


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "base").mkdir()
    return {
        "recipe": recipes.load("smollm2-135m-smoke").model_dump(mode="json"),
        "base": str(tmp_path / "base"),
        "data": str(tmp_path / "data"),
        "out": str(tmp_path / "out"),
        "resume": False,
        "max_steps": None,
    }


def problem(job: dict[str, Any], folder: Path) -> str:
    """What finetune.py says without its libraries."""
    (folder / "job.json").write_text(json.dumps(job))
    argv = [sys.executable, "-I", str(SCRIPT), str(folder / "job.json")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, env={})
    assert done.returncode == 1, done.stderr
    (event,) = map(json.loads, done.stdout.splitlines())
    assert event["event"] == "problem"
    assert "\n" not in event["message"]
    return str(event["message"])


def test_a_base_that_is_no_model_is_named(job: dict[str, Any], tmp_path: Path) -> None:
    assert problem(job, tmp_path).startswith(f"{job['base']}: has no config.json")


def test_a_run_is_never_written_over(job: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    assert "holds an unfinished run: resume it" in problem(job, tmp_path)
    (tmp_path / "out" / "training.json").touch()
    assert "this run is complete" in problem({**job, "resume": True}, tmp_path)


def test_mlflow_without_a_server_is_refused(job: dict[str, Any], tmp_path: Path) -> None:
    job["recipe"]["log_to"] = "mlflow"
    assert "set MLFLOW_TRACKING_URI" in problem(job, tmp_path)
