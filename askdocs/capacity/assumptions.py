"""The assumptions behind a plan, which can be changed with `--assume NAME=VALUE`."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from core.errors import AskdocsError

# Larger numbers are typing errors, and might overflow the plan.
LEAST, MOST = 1e-6, 1e9


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

    @field_validator("*")
    @classmethod
    def _of_this_world(cls, value: float | None) -> float | None:
        if value and not LEAST <= value <= MOST:
            raise PydanticCustomError("bounds", f"write a number from {LEAST:f} to {MOST:,.0f}")
        return value


def read(given: Sequence[str] = ()) -> Assumptions:
    """The assumptions, with changes by `NAME=VALUE`. Raises AskdocsError: a name or value is not
    valid."""
    values = {
        name.strip(): value.strip() for name, _, value in (one.partition("=") for one in given)
    }
    try:
        return Assumptions.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(Assumptions.model_fields)
        reason = problem["msg"]
        if problem["type"] == "extra_forbidden":
            reason = f"unknown name; known names are {known}"
        raise AskdocsError(f"--assume {name} = {problem['input']!r}: {reason}") from None
