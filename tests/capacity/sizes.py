"""Plans for the tests, of models in the table."""

from askdocs.capacity import models
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import GPUS
from askdocs.capacity.setup import Setup

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def setup(
    model: str = LLAMA,
    gpu: str = "a10g",
    *,
    gpus: int = 1,
    quantization: str | None = None,
    context: int = 32_768,
    adapters: int = 0,
    **assumed: float,
) -> Setup:
    shape = models.find(model, online=False).shape
    taken = Assumptions.model_validate(assumed)
    return Setup(shape, GPUS[gpu], gpus, quantization, context, adapters, taken)
