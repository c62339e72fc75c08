"""The assumptions behind a plan, which can be changed with `--assume NAME=VALUE` or a file."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from askdocs.capacity.gpus import GPUS, Gpu
from gateway.core.errors import AskdocsError

M = TypeVar("M", bound=BaseModel)
# Larger numbers are typing errors, and might overflow the plan.
LEAST, MOST = 1e-6, 1e9
# Tokens per draft, and lengths of the n-grams that find it: the best measured
# (docs/results/notebook.md#speculative-decoding-by-n-grams).
DRAFT, GRAMS = 8, (2, 5)


class Assumptions(BaseModel):
    """The defaults, each with its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu_memory_utilization: float = Field(
        0.90, gt=0, le=1, description="Share of GPU memory that vLLM uses."
    )
    max_num_batched_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens per scheduler step; vLLM's default for the GPU when not set.",
    )
    max_num_seqs: int | None = Field(
        None, ge=1, description="Concurrent answers; vLLM's default for the GPU when not set."
    )
    block_size: int = Field(16, ge=1, description="Tokens per KV cache block; vLLM's default.")
    weight_bits: float | None = Field(
        None,
        gt=0,
        description="Bits per weight of the blocks; from the model's config when not set.",
    )
    other_gib: float = Field(
        0.1, ge=0, description="CUDA's own memory outside PyTorch; vLLM's logs show 0.05."
    )
    nccl_gib: float = Field(
        0.5, ge=0, description="CUDA memory for communication between GPUs that share a model."
    )
    graph_mib: float = Field(
        14.8,
        ge=0,
        description="CUDA graphs, for each layer: 0.52 GiB of Qwen3-8B's 36 in vLLM 0.21"
        " (github.com/LMCache/LMCache/issues/3430).",
    )
    logit_bytes: float = Field(
        8, ge=0, description="Sampling memory per answer and vocabulary entry."
    )
    lora_rank: int = Field(64, ge=1, description="Rank of each adapter slot.")
    bandwidth_efficiency: float = Field(
        0.75, gt=0, le=1, description="Share of memory bandwidth used while decoding."
    )
    compute_efficiency: float = Field(
        0.5, gt=0, le=1, description="Share of the tensor cores' peak used during prefill."
    )
    tensor_parallel_efficiency: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of each GPU's speed that remains when several share a model.",
    )
    prompt_tokens: int = Field(
        4000,
        ge=1,
        description="Tokens of a typical question with its pages; `eval report` shows yours.",
    )
    answer_tokens: int = Field(250, ge=1, description="Tokens of a typical answer.")
    cached: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of prompts in the prefix cache; `askdocs status` shows yours.",
    )
    tokens_per_step: float = Field(
        1,
        ge=1,
        le=DRAFT + 1,
        description="Tokens written per decoding step; above 1 vLLM drafts them by n-grams: 2.3 for"
        " a writer trained with `dataset build --quote`, 1.2 for others.",
    )
    stream_rate: float = Field(
        10, gt=0, description="Minimum tokens per second for every reader; people read about 5."
    )
    utilisation: float = Field(
        0.7, gt=0, le=1, description="Share of the highest rate to use, so that queues stay short."
    )
    questions_a_day: float = Field(10, gt=0, description="Questions per user and day.")
    busy_hours: float = Field(
        8, gt=0, le=24, description="Hours of a day in which questions are asked."
    )
    peak: float = Field(
        3, ge=1, description="Ratio of the peak rate to the average of those hours."
    )
    parallel: int = Field(2, ge=1, description="Concurrent answers of the embedded engine.")

    @field_validator("*")
    @classmethod
    def _of_this_world(cls, value: float | None) -> float | None:
        if value and not LEAST <= value <= MOST:
            raise PydanticCustomError("bounds", f"write a number from {LEAST:f} to {MOST:,.0f}")
        return value


def read(given: Sequence[str] = (), file: Path | None = None) -> tuple[Assumptions, dict[str, Gpu]]:
    """The assumptions and GPUs, with changes from a file and `NAME=VALUE`.

    Raises AskdocsError: a name is unknown, a value is invalid, or a file cannot be read.
    """
    values: dict[str, Any] = {}
    gpus = dict(GPUS)
    if file is not None:
        values = _tables(file)
        for name, facts in values.pop("gpus", {}).items():
            before = gpus[name].model_dump() if name in gpus else {}
            gpus[name] = _valid(Gpu, {**before, **facts}, f"{file}: gpus.{name}.")
        values = _valid(Assumptions, values, f"{file}: ").model_dump(exclude_unset=True)
    for assumption in given:
        name, _, value = assumption.partition("=")
        values[name.strip()] = value.strip()
    return _valid(Assumptions, values, "--assume "), gpus


def _tables(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror}): name another") from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not TOML ({error}): correct it") from None


def _valid(model: type[M], values: dict[str, Any], where: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(model.model_fields)
        reason = problem["msg"]
        if problem["type"] == "extra_forbidden":
            reason = f"unknown name; known names are {known}"
        raise AskdocsError(f"{where}{name} = {problem['input']!r}: {reason}") from None
