"""The KV cache size that a running vLLM reports."""

from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from core.errors import AskdocsError


class Reported(NamedTuple):
    """vLLM's cache."""

    blocks: int
    block_size: int
    """Tokens per block."""
    tokens: int
    """Tokens that fit in requests of the longest context; logged by vLLM as "KV cache size"."""


def read(url: str) -> Reported:
    """Read the metrics of the engine at this root, or base URL with /v1.

    Raises AskdocsError: it does not answer, or is not vLLM.
    """
    root = url.rstrip("/").removesuffix("/v1")
    try:
        reply = httpx.get(f"{root}/metrics", timeout=10)
        cache = parse(reply.text) if reply.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AskdocsError(
            f"{root}/metrics does not answer ({error}): name the address of a running vLLM"
        ) from None
    except ValueError:  # another program's page
        cache = None
    if cache is None:
        raise AskdocsError(
            f"{root}/metrics does not report the cache size: use the address of a recent vLLM"
        )
    return cache


def parse(metrics: str) -> Reported | None:
    """Parse the labels of `vllm:cache_config_info` in the metrics."""
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "vllm:cache_config_info":
                names = ("num_gpu_blocks", "block_size", "kv_cache_size_tokens")
                values = [sample.labels.get(name, "") for name in names]
                if all(value.isdigit() for value in values):
                    return Reported(*map(int, values))
    return None


def refusal(cache: Reported, context: int) -> str:
    """Why the context exceeds the engine's cache, with the fix; empty if it fits."""
    if cache.tokens >= context:
        return ""
    return (
        f"the engine's cache holds {cache.tokens:,} tokens, fewer than the context of {context:,}:"
        " start vLLM with a shorter one (--max-model-len, [up] context), or with the --quantization"
        " that askdocs plan proposes"
    )
