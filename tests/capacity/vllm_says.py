"""In vLLM's environment: which options its parser knows, and how many blocks and tokens it plans.

`python vllm_says.py OUT FOLDER COMMANDS CACHES` writes a JSON object to OUT.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_configs
from vllm.v1.kv_cache_interface import FullAttentionSpec, SlidingWindowSpec


def parsed(options: list[str]) -> Any:
    parser = make_arg_parser(FlexibleArgumentParser())
    try:
        known = parser.parse_args(options)
        validate_parsed_serve_args(known)
    except SystemExit as refused:
        return refused.code
    return [known.tensor_parallel_size, known.quantization, known.kv_cache_dtype, known.dtype]


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


out, folder, commands, caches = sys.argv[1:]
said = {
    "parsed": [parsed(options) for options in json.loads(commands)],
    "planned": [planned(folder, cache) for cache in json.loads(caches)],
}
Path(out).write_text(json.dumps(said))
