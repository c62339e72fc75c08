"""What a model takes of each GPU's memory, and the tokens that fit into the rest.

As vLLM counts (vllm/v1/worker/gpu_worker.py, determine_available_memory): of its share of the GPU
it subtracts weights, the peak of a step, CUDA graphs and what CUDA itself holds.
"""

from typing import NamedTuple

from askdocs.capacity.setup import GIB, Setup
from askdocs.capacity.shape import Shape


class Memory(NamedTuple):
    """Bytes on each GPU."""

    weights: int
    adapters: int
    """Room for the adapters that may be loaded."""
    activations: int
    """The peak of a step: of its activations, or of sampling."""
    graphs: int
    """CUDA graphs."""
    other: int
    """CUDA and NCCL."""

    @property
    def total(self) -> int:
        return sum(self)


def taken(setup: Setup) -> Memory:
    """What is taken before the cache."""
    shape, assumed, gpus = setup.shape, setup.assumed, setup.gpus
    # Of each token: the residual and the block's input and output, queries, keys and values, and
    # the MLP's gate, up and their product. Measured: 0.22 GiB of Llama 3.1 8B with 2,048 tokens.
    wide = (3 * shape.inner + (shape.heads + 2 * shape.kv_heads) * shape.head_dim) // gpus
    step = setup.step * (4 * shape.hidden + wide) * 2
    sampling = int(min(setup.seqs, setup.step) * shape.vocab * assumed.logit_bytes)
    return Memory(
        weights=int((shape.linear * setup.bits / 8 + shape.other * 2) / gpus),
        adapters=_adapters(setup),
        activations=max(step, sampling),
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


def _adapters(setup: Setup) -> int:
    if not setup.adapters:
        return 0
    # One place more than adapters: see gateway.engines.vllm.
    return (setup.adapters + 1) * setup.assumed.lora_rank * lora_width(setup.shape) * 2


def lora_width(shape: Shape) -> int:
    """Parameters of an adapter of rank 1: inputs and outputs of each layer that it may change."""
    query, value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    hidden, inner = shape.hidden, shape.inner
    block = 2 * (hidden + query) + 2 * (hidden + value) + 3 * (hidden + inner)
    return shape.layers * block + 2 * (hidden + shape.vocab)
