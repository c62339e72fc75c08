"""A dataset's folder as a run takes it, and the sizes of its base model."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from askdocs import environments
from askdocs.models import model
from core.errors import AskdocsError
from tests.parts import require
from tests.training import small
from training.data import dataset
from training.data.tokens import Tokens
from training.plan import shape

ROOT = Path(__file__).parent.parent.parent
INSTALL = ".venv/bin/python -m askdocs.environments train --home .cache/train"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small.dataset(tmp_path)


def test_a_dataset_is_read_with_the_tokens_of_its_examples(folder: Path) -> None:
    found = dataset.read(folder)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert len(found.lengths["train"]) == len(rows) == found.card["splits"]["train"]["examples"]
    first = rows[0]["meta"]
    assert found.lengths["train"][0] == first["tokens"] + first["answer_tokens"] + dataset.TEMPLATE


@pytest.mark.slow  # it needs the environment, for TRL's file
def test_the_tokens_of_a_chat_template_suffice_for_llama_3_1() -> None:
    """By TRL's template of it, and a tokenizer that takes each digit for itself."""
    home = Path(os.environ.get("TEST_TRAIN_HOME", ROOT / ".cache" / "train"))
    python = environments.find(environments.trainer(), home)
    require(python is not None, INSTALL)
    assert python is not None
    (file,) = python.parent.parent.glob("lib/*/site-packages/trl/chat_templates/llama3_1.jinja")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    turns = [{"role": role, "content": ""} for role in ("system", "user", "assistant")]
    template = environment.from_string(file.read_text())
    text = template.render(messages=turns, bos_token="<|begin_of_text|>")
    assert "Today Date: " in text
    special = re.compile(r"<\|\w+\|>")
    tokens = Tokens(Path(model.shipped().source)).count(special.split(text))
    assert 40 <= sum(tokens) + len(special.findall(text)) <= dataset.TEMPLATE


def test_rows_that_were_changed_by_hand_are_refused(folder: Path) -> None:
    file = folder / "validation.jsonl"
    file.write_text(file.read_text().replace("weeks", "days"))
    with pytest.raises(AskdocsError, match=r"validation\.jsonl: differs from card\.json"):
        dataset.read(folder)


def test_an_empty_split_is_refused(folder: Path) -> None:
    (folder / "validation.jsonl").write_text("")
    facts = json.loads((folder / "card.json").read_text())
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    facts["sha256"]["outputs"]["validation.jsonl"] = empty
    (folder / "card.json").write_text(json.dumps(facts))
    with pytest.raises(AskdocsError, match=r"validation\.jsonl: is empty: build the dataset again"):
        dataset.read(folder)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"sha256": 3}'])
def test_what_is_no_dataset_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "card.json").write_text(content)
    with pytest.raises(AskdocsError, match="name a folder that `askdocs dataset build` wrote"):
        dataset.read(tmp_path)


def config(**changes: Any) -> dict[str, Any]:
    """Of Llama 3.2 1B, whose config has no tie_word_embeddings where it is false."""
    known = {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    }
    return known | changes


def test_the_sizes_of_a_folder_are_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config()))
    assert shape.of_config(file).parameters == 1_235_814_400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not a model's config"),
        ("[]", "hidden_size is None: this architecture cannot be trained"),
        (json.dumps(config(intermediate_size=None)), "intermediate_size is None"),
        (json.dumps(config(num_attention_heads="8")), "num_attention_heads is '8'"),
    ],
)
def test_a_config_of_another_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(AskdocsError, match=said):
        shape.of_config(tmp_path / "config.json")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("no")
    with pytest.raises(AskdocsError, match=r"a\.gguf"):
        shape.of_gguf(tmp_path / "a.gguf")
