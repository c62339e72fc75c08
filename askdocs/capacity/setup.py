"""A setup for serving a model: GPUs, quantisation and context length."""

from dataclasses import dataclass
from math import ceil

from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import Gpu
from askdocs.capacity.shape import BITS, Shape

GIB = 2**30
# Tokens per cache block: vLLM's default on a GPU.
BLOCK = 16
# Bytes per number of the cache.
KV = 2


@dataclass(frozen=True)
class Setup:
    """One copy of the model, on `gpus` that share it (tensor parallelism)."""

    shape: Shape
    gpu: Gpu
    gpus: int
    quantization: str | None
    """`fp8`, `int4`, or None: as stored."""
    context: int
    """Tokens of the longest prompt plus its answer."""
    adapters: int
    """Maximum number of loaded adapters."""
    assumed: Assumptions

    @property
    def bits(self) -> float:
        """Bits per weight of the blocks."""
        return BITS[self.quantization] if self.quantization else self.shape.bits

    @property
    def step(self) -> int:
        """Maximum tokens per step: vLLM's defaults (vllm/engine/arg_utils.py,
        get_batch_defaults)."""
        if self.assumed.max_num_batched_tokens:
            return self.assumed.max_num_batched_tokens
        if self.gpu.memory_gib >= 160:
            return 16384
        return 8192 if self._large else 2048

    @property
    def seqs(self) -> int:
        """Maximum parallel answers, by the same defaults."""
        return self.assumed.max_num_seqs or (1024 if self._large else 256)

    @property
    def _large(self) -> bool:
        return self.gpu.memory_gib >= 70 and "A100" not in self.gpu.seen

    @property
    def page(self) -> int:
        """Bytes of a cache block on each GPU, for all layers.

        Layers with a window are planned as if they saw the whole context: vLLM keeps less of them.
        """
        return self.shape.layers * BLOCK * self.shape.cached_numbers(self.gpus) * KV

    def blocks(self, tokens: int) -> int:
        """Number of cache blocks for a request of this many tokens."""
        return ceil(tokens / BLOCK)
