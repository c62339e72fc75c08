"""Estimates the memory of a training run from the sizes of the model and the recipe.

For measurements see research/notebook.md, "Memory of a training run".
"""

from math import ceil
from typing import NamedTuple

from training.plan.recipe import Recipe
from training.plan.shape import Shape
from training.tuning.hardware import HEADROOM

GIB = 2**30
BYTES = {"bfloat16": 2, "float32": 4}
# 4-bit NF4 with quantised scales: 4 + 8/64 + 32/(64*256) bits per weight.
BITS_4 = 4.127 / 8
# The adapter is in float32: weights, gradients, and AdamW's two moments in 32 or 8 bits.
ADAPTER = {"adamw_torch": 16, "adamw_8bit": 10}
# DDP copies the float32 gradients into buckets for the exchange.
BUCKET = 4
# Unsloth computes the loss in chunks of tokens, with 16 bytes per logit; a chunk takes half of the
# free memory, and at most 4 GiB.
LOGIT, LOGITS_MOST = 16, 4 * GIB
# Python and the libraries; on a GPU, CUDA's own share.
LIBRARIES = {"cpu": 1.2 * GIB, "gpu": 0.8 * GIB}
# Factor for activations and logits: as rows differ in length, the C library's allocator keeps
# memory that it cannot reuse. PyTorch's GPU allocator was not measured.
ACTIVATION_SHARE = {"cpu": 1.6, "gpu": 1.0}


class TrainingMemory(NamedTuple):
    """Bytes per process, on the GPU if there is one."""

    weights: int
    adapter: int
    """The adapter with its gradients and optimiser state."""
    activations: int
    logits: int
    buckets: int
    """DDP's buckets for exchanging gradients among several processes."""
    libraries: int

    @property
    def total(self) -> int:
        return sum(self)


def adapter_parameters(shape: Shape, recipe: Recipe) -> int:
    """Number of trainable parameters."""
    lora = recipe.lora
    sizes = [shape.linear[name] for name in lora.target_modules]
    return shape.num_hidden_layers * lora.r * sum(inputs + outputs for inputs, outputs in sizes)


def estimate(shape: Shape, recipe: Recipe, longest: int, on_gpu: bool) -> TrainingMemory:
    """Estimate the memory of a process.

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


def estimate_preference(shape: Shape, recipe: Recipe, longest: int, on_gpu: bool) -> TrainingMemory:
    """Estimate the memory of a process of the second stage (DPO): a pair at a time, unpacked.

    Not yet run on a GPU. The logits are the tuned model's, their gradient, and the reference's.
    """
    pair = recipe.model_copy(update={"batch_size": 2, "packing": False})
    first = estimate(shape, pair, longest, on_gpu)
    tokens = 2 * min(longest, recipe.max_length)
    logits = 3 * tokens * shape.vocab_size * BYTES[recipe.dtype]
    copy = adapter_parameters(shape, recipe) * BYTES["float32"]
    return first._replace(logits=logits, adapter=first.adapter + copy)


def later(shape: Shape) -> int:
    """Bytes of the steps after training (answers, reference, merge), with weights in 16 bits."""
    return ceil(HEADROOM * BYTES["bfloat16"] * shape.parameters)


def offloaded(shape: Shape, recipe: Recipe, longest: int) -> int:
    """Main memory in bytes to which Unsloth offloads the activations of all processes of a GPU
    recipe.

    With `gradient_checkpointing`, the inputs of all blocks are moved there, and loaded back one by
    one.
    """
    if not recipe.gradient_checkpointing:
        return 0
    row = recipe.max_length if recipe.packing else min(longest, recipe.max_length)
    block = recipe.batch_size * row * shape.hidden_size * BYTES[recipe.dtype]
    return recipe.processes * shape.num_hidden_layers * block


def _activations(shape: Shape, recipe: Recipe) -> int:
    """Bytes per token kept until the backward pass."""
    size = BYTES[recipe.dtype]
    query = shape.num_attention_heads * shape.head_dim
    value = shape.num_key_value_heads * shape.head_dim
    # Two norms (input, plus a float32 copy), queries, keys and values before and after RoPE, the
    # attention's output, and the MLP's gate, its activation, up, and product.
    block = (
        size * (4 * shape.hidden_size + 3 * query + 4 * value + 4 * shape.intermediate_size)
        + 8 * shape.hidden_size
    )
    for name in recipe.lora.target_modules:
        inputs = shape.linear[name][0]
        # With dropout, each layer keeps its own input and the dropout mask.
        block += inputs * (size + 1) if recipe.lora.dropout else 0
        block += recipe.lora.r * 4
    per_layer = size * shape.hidden_size
    if recipe.gradient_checkpointing:  # the inputs of all blocks, and all of one block
        return shape.num_hidden_layers * per_layer + block
    return shape.num_hidden_layers * block
