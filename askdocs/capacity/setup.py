"""One way to serve a model: its GPUs, its quantisation and its context length."""

from dataclasses import dataclass
from math import ceil

from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import Gpu
from askdocs.capacity.shape import BITS, Shape

GIB = 2**30
# Bytes of a number of the cache.
KV = {"auto": 2, "fp8": 1}


@dataclass(frozen=True)
class Setup:
    """One copy of the model, on `gpus` that share it (tensor parallel)."""

    shape: Shape
    gpu: Gpu
    gpus: int
    quantization: str | None
    """`fp8`, `int4`, or None: as the model lies there."""
    kv_dtype: str
    context: int
    """Tokens of the longest prompt with its answer."""
    adapters: int
    """How many may be loaded at once."""
    assumed: Assumptions

    @property
    def bits(self) -> float:
        """Of a weight of the blocks."""
        return BITS[self.quantization] if self.quantization else self.shape.bits

    @property
    def step(self) -> int:
        """Tokens that one step computes at most: vLLM's defaults (vllm/engine/arg_utils.py,
        get_batch_defaults)."""
        if self.assumed.max_num_batched_tokens:
            return self.assumed.max_num_batched_tokens
        if self.gpu.memory_gib >= 160:
            return 16384
        return 8192 if self._large else 2048

    @property
    def seqs(self) -> int:
        """Answers at once at most, by the same defaults."""
        return self.assumed.max_num_seqs or (1024 if self._large else 256)

    @property
    def _large(self) -> bool:
        return self.gpu.memory_gib >= 70 and "A100" not in self.gpu.seen

    @property
    def page(self) -> int:
        """Bytes of a block of the cache on each GPU: of as many layers as a group has."""
        numbers = self.assumed.block_size * self.shape.cached_numbers(self.gpus)
        return self._group * numbers * KV[self.kv_dtype]

    def blocks(self, tokens: int) -> int:
        """Blocks of the cache that a request of so many tokens holds.

        Layers of one kind make groups of one size, padded; each group has blocks of its own, and
        those with a window keep that and what is under way (vllm/v1/core/kv_cache_utils.py,
        _get_kv_cache_groups_uniform_page_size; vllm/v1/kv_cache_interface.py, SlidingWindowSpec).
        """
        size, held = self.assumed.block_size, 0
        for window, layers in self._kinds.items():
            blocks = ceil(tokens / size)
            if window:
                # Two steps are under way at once: vLLM prepares the next during one.
                blocks = ceil(min(window - 1 + 2 * self.step, tokens) / size) + 1
            held += blocks * ceil(layers / self._group)
        return held

    @property
    def _kinds(self) -> dict[int, int]:
        """Number of layers by their window."""
        windows = self.shape.windows
        return {window: windows.count(window) for window in set(windows)}

    @property
    def _group(self) -> int:
        """Layers of a group."""
        fewest, most = min(self._kinds.values()), max(self._kinds.values())
        return most if most < fewest * 1.5 else fewest
