"""A setup for serving a model: GPUs, quantisation and context length."""

from dataclasses import dataclass
from math import ceil

from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import Gpu
from askdocs.capacity.shape import BITS, Shape

GIB = 2**30
# Bytes per number of the cache.
KV = {"auto": 2, "fp8": 1}


@dataclass(frozen=True)
class Setup:
    """One copy of the model, on `gpus` that share it (tensor parallelism)."""

    shape: Shape
    gpu: Gpu
    gpus: int
    quantization: str | None
    """`fp8`, `int4`, or None: as stored."""
    kv_dtype: str
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
        """Bytes of a cache block on each GPU, for all layers of a group."""
        numbers = self.assumed.block_size * self.shape.cached_numbers(self.gpus)
        return self._group * numbers * KV[self.kv_dtype]

    def blocks(self, tokens: int) -> int:
        """Number of cache blocks for a request of this many tokens.

        Layers of the same kind form groups of equal, padded size; each group has its own blocks,
        and groups with a window keep it plus the tokens being computed
        (vllm/v1/core/kv_cache_utils.py,
        _get_kv_cache_groups_uniform_page_size; vllm/v1/kv_cache_interface.py, SlidingWindowSpec).
        """
        size, held = self.assumed.block_size, 0
        for window, layers in self._kinds.items():
            blocks = ceil(tokens / size)
            if window:
                # Two steps overlap: vLLM prepares the next during one.
                blocks = ceil(min(window - 1 + 2 * self.step, tokens) / size) + 1
            held += blocks * ceil(layers / self._group)
        return held

    @property
    def _kinds(self) -> dict[int, int]:
        """Number of layers by window."""
        windows = self.shape.windows
        return {window: windows.count(window) for window in set(windows)}

    @property
    def _group(self) -> int:
        """Number of layers in a group."""
        fewest, most = min(self._kinds.values()), max(self._kinds.values())
        return most if most < fewest * 1.5 else fewest
