"""In vLLM's environment: how many blocks and tokens it plans, and which of its attention backends
take an 8-bit cache."""

import sys
from typing import Any
from unittest.mock import MagicMock, patch

import torch
import vllm._custom_ops  # noqa: F401 -- first, because it looks for the real flashinfer
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.platforms.interface import DeviceCapability, Platform, PlatformEnum
from vllm.v1.attention.backends import triton_attn
from vllm.v1.attention.backends.registry import AttentionBackendEnum
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_configs
from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec

# Its kernels want a GPU. What vLLM says of them does not.
KERNELS = ("flashinfer", "flashinfer.decode", "flashinfer.prefill", "flashinfer.utils")
with patch.dict(sys.modules, {name: MagicMock() for name in KERNELS}):
    from vllm.v1.attention.backends.flashinfer import FlashInferBackend


def planned(folder: str, cache: dict[str, Any]) -> list[int]:
    """Blocks and tokens of a cache: layers with and without windows, and no model."""
    config = EngineArgs(
        model=folder,
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=cache["context"],
        block_size=cache["block_size"],
        max_num_batched_tokens=cache["in_flight"],
    ).create_engine_config()
    config.cache_config.kv_cache_layout = "LBNHC"  # the engine's workers say it otherwise
    assert config.max_concurrent_batches == 1  # a GPU has two
    sizes = {name: cache[name] for name in ("block_size", "num_kv_heads", "head_size")}
    specs: dict[str, Any] = {}
    for number, window in enumerate(cache["windows"]):
        spec = FullAttentionSpec(**sizes, dtype=torch.bfloat16)
        if window:
            spec = SlidingWindowSpec(**sizes, dtype=torch.bfloat16, sliding_window=window)
        specs[f"layer.{number}"] = spec
    made = get_kv_cache_configs(config, [specs], [cache["memory"]])[0]
    return [made.num_blocks, get_kv_cache_capacity(config, made)[0]]


def eight_bit(capability: str, head_size: int) -> list[str]:
    """Backends that take an 8-bit cache on a GPU that is not here."""
    of = DeviceCapability(*map(int, capability.split(".")))

    class Gpu(Platform):  # type: ignore[misc]
        _enum = PlatformEnum.CUDA
        get_device_capability = staticmethod(lambda device_id=0: of)
        get_device_name = staticmethod(lambda: "a GPU")
        num_compute_units = staticmethod(lambda: 1)

    options: list[Any] = [1, head_size, 1.0, 1, None, None, "fp8"]
    found = []
    with (
        patch.object(triton_attn, "current_platform", Gpu()),
        set_current_vllm_config(VllmConfig()),
    ):
        try:
            triton_attn.TritonAttentionImpl(*options)
            found.append("TRITON_ATTN")
        except ValueError as refused:
            if "FP8 KV cache is not supported" not in str(refused):
                raise
    if (
        FlashInferBackend.supports_compute_capability(of)
        and FlashInferBackend.supports_head_size(head_size)
        and FlashInferBackend.supports_kv_cache_dtype("fp8")
    ):
        found.append("FLASHINFER")
    return found


def answers(
    folder: str, caches: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "planned": [planned(folder, cache) for cache in caches],
        "eight_bit": [eight_bit(**each) for each in asked],
        "backends": [*AttentionBackendEnum.__members__],
    }
