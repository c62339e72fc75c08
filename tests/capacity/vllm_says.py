"""In vLLM's environment: how many blocks and tokens of a cache it plans."""

from typing import Any

import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_configs
from vllm.v1.kv_cache_interface import FullAttentionSpec


def planned(folder: str, cache: dict[str, Any]) -> list[int]:
    """Blocks and tokens of a cache, without a model."""
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
    specs = {
        f"layer.{number}": FullAttentionSpec(**sizes, dtype=torch.bfloat16)
        for number in range(cache["layers"])
    }
    made = get_kv_cache_configs(config, [specs], [cache["memory"]])[0]
    return [made.num_blocks, get_kv_cache_capacity(config, made)[0]]
