"""Recipes: the six bundled ones, and the messages about a wrong one."""

import tomllib
from pathlib import Path

import pytest

from core.errors import AskdocsError
from training.plan import recipe
from training.plan.recipe import Lora, Preference, Recipe


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def test_the_published_recipe_is_the_design() -> None:
    one = recipe.load("llama31-8b-4xa10g")
    assert one.lora == Lora(r=64, alpha=128, dropout=0.05, target_modules=recipe.LINEAR)
    assert (one.learning_rate, one.epochs, one.max_length) == (2e-4, 3, 8192)
    assert (one.batch_size, one.gradient_accumulation, one.processes) == (2, 4, 4)
    assert one.load_in_4bit
    assert one.packing
    assert one.patience > 0


def test_one_gpu_takes_the_same_steps_as_four() -> None:
    four, one = recipe.load("llama31-8b-4xa10g"), recipe.load("llama31-8b-1gpu")
    assert one.examples_per_step == four.examples_per_step
    same = {"gradient_accumulation": 4, "processes": 4}
    assert one.model_copy(update=same) == four


@pytest.mark.parametrize("name", ["qwen3-4b-1gpu", "smollm3-3b-1gpu"])
def test_other_families_take_the_same_steps(name: str) -> None:
    """So that a difference between two versions is the base model's."""
    one, llama = recipe.load(name), recipe.load("llama31-8b-1gpu")
    assert one.model_copy(update={"base_model": llama.base_model}) == llama


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_that_comes_along_says_every_key(name: str) -> None:
    table = tomllib.loads((recipe.FOLDER / f"{name}.toml").read_text())
    assert {*table} >= {*Recipe.model_fields} - {"max_steps", "eval_rows"}
    assert {*table["lora"]} == {*Lora.model_fields}
    assert {*table["preference"]} == {*Preference.model_fields}
    assert recipe.load(name).model_dump(exclude_none=True, mode="json") == table


def test_a_name_that_is_unknown_gets_the_names() -> None:
    with pytest.raises(AskdocsError, match=r"'smollm'.*smollm2-135m-cpu, smollm2-135m-smoke"):
        recipe.load("smollm")


def test_a_file_of_its_own_needs_a_base_model_and_has_the_published_values(tmp_path: Path) -> None:
    one = recipe.load(written(tmp_path, 'base_model = "owner/name"\nlora.r = 16\n'))
    assert (one.base_model, one.lora.r, one.lora.alpha) == ("owner/name", 16, 128)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 1\n", "mine.toml: base_model is missing: add it"),
        (
            'base_model = "a"\n\nrank = 4\n',
            "mine.toml:3: rank: no such key; known keys are base_model",
        ),
        (
            'base_model = "a"\n[lora]\nrank = 4\n',
            "mine.toml:3: lora.rank: no such key; known keys are",
        ),
        ('base_model = "a"\n[lora]\n\nr = 0\n', "mine.toml:4: lora.r = 0: input should be greater"),
        ('base_model = "a"\nepochs = "3"\n', "mine.toml:2: epochs = '3': input should be a valid"),
        ('base_model = "a"\nbatch_size = true\n', "mine.toml:2: batch_size = True: input should"),
        ('base_model = "a"\nschedule = "step"\n', "mine.toml:2: schedule = 'step': input should"),
        (
            'base_model = "a"\nlora.target_modules = ["x_proj"]\n',
            "lora.target_modules.0 = 'x_proj'",
        ),
        ('base_model = "a"\nlora.target_modules = []\n', "lora.target_modules = []: name at"),
        ('base_model = "a"\nlora = 3\n', "mine.toml:2: lora = 3: input should be a valid"),
        ('base_model = "a\n', "mine.toml: is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_line_key_and_value(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(AskdocsError) as caught:
        recipe.load(written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError) as caught:
        recipe.load(written(tmp_path, 'base_model = "a"\nepochs = 0\nseed = -1\n'))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "epochs = 0",
        "seed = -1",
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AskdocsError, match=r"none\.toml: cannot be read \(No such file"):
        recipe.load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_survives_json(name: str) -> None:
    one = recipe.load(name)
    assert Recipe.model_validate_json(one.model_dump_json()) == one
