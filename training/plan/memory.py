"""The memory that a training run needs, estimated from the sizes of the model and the recipe.

What was measured beside it is in docs/reference/training.md.
"""

from math import ceil
from typing import NamedTuple

from training.plan.recipe import Recipe
from training.plan.shape import Shape

GIB = 2**30
BYTES = {"bfloat16": 2, "float32": 4}
# 4-bit NF4 with its scales quantised, too: 4 + 8/64 + 32/(64*256) bits a weight.
BITS_4 = 4.127 / 8
# The adapter is kept in float32: itself, its gradient, and AdamW's two moments in 32 or 8 bits.
ADAPTER = {"adamw_torch": 16, "adamw_8bit": 10}
# DDP copies the gradients, which are float32, into buckets before it exchanges them.
BUCKET = 4
# Unsloth computes the loss over a part of the tokens at a time: 16 bytes for each logit of a part,
# which takes half of what is free, and 4 GiB at most.
LOGIT, LOGITS_MOST = 16, 4 * GIB
# Python and the libraries; on a GPU what CUDA keeps for itself.
LIBRARIES = {"cpu": 1.2 * GIB, "gpu": 0.8 * GIB}
# Of activations and logits: rows have many lengths, and the C library's allocator keeps room of a
# size that it finds no use for later. PyTorch's own, on a GPU, was not measured.
ACTIVATION_SHARE = {"cpu": 1.6, "gpu": 1.0}


class TrainingMemory(NamedTuple):
    """Bytes that one process needs, on the GPU if there is one."""

    weights: int
    adapter: int
    """With its gradients and the state of the optimiser."""
    activations: int
    logits: int
    buckets: int
    """Of DDP, for the gradients that several processes exchange."""
    libraries: int

    @property
    def total(self) -> int:
        return sum(self)


def adapter_parameters(shape: Shape, recipe: Recipe) -> int:
    """Parameters that are trained."""
    lora = recipe.lora
    sizes = [shape.linear[name] for name in lora.target_modules]
    return shape.num_hidden_layers * lora.r * sum(inputs + outputs for inputs, outputs in sizes)


def estimate(shape: Shape, recipe: Recipe, longest: int, on_gpu: bool) -> TrainingMemory:
    """What a process needs.

    Args:
        longest: tokens of the longest example.
    """
    size = BYTES[recipe.dtype]
    row = recipe.max_length if recipe.packing else min(longest, recipe.max_length)
    tokens = recipe.batch_size * row
    device = "gpu" if on_gpu else "cpu"
    return TrainingMemory(
        weights=ceil(
            shape.other_parameters * size
            + shape.linear_parameters * (BITS_4 if recipe.load_in_4bit else size)
        ),
        adapter=adapter_parameters(shape, recipe) * ADAPTER[recipe.optimizer],
        activations=ceil(tokens * _activations(shape, recipe) * ACTIVATION_SHARE[device]),
        logits=ceil(min(tokens * shape.vocab_size * LOGIT, LOGITS_MOST) * ACTIVATION_SHARE[device]),
        buckets=adapter_parameters(shape, recipe) * BUCKET if recipe.processes > 1 else 0,
        libraries=ceil(LIBRARIES[device]),
    )


def offloaded(shape: Shape, recipe: Recipe, longest: int) -> int:
    """Bytes of main memory in which Unsloth keeps activations of all processes of a GPU recipe.

    With `gradient_checkpointing` the inputs of all blocks go there, and come back one by one.
    """
    if not recipe.gradient_checkpointing:
        return 0
    row = recipe.max_length if recipe.packing else min(longest, recipe.max_length)
    block = recipe.batch_size * row * shape.hidden_size * BYTES[recipe.dtype]
    return recipe.processes * shape.num_hidden_layers * block


def _activations(shape: Shape, recipe: Recipe) -> int:
    """Bytes that are kept for each token until the backward pass."""
    size = BYTES[recipe.dtype]
    query = shape.num_attention_heads * shape.head_dim
    value = shape.num_key_value_heads * shape.head_dim
    # Two norms (their input, and in float32 for themselves), queries, keys and values before and
    # after RoPE, the attention's output, and the MLP's gate, its activation, up, and product.
    block = (
        size * (4 * shape.hidden_size + 3 * query + 4 * value + 4 * shape.intermediate_size)
        + 8 * shape.hidden_size
    )
    for name in recipe.lora.target_modules:
        inputs = shape.linear[name][0]
        # With dropout each layer keeps an input of its own and what was dropped of it.
        block += inputs * (size + 1) if recipe.lora.dropout else 0
        block += recipe.lora.r * 4
    per_layer = size * shape.hidden_size
    if recipe.gradient_checkpointing:  # the inputs of all blocks, and all of one
        return shape.num_hidden_layers * per_layer + block
    return shape.num_hidden_layers * block
