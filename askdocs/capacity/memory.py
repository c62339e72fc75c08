"""How much GPU memory a model uses, and how many tokens fit into the rest.

As vLLM counts (vllm/v1/worker/gpu_worker.py, determine_available_memory): of its share of the GPU
it subtracts weights, the peak of a step, CUDA graphs and what CUDA itself holds.
"""

from typing import NamedTuple

from askdocs.capacity.setup import GIB, Setup
from askdocs.capacity.shape import Shape


class ServingMemory(NamedTuple):
    """Bytes on each GPU."""

    weights: int
    adapters: int
    """Room for the adapters that may be loaded."""
    activations: int
    """The peak of a step: of its activations, or of sampling; and what experts work in."""
    graphs: int
    """CUDA graphs."""
    other: int
    """CUDA and NCCL."""

    @property
    def total(self) -> int:
        return sum(self)


def taken(setup: Setup) -> ServingMemory:
    """What is taken before the cache."""
    shape, assumed, gpus = setup.shape, setup.assumed, setup.gpus
    # Of each token: the residual and the block's input and output, queries, keys and values, and
    # the MLP's gate, up and their product. Measured: 0.22 GiB of Llama 3.1 8B with 2,048 tokens.
    wide = (3 * shape.inner + (shape.heads + 2 * shape.kv_heads) * shape.head_dim) // gpus
    step = setup.step * (4 * shape.hidden + wide) * 2 + _raised(setup)
    sampling = int(min(setup.seqs, setup.step) * shape.vocab * assumed.logit_bytes)
    split = (shape.linear - shape.whole) * setup.bits / 8 + shape.other * 2
    if setup.bits < 16:  # mla_attention.py, process_weights_after_loading: W_UK_T and W_UV
        split += shape.raising * 2
    return ServingMemory(
        weights=int(split / gpus + shape.whole * setup.bits / 8),
        adapters=_adapters(setup),
        activations=_experts(setup) + max(step, sampling),
        graphs=int(assumed.graph_mib * 2**20 * shape.layers),
        other=int((assumed.other_gib + (assumed.nccl_gib if gpus > 1 else 0)) * GIB),
    )


def available(setup: Setup) -> int:
    """Bytes that vLLM may take of each GPU."""
    return int(setup.gpu.memory * setup.assumed.gpu_memory_utilization)


def tokens(setup: Setup, cache: int) -> int:
    """Tokens in a cache of so many bytes on each GPU, as vLLM reports them at its start.

    They are requests of the whole context times its length: where layers have windows, short
    requests hold more for each token, and fewer tokens fit.
    """
    requests = max(0, cache // setup.page) / setup.blocks(setup.context)
    return int(requests * setup.context)


def at_once(setup: Setup, cache: int, length: int) -> int:
    """Requests of so many tokens that fit into the cache together."""
    return max(0, cache // setup.page - 1) // setup.blocks(length)


def needed(setup: Setup) -> int:
    """Bytes on each GPU for everything and one request of the whole context; vLLM keeps one block
    of the cache empty."""
    return taken(setup).total + (setup.blocks(setup.context) + 1) * setup.page


def _experts(setup: Setup) -> int:
    """What experts work in, which vLLM keeps between steps: of each token, for each expert that it
    is sent to, twice the widest of input and gate and up, as by Triton's and Cutlass's kernels
    (vllm/model_executor/layers/fused_moe/experts, workspace_shapes)."""
    shape = setup.shape
    if not shape.expert:
        return 0
    width = shape.expert // setup.gpus
    numbers = max(width, shape.hidden) + max(2 * width, shape.hidden)
    return setup.step * shape.experts[1] * numbers * 2


def _raised(setup: Setup) -> int:
    """Keys and values that latents become while prompts are read on, which vLLM tries at its start
    (vllm/model_executor/layers/attention/mla_attention.py, chunked_prefill_workspace_size)."""
    most = max(8 * setup.context, 4 * setup.seqs * setup.assumed.block_size)
    return min(most, 64 * 1024) * setup.shape.raised // setup.gpus * 2


def _adapters(setup: Setup) -> int:
    if not setup.adapters:
        return 0
    # One place more than adapters: gateway.upstream.engines.vllm.
    return (setup.adapters + 1) * setup.assumed.lora_rank * lora_width(setup.shape) * 2


def lora_width(shape: Shape) -> int:
    """Parameters of an adapter of rank 1: inputs and outputs of each layer that it may change."""
    query, value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    hidden, inner = shape.hidden, shape.inner
    block = 2 * (hidden + query) + 2 * (hidden + value) + 3 * (hidden + inner)
    return shape.layers * block + 2 * (hidden + shape.vocab)
