"""The sizes of a model that matter for training, read without loading weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from training.artefacts.convert import ConversionError, config_json


@dataclass(frozen=True)
class Shape:
    """A Llama model's sizes, named as in its config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of a block."""
        query = self.num_attention_heads * self.head_dim
        value = self.num_key_value_heads * self.head_dim
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, query),
            "k_proj": (hidden, value),
            "v_proj": (hidden, value),
            "o_proj": (query, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Parameters in the linear layers of all blocks, which 4-bit loading shrinks."""
        return self.num_hidden_layers * sum(i * o for i, o in self.linear.values())

    @property
    def other_parameters(self) -> int:
        """Embeddings and norms."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.hidden_size * (2 * self.num_hidden_layers + 1)

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters


# Known here so that a run can be planned offline, or before accepting a gated model's terms.
KNOWN = {
    "meta-llama/Llama-3.1-8B-Instruct": Shape(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=128256,
        max_position_embeddings=131072,
        tie_word_embeddings=False,
    ),
    "Qwen/Qwen3-4B-Instruct-2507": Shape(
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151936,
        max_position_embeddings=262144,
        tie_word_embeddings=True,
    ),
    "HuggingFaceTB/SmolLM3-3B": Shape(
        hidden_size=2048,
        intermediate_size=11008,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=4,
        head_dim=128,
        vocab_size=128256,
        max_position_embeddings=65536,
        tie_word_embeddings=True,
    ),
}


def of_config(file: Path) -> Shape:
    """Read the config.json of a Hugging Face folder.

    Raises:
        AskdocsError: it cannot be read, or the architecture is not Llama.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AskdocsError(
            f"{file}: is not a model's config ({error}): name another base_model"
        ) from None
    return _shape(file, config if isinstance(config, dict) else {})


def of_gguf(file: Path) -> Shape:
    """Read a GGUF model. Raises AskdocsError: it cannot be read, or the architecture is not
    Llama."""
    try:
        return _shape(file, config_json(file))
    except (OSError, ConversionError) as error:
        raise AskdocsError(f"base_model: {error}") from None


def _shape(file: Path, config: Mapping[str, Any]) -> Shape:
    given = {key: value for key, value in config.items() if value is not None}
    heads, hidden = given.get("num_attention_heads", 1), given.get("hidden_size", 0)
    values = {"num_key_value_heads": heads, "tie_word_embeddings": False, **given}
    wanted = [field.name for field in fields(Shape)]
    if "head_dim" not in given and isinstance(heads, int) and isinstance(hidden, int):
        values["head_dim"] = hidden // max(1, heads)
    for key in wanted:
        if not isinstance(values.get(key), int):
            raise AskdocsError(
                f"{file}: {key} is {values.get(key)!r}: this architecture cannot be trained; name "
                "a base_model of the Llama family"
            )
    return Shape(**{key: values[key] for key in wanted})
