"""Defines recipes: TOML files that describe a training run completely; unknown keys are errors.

The bundled recipes are in training/recipes/; docs/reference/training.md explains the keys.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.core.errors import AskdocsError, together
from gateway.core.settings import line_of

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
    alpha: int = Field(128, ge=1, description="The adapter counts `alpha / r` times.")
    rslora: bool = Field(
        False, description="The adapter counts `alpha / sqrt(r)` times instead (rsLoRA)."
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="Share of its inputs that is dropped.")
    target_modules: tuple[Linear, ...] = Field(
        LINEAR, strict=False, description="Layers of a block that get one."
    )

    @field_validator("target_modules")
    @classmethod
    def _not_empty(cls, names: tuple[Linear, ...]) -> tuple[Linear, ...]:
        if not names:
            raise ValueError("name at least one layer")
        return names


class Preference(_Table):
    """The second stage: DPO on pairs of answers."""

    beta: float = Field(0.1, gt=0, description="How near the answers stay to the first stage's.")
    learning_rate: float = Field(5e-6, gt=0, description="At its highest.")
    epochs: float = Field(1, gt=0, description="How often each pair is seen.")


class Recipe(_Table):
    """All parameters of a run except its dataset. A step is an optimiser step."""

    base_model: str = Field(
        min_length=1,
        description="Model to start from: `SmolLM2-135M-Instruct` (bundled), a GGUF file, a"
        " Hugging Face folder or a hub id.",
    )
    max_length: int = Field(
        8192, ge=16, description="Tokens of an example at most, prompt and answer together."
    )
    refusals: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Refusals among the examples of training at most, a share; 1.0: all that the"
        " dataset has.",
    )
    epochs: float = Field(3, gt=0, description="How often each example is seen.")
    max_steps: int | None = Field(None, ge=1, description="End after so many steps at the latest.")
    batch_size: int = Field(2, ge=1, description="Examples at once, in each process.")
    gradient_accumulation: int = Field(4, ge=1, description="Batches of a step.")
    packing: bool = Field(True, description="Put several examples into one row of a batch.")
    learning_rate: float = Field(2e-4, gt=0, description="At its highest.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="How the learning rate falls: linear, cosine or constant."
    )
    warmup_ratio: float = Field(
        0.03, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    optimizer: Literal["adamw_torch", "adamw_8bit"] = Field(
        "adamw_torch", description="adamw_torch, or adamw_8bit on a GPU."
    )
    weight_decay: float = Field(0.0, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are cut to it.")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Numbers of the weights and activations: bfloat16, float32, or auto: bfloat16"
        " on GPUs and processors with AMX, float32 elsewhere.",
    )
    load_in_4bit: bool = Field(False, description="Keep the base model in 4 bits (GPU only).")
    gradient_checkpointing: bool = Field(
        True, description="Compute activations twice instead of keeping them."
    )
    evals_per_epoch: int = Field(
        4,
        ge=1,
        description="Evaluations in an epoch, or in the whole run where it is shorter; each saves a"
        " checkpoint.",
    )
    eval_rows: int | None = Field(
        None, ge=1, description="Validation examples that an evaluation takes at most."
    )
    answers: int = Field(
        0,
        ge=0,
        description="Validation examples that every checkpoint answers in the end, to choose the"
        " best one by its answers; 0: the loss chooses.",
    )
    patience: float = Field(
        2, ge=0, description="Epochs without a lower loss after which it ends; 0: never."
    )
    seed: int = Field(0, ge=0, description="Of the adapter, of dropout, of the order of examples.")
    processes: int = Field(1, ge=1, description="Processes, each with a GPU of its own.")
    log_to: Literal["none", "tensorboard", "mlflow"] = Field(
        "none", description="Where curves go beside events.jsonl: none, tensorboard or mlflow."
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
            f"--recipe {name!r}: no recipe of that name: choose of {', '.join(names())},"
            f" or name a file (*{SUFFIX})"
        )
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): choose of {', '.join(names())},"
            " or name another file"
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
        return f"{where}: {key}: no such key; there are {', '.join(model.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {key} = {error['input']!r}: {message}"
