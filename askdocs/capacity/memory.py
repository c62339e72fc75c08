"""Calculates a model's GPU memory, and how many tokens fit into the rest.

Follows vLLM (vllm/v1/worker/gpu_worker.py, determine_available_memory), which subtracts weights, a
step's peak, CUDA graphs and CUDA's own memory from its share of the GPU.
"""

from typing import NamedTuple

from askdocs.capacity.setup import GIB, Setup
from askdocs.capacity.shape import Shape


class ServingMemory(NamedTuple):
    """Bytes on each GPU."""

    weights: int
    adapters: int
    """Memory for the maximum number of adapters."""
    activations: int
    """Peak of a step, by activations or by sampling; includes the experts' workspace."""
    graphs: int
    """CUDA graphs."""
    other: int
    """CUDA and NCCL."""

    @property
    def total(self) -> int:
        return sum(self)


def taken(setup: Setup) -> ServingMemory:
    """Memory taken before the cache."""
    shape, assumed, gpus = setup.shape, setup.assumed, setup.gpus
    # Per token: the residual and the block's input and output, queries, keys and values, and the
    # MLP's gate, up and their product. Measured: 0.22 GiB for Llama 3.1 8B with 2,048 tokens.
    wide = (3 * shape.inner + (shape.heads + 2 * shape.kv_heads) * shape.head_dim) // gpus
    step = setup.step * (4 * shape.hidden + wide) * 2
    sampling = int(min(setup.seqs, setup.step) * shape.vocab * assumed.logit_bytes)
    split = (shape.linear - shape.whole) * setup.bits / 8 + shape.other * 2
    return ServingMemory(
        weights=int(split / gpus + shape.whole * setup.bits / 8),
        adapters=_adapters(setup),
        activations=_experts(setup) + max(step, sampling),
        graphs=int(assumed.graph_mib * 2**20 * shape.layers),
        other=int((assumed.other_gib + (assumed.nccl_gib if gpus > 1 else 0)) * GIB),
    )


def available(setup: Setup) -> int:
    """Bytes that vLLM may use on each GPU."""
    return int(setup.gpu.memory * setup.assumed.gpu_memory_utilization)


def tokens(setup: Setup, cache: int) -> int:
    """Tokens in a cache of this many bytes on each GPU, as vLLM reports them at its start: the
    number of full-context requests times their length."""
    requests = max(0, cache // setup.page) / setup.blocks(setup.context)
    return int(requests * setup.context)


def at_once(setup: Setup, cache: int, length: int) -> int:
    """Number of requests of this many tokens that fit into the cache together."""
    return max(0, cache // setup.page - 1) // setup.blocks(length)


def needed(setup: Setup) -> int:
    """Bytes on each GPU for everything plus one full-context request; vLLM keeps one cache block
    empty."""
    return taken(setup).total + (setup.blocks(setup.context) + 1) * setup.page


def _experts(setup: Setup) -> int:
    """The experts' workspace, which vLLM keeps between steps: for each token and each of its
    experts, twice the maximum of input and gate plus up, as in Triton's and Cutlass's kernels
    (vllm/model_executor/layers/fused_moe/experts, workspace_shapes)."""
    shape = setup.shape
    if not shape.expert:
        return 0
    width = shape.expert // setup.gpus
    numbers = max(width, shape.hidden) + max(2 * width, shape.hidden)
    return setup.step * shape.experts[1] * numbers * 2


def _adapters(setup: Setup) -> int:
    if not setup.adapters:
        return 0
    # One slot more than adapters: gateway.upstream.engines.vllm.
    return (setup.adapters + 1) * setup.assumed.lora_rank * lora_width(setup.shape) * 2


def lora_width(shape: Shape) -> int:
    """Parameters of an adapter of rank 1: inputs and outputs of each layer that it can change."""
    query, value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    hidden, inner = shape.hidden, shape.inner
    block = 2 * (hidden + query) + 2 * (hidden + value) + 3 * (hidden + inner)
    return shape.layers * block + 2 * (hidden + shape.vocab)
