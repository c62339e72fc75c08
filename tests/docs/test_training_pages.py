"""The pages of training say what the code says."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.headings import below
from training.plan import recipe
from training.plan.recipe import Lora, Preference, Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("table", "anchor"),
    [
        (Recipe, "keys-of-a-recipe"),
        (Lora, "keys-of-the-adapter"),
        (Preference, "keys-of-the-second-stage"),
    ],
)
def test_every_key_of_a_recipe_has_its_row(table: type[BaseModel], anchor: str) -> None:
    section = re.split("\n##+ ", below(DOCS / "reference/training.md", anchor))[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    assert [tuple(row) for row in rows] == [
        (f"`{name}`", shown(field.default), field.description)
        if not field.is_required()
        else (f"`{name}`", "required", field.description)
        for name, field in table.model_fields.items()
        if name not in ("lora", "preference")
    ]


def shown(default: object) -> str:
    if default is None:
        return "not set"
    return "all seven" if default == recipe.LINEAR else f"`{json.dumps(default)}`"


def test_every_recipe_that_comes_along_has_its_row() -> None:
    lines = (DOCS / "tutorials/training.md").read_text(encoding="utf-8").splitlines()
    named = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert sorted(named) == recipe.names()
