"""Defines recipes: TOML files that describe a training run completely; unknown keys are errors.

The bundled recipes are in training/recipes/; docs/reference/training.md explains the keys.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core.errors import AskdocsError, together
from core.settings import line_of

FOLDER = Path(__file__).parents[1] / "recipes"
SUFFIX = ".toml"
# The seven linear layers of a Llama block.
Linear = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEAR: tuple[Linear, ...] = get_args(Linear)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Lora(_Table):
    """The adapter to train."""

    r: int = Field(64, ge=1, description="Rank of the adapter.")
    alpha: int = Field(128, ge=1, description="The adapter's weight is `alpha / r`.")
    rslora: bool = Field(
        False, description="The adapter's weight is `alpha / sqrt(r)` instead (rsLoRA)."
    )
    dropout: float = Field(
        0.05, ge=0, lt=1, description="Share of the adapter's inputs that is dropped."
    )
    target_modules: tuple[Linear, ...] = Field(
        LINEAR, strict=False, description="Layers of a block that get an adapter."
    )

    @field_validator("target_modules")
    @classmethod
    def _not_empty(cls, names: tuple[Linear, ...]) -> tuple[Linear, ...]:
        if not names:
            raise ValueError("name at least one layer")
        return names


class Preference(_Table):
    """The second stage: DPO on pairs of answers."""

    beta: float = Field(
        0.1, gt=0, description="How close the answers stay to those of the first stage."
    )
    learning_rate: float = Field(5e-6, gt=0, description="Peak learning rate.")
    epochs: float = Field(1, gt=0, description="How often each pair is used.")


class Recipe(_Table):
    """All parameters of a run except its dataset. A step is an optimiser step."""

    base_model: str = Field(
        min_length=1,
        description="Model to start from: `SmolLM2-135M-Instruct` (bundled), a GGUF file, a"
        " Hugging Face folder or a hub id.",
    )
    max_length: int = Field(
        8192, ge=16, description="Maximum tokens of an example, prompt and answer together."
    )
    refusals: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Maximum share of refusals among the training examples; 1.0: all refusals of "
        "the dataset.",
    )
    epochs: float = Field(3, gt=0, description="How often each example is used.")
    max_steps: int | None = Field(None, ge=1, description="Maximum number of steps.")
    batch_size: int = Field(2, ge=1, description="Examples per batch, in each process.")
    gradient_accumulation: int = Field(4, ge=1, description="Batches per step.")
    packing: bool = Field(True, description="Pack several examples into one row of a batch.")
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="How the learning rate falls: linear, cosine or constant."
    )
    warmup_ratio: float = Field(
        0.03, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    optimizer: Literal["adamw_torch", "adamw_8bit"] = Field(
        "adamw_torch", description="adamw_torch, or adamw_8bit on a GPU."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(
        1.0, gt=0, description="Maximum norm of gradients; larger gradients are clipped."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Data type of the weights and activations: bfloat16, float32, or auto: bfloat16"
        " on GPUs and processors with AMX, float32 elsewhere.",
    )
    load_in_4bit: bool = Field(False, description="Keep the base model in 4 bits (GPU only).")
    gradient_checkpointing: bool = Field(
        True, description="Recompute activations instead of storing them."
    )
    evals_per_epoch: int = Field(
        4,
        ge=1,
        description="Evaluations in an epoch, or in the whole run where it is shorter; each saves a"
        " checkpoint.",
    )
    eval_rows: int | None = Field(
        None, ge=1, description="Maximum number of validation examples per evaluation."
    )
    answers: int = Field(
        0,
        ge=0,
        description="Validation examples that every checkpoint answers at the end, to choose the "
        "best checkpoint by its answers; 0: choose by the loss.",
    )
    patience: float = Field(
        2, ge=0, description="Epochs without a lower loss after which training stops; 0: never."
    )
    seed: int = Field(
        0, ge=0, description="Random seed of the adapter, of dropout and of the order of examples."
    )
    processes: int = Field(1, ge=1, description="Number of processes, each with its own GPU.")
    log_to: Literal["none", "tensorboard", "mlflow"] = Field(
        "none",
        description="Where curves are logged, besides events.jsonl: none, tensorboard or mlflow.",
    )
    lora: Lora = Field(Lora(), description="The adapter.")
    preference: Preference = Field(Preference(), description="The second stage.")

    @property
    def examples_per_step(self) -> int:
        """Batch rows per step; with packing a row holds several examples."""
        return self.batch_size * self.gradient_accumulation * self.processes

    def settled(self, prefers_bfloat16: bool) -> "Recipe":
        """Replace dtype `auto` by the faster dtype on this machine."""
        faster: Literal["bfloat16", "float32"] = "bfloat16" if prefers_bfloat16 else "float32"
        dtype = faster if self.dtype == "auto" else self.dtype
        return self.model_copy(update={"dtype": dtype})


def names() -> list[str]:
    """Names of the bundled recipes."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def load(name: str) -> Recipe:
    """Load a bundled recipe by name, or a file (`*.toml`).

    Raises:
        AskdocsError: it does not exist, or a key or a value is invalid; with file and line.
    """
    file = Path(name) if name.endswith(SUFFIX) else FOLDER / f"{name}{SUFFIX}"
    if not name.endswith(SUFFIX) and name not in names():
        raise AskdocsError(
            f"--recipe {name!r}: no such recipe: choose from {', '.join(names())}, or name a file "
            f"(*{SUFFIX})"
        )
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): choose from {', '.join(names())}, or "
            "name another file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AskdocsError(f"{file}: is not TOML: {error}") from None
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise together([_problem(file, problem) for problem in error.errors()]) from None


def _problem(file: Path, error: Any) -> str:
    keys = [str(part) for part in error["loc"]]
    line = line_of(file, *keys)
    where = f"{file}:{line}" if line else str(file)
    key = ".".join(keys)
    if error["type"] == "missing":
        return f"{file}: {key} is missing: add it"
    if error["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {"lora": Lora, "preference": Preference}
        model = tables.get(keys[0], Recipe)
        return f"{where}: {key}: no such key; known keys are {', '.join(model.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {key} = {error['input']!r}: {message}"
