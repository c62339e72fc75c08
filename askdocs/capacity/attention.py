"""Which of vLLM's attention backends support an 8-bit KV cache on a GPU.

According to vllm/v1/attention/backends: triton_attn.py, flashinfer.py. Other backends support it
only on GPUs on which Triton's does, too.
"""

from askdocs.capacity.setup import Setup

# Head sizes that FlashInfer supports.
HEADS = (64, 128, 256, 512)


def backends(setup: Setup) -> list[str]:
    """By vLLM's names; empty: the cache must have 16 bits."""
    shape, capability = setup.shape, setup.gpu.capability
    names = []
    if capability >= 8.9:
        names.append("TRITON_ATTN")
    if capability >= 8.0 and shape.head_dim in HEADS:
        names.append("FLASHINFER")
    return names


def runs(setup: Setup) -> bool:
    """Does any backend support this setup's cache?"""
    return setup.kv_dtype == "auto" or bool(backends(setup))


def only_flashinfer(setup: Setup) -> bool:
    """Does the cache require FlashInfer, which compiles its kernels at the first start?"""
    return setup.kv_dtype == "fp8" and backends(setup) == ["FLASHINFER"]
