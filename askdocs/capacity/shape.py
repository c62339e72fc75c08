"""The dimensions of a model that determine its serving cost, read from config.json alone.

How vLLM reads the same file: vllm/transformers_utils/model_arch_config_convertor.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from core.errors import AskdocsError

# Decoders whose blocks have attention and a gated MLP (gate, up, down), or experts of that kind.
DENSE = {
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"),
    *("granite", "olmo2", "smollm3"),
}
EXPERTS = {"mixtral", "qwen3_moe"}
ATTENTION = {"full_attention", "sliding_attention"}
# Embedding and output share weights unless the config says otherwise.
TIED = {"gemma", "gemma2", "gemma3_text", "smollm3"}
# vLLM computes these in bfloat16 only (vllm/config/model.py, _FLOAT16_NOT_SUPPORTED_MODELS).
NO_FLOAT16 = {"gemma2", "gemma3_text"}
# Bits per weight including scales: 4 bits in groups of 128 with a 16-bit scale and a 4-bit zero
# point; 8 bits with a scale per output.
BITS = {"fp8": 8.0, "int4": 4 + 20 / 128}


@dataclass(frozen=True)
class Shape:
    """A model's dimensions; parameters are counts, not bytes."""

    layers: int
    hidden: int
    inner: int
    """Width of the MLP that every token passes through; 0 with experts."""
    expert: int
    """Width of each routed expert; 0 without experts."""
    heads: int
    kv_heads: int
    head_dim: int
    """Head size of queries and keys."""
    linear: int
    """Parameters of all blocks, which quantisation shrinks."""
    whole: int
    """Those of them that are replicated on every GPU instead of shared."""
    active: int
    """Parameters of all blocks that are active for a token."""
    experts: tuple[int, int]
    """Number of experts in a layer, and per token; (1, 1) without experts."""
    vocab: int
    tied: bool
    """Do embedding and output share weights?"""
    context: int
    """Maximum context in tokens."""
    bits: float
    """Bits per weight of the blocks as stored."""
    float16: bool
    """Does vLLM support it in float16, too?"""

    @property
    def other(self) -> int:
        """Parameters outside the blocks: embedding, output, norms."""
        rows = self.vocab * (1 if self.tied else 2) + 2 * self.layers + 1
        return rows * self.hidden

    @property
    def parameters(self) -> int:
        return self.linear + self.other

    def cached_numbers(self, gpus: int = 1) -> int:
        """Numbers that a layer caches per token on each of `gpus` that share the model.

        vLLM keeps at least one head on each GPU.
        """
        return 2 * max(1, self.kv_heads // gpus) * self.head_dim


def of_config(config: Mapping[str, Any], where: str, bits: float | None = None) -> Shape:
    """Read a config.json.

    Args:
        where: the file, for errors.
        bits: bits per weight of the blocks; None: from the config.

    Raises:
        AskdocsError: the architecture is unknown, or a dimension is missing.
    """
    read = _Reader(config, where)
    kind = config.get("model_type")
    if "text_config" in config or kind not in DENSE | EXPERTS:
        read.refuse(f"model_type {kind!r} (known: {', '.join(sorted(DENSE | EXPERTS))})")
    unknown = {str(name) for name in config.get("layer_types") or ()} - ATTENTION
    if unknown:
        read.refuse(f"layer_types of {', '.join(sorted(unknown))}")
    hidden, heads = read.size("hidden_size"), read.size("num_attention_heads")
    layers = read.size("num_hidden_layers")
    kv_heads = read.size("num_key_value_heads", heads)
    head_dim = read.size("head_dim", hidden // heads)
    attention = 2 * hidden * (heads + kv_heads) * head_dim
    mlp = _mlp(read, hidden, layers)
    return Shape(
        layers=layers,
        hidden=hidden,
        inner=mlp.inner,
        expert=mlp.expert,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        linear=layers * attention + mlp.total,
        whole=mlp.router,
        active=layers * attention + mlp.active,
        experts=mlp.experts,
        vocab=read.size("vocab_size"),
        tied=bool(config.get("tie_word_embeddings", kind in TIED)),
        context=read.size("max_position_embeddings"),
        bits=bits or _bits(read),
        float16=kind not in NO_FLOAT16,
    )


class _Reader:
    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config = config
        self.where = where

    def size(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise AskdocsError(
                f"{self.where}: {key} is {value!r}, not a whole number of at least 1: correct it"
            )
        return value

    def refuse(self, what: str) -> NoReturn:
        raise AskdocsError(
            f"{self.where}: {what} cannot be planned; start it and read what vLLM reports"
        )


class _Mlp(NamedTuple):
    total: int
    """Parameters of all layers."""
    router: int
    active: int
    inner: int
    expert: int
    experts: tuple[int, int]


def _mlp(read: _Reader, hidden: int, layers: int) -> _Mlp:
    inner = read.size("intermediate_size")
    if read.config["model_type"] in DENSE:
        total = layers * 3 * hidden * inner
        return _Mlp(total, 0, total, inner, 0, (1, 1))
    count = read.size("num_experts" if read.config.get("num_experts") else "num_local_experts")
    chosen = read.size("num_experts_per_tok")
    width = read.size("moe_intermediate_size", inner)
    router, each = layers * hidden * count, layers * 3 * hidden * width
    return _Mlp(router + each * count, router, router + each * chosen, 0, width, (count, chosen))


def _bits(read: _Reader) -> float:
    """Bits per weight in the files, including scales."""
    how = read.config.get("quantization_config") or read.config.get("compression_config")
    if not how:
        return 16.0
    method = str(how.get("quant_method", "")) if isinstance(how, Mapping) else ""
    method = method.replace("_", "-")
    try:
        bits = _stored(how, method)
    except (AttributeError, KeyError, TypeError, ValueError):  # in an unknown format
        bits = 0
    if not bits:
        raise AskdocsError(
            f"{read.where}: quantization_config of {method or 'no method'!r} is unknown: add "
            "--assume weight_bits=N"
        )
    return bits


def _stored(how: Mapping[str, Any], method: str) -> float:
    """0: unknown."""
    if method == "fp8":
        return BITS["fp8"]
    if method in ("awq", "gptq"):
        return float(how.get("bits", 4)) + 20 / _group(how.get("group_size", 128))
    groups = [group["weights"] for group in how.get("config_groups", {}).values()]
    if method == "compressed-tensors" and groups:
        widest = max(groups, key=lambda weights: int(weights["num_bits"]))
        return int(widest["num_bits"]) + 16 / _group(widest.get("group_size"))
    return 0


def _group(size: Any) -> float:
    """Weights per scale: a whole row if missing or -1."""
    return float(size) if size and float(size) > 0 else math.inf
