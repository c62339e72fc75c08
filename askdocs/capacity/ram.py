"""Checks whether a GGUF file fits into main memory with the embedded engine."""

from pathlib import Path
from typing import Any, NamedTuple

from gateway.core.errors import AskdocsError
from gateway.upstream.engines.llamacpp import CACHE_MIB
from training.artefacts.convert import reader

GIB = 2**30
# Python and llama.cpp themselves: 0.06 GiB, and 0.02 after the first question (SmolLM2-135M).
PROCESS = 0.08 * GIB
# Batch size in tokens, and bytes per number in main memory: gateway/upstream/engines/llamacpp.py.
BATCH, FLOAT = 512, 4
CACHE_NUMBER = 2  # bytes per number of the cache


class Ram(NamedTuple):
    """Bytes of main memory."""

    weights: int
    """The memory-mapped file."""
    cache: int
    """KV cache of all parallel contexts."""
    compute: int
    prompts: int
    """Maximum size of cached prompts."""
    context: int
    """Maximum context in tokens."""

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.compute + self.prompts


def of_file(file: Path, context: int, parallel: int) -> Ram:
    """Memory needs of a GGUF file.

    Args:
        context: tokens per request.
        parallel: number of parallel requests.

    Raises:
        AskdocsError: it is not a GGUF file, or lacks a dimension.
    """
    try:
        fields = reader(file).fields
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise AskdocsError(f"{file}: is not a readable GGUF file ({error}): name another") from None
    kind = fields["general.architecture"].contents() if "general.architecture" in fields else ""

    def value(key: str, default: Any = None) -> Any:
        field = fields.get(f"{kind}.{key}")
        number = field.contents() if field else default
        if number is None:
            raise AskdocsError(f"{file}: has no {kind}.{key}: cannot be planned")
        return number

    layers, hidden = value("block_count"), value("embedding_length")
    heads = value("attention.head_count")
    head = hidden // max(heads if isinstance(heads, list) else [heads])
    keys = value("attention.key_length", head) + value("attention.value_length", head)
    kv_heads = value("attention.head_count_kv", heads)
    kv_heads = sum(kv_heads) if isinstance(kv_heads, list) else layers * kv_heads
    inner = value("feed_forward_length")
    inner = max(inner) if isinstance(inner, list) else inner
    return Ram(
        weights=file.stat().st_size,
        cache=context * parallel * kv_heads * keys * CACHE_NUMBER,
        compute=int(PROCESS + BATCH * (4 * hidden + 3 * inner) * FLOAT),
        prompts=CACHE_MIB * 2**20,
        context=value("context_length"),
    )


def refusal(need: Ram, context: int, free: int) -> str:
    """Why it cannot be served here, with the fix; empty if it can.

    Args:
        free: free bytes of main memory.
    """
    if context > need.context:
        return f"--context {context}: the model reads at most {need.context:,} tokens: use less"
    if need.total <= free:
        return ""
    return (
        f"does not fit into main memory: needs {need.total / GIB:.1f} of {free / GIB:.1f} GiB "
        f"free (weights {need.weights / GIB:.1f}, contexts {need.cache / GIB:.1f}); use a"
        " smaller --context, a file of fewer bits, or --assume parallel=1"
    )
