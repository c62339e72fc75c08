"""Estimates what a training run needs, and finds problems before anything is computed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from core.errors import AskdocsError
from gateway.answering.grounding.prompt import fingerprint
from training.data.dataset import AGAIN, Dataset
from training.plan.machine import Machine
from training.plan.memory import (
    GIB,
    LIBRARIES,
    TrainingMemory,
    adapter_parameters,
    estimate,
    estimate_preference,
    later,
    offloaded,
)
from training.plan.recipe import Recipe
from training.plan.shape import Shape
from training.tuning.options import eval_steps

# The small model, whose tokens per second were measured on two cores (research/notebook.md).
CORES, PARAMETERS = 2, 134.5e6
# An evaluation has no backward pass.
EVALUATION = 1 / 3
# A file of weights that is written (training/artefacts/merge.py).
SHARD = 4 * 10**9
# Three checkpoints are kept while one is written; each has the adapter and both moments.
CHECKPOINTS, CHECKPOINT = 4, 12
# The adapter in the run folder, and in the version.
ADAPTERS, ADAPTER = 2, 4


@dataclass(frozen=True)
class Preflight:
    """What is known before a run."""

    parameters: int
    trainable: int
    memory: TrainingMemory
    """Memory of one process."""
    available: int | None
    """Available bytes per process; None: the recipe needs a GPU, and there is none."""
    on_gpu: bool
    disk: int
    tokens: int
    """Tokens of the training examples, each counted once."""
    longest: int
    steps: int
    """Estimate; fewer with early stopping."""
    seconds: float | None
    """Estimate; None if no speed is known."""
    problems: tuple[str, ...]
    """Why the run cannot start, each with its fix."""


def preflight(
    recipe: Recipe,
    shape: Shape,
    data: Dataset,
    tokenizer: str | AskdocsError,
    machine: Machine,
    disk: int,
    max_steps: int | None = None,
    preference: bool = False,
) -> Preflight:
    """Compare what a run needs with what the machine has.

    Args:
        tokenizer: SHA-256 of the base model's tokenizer.json, or why it is not available.
        disk: free bytes for the run.
        max_steps: limit from the command line.
        preference: a second stage follows.
    """
    on_gpu = bool(machine.gpus) or needs_gpu(recipe)
    memory = estimate(shape, recipe, data.longest, on_gpu)
    available = _available(recipe, machine)
    epoch, steps = _steps(recipe, data, max_steps)
    needed = written(recipe, shape)
    problems = [
        *_of_dataset(recipe, shape, data, tokenizer),
        *_of_machine(recipe, machine),
        *_of_memory(recipe, shape, data, memory, available, on_gpu),
        *_of_main_memory(recipe, shape, data, machine),
        *_of_later_steps(shape, machine),
        *(_of_preference(recipe, shape, data, available, on_gpu) if preference else ()),
    ]
    if needed > disk:
        problems.append(
            f"the run writes {needed / GIB:.1f} GiB,"
            f" {disk / GIB:.1f} GiB are free: free some space, or name an --out DIR on another disk"
        )
    return Preflight(
        parameters=shape.parameters,
        trainable=adapter_parameters(shape, recipe),
        memory=memory,
        available=available,
        on_gpu=on_gpu,
        disk=needed,
        tokens=sum(data.trained(recipe)),
        longest=data.longest,
        steps=steps,
        seconds=None if on_gpu else _seconds(recipe, shape, data, machine, epoch, steps),
        problems=tuple(problems),
    )


def written(recipe: Recipe, shape: Shape) -> int:
    """Bytes of a run's files."""
    checkpoints = CHECKPOINTS
    if recipe.answers:  # all are kept until their answers choose the best
        checkpoints = ceil(recipe.evals_per_epoch * max(1, recipe.epochs)) + 1
    return adapter_parameters(shape, recipe) * (checkpoints * CHECKPOINT + ADAPTERS * ADAPTER)


def needs_gpu(recipe: Recipe) -> bool:
    return recipe.load_in_4bit or recipe.optimizer == "adamw_8bit"


def _available(recipe: Recipe, machine: Machine) -> int | None:
    if machine.gpus:
        return min(gpu.free for gpu in machine.gpus[: recipe.processes])
    return None if needs_gpu(recipe) else machine.memory // recipe.processes


def _of_dataset(
    recipe: Recipe, shape: Shape, data: Dataset, tokenizer: str | AskdocsError
) -> Iterator[str]:
    made_for = data.card.get("prompt_fingerprint")
    # Instructions belong to the alias; `models promote` compares them.
    ours = fingerprint(data.card.get("options", {}).get("instructions", ""))
    if made_for != ours:
        yield (
            f"{data.folder}: its prompts have the fingerprint {made_for}, and the gateway's have "
            f"{ours}: {AGAIN}"
        )
    counted = data.card.get("tokenizer", {})
    if isinstance(tokenizer, AskdocsError):
        yield str(tokenizer)
    elif tokenizer != counted.get("sha256"):
        yield (
            f"{data.folder}: was counted with another tokenizer ({counted.get('name')}) than that"
            f" of {recipe.base_model}: {AGAIN} with --tokenizer"
        )
    if recipe.max_length > shape.max_position_embeddings:
        yield (
            f"max_length = {recipe.max_length}: {recipe.base_model} reads"
            f" {shape.max_position_embeddings:,} tokens: set"
            f" max_length = {shape.max_position_embeddings}"
        )
    for split, lengths in data.lengths.items():
        long = [number for number, tokens in enumerate(lengths, 1) if tokens > recipe.max_length]
        if long:
            yield (
                f"{data.folder / split}.jsonl:{long[0]}: {len(long):,} of {len(lengths):,} examples"
                f" have more tokens than max_length = {recipe.max_length}, chat template included,"
                " and would lose the end of their answers: set max_length ="
                f" {data.longest}, or {AGAIN} with a smaller --budget"
            )


def _of_machine(recipe: Recipe, machine: Machine) -> Iterator[str]:
    count = len(machine.gpus)
    if recipe.dtype == "bfloat16" and not machine.bfloat16 and not needs_gpu(recipe):
        yield (
            'dtype = "bfloat16": this processor does not support it, and would take some forty'
            ' times as long as with float32: set dtype = "auto"'
        )
    if not count:
        if recipe.load_in_4bit:
            yield (
                "load_in_4bit = true needs an NVIDIA GPU, and this machine has none: train on "
                "another machine, or set load_in_4bit = false"
            )
        if recipe.optimizer == "adamw_8bit":
            yield (
                'optimizer = "adamw_8bit" needs an NVIDIA GPU, and there is none here: train on a'
                ' machine that has one, or set optimizer = "adamw_torch"'
            )
    elif recipe.processes > count:
        batches = recipe.gradient_accumulation * recipe.processes
        yield (
            f"processes = {recipe.processes}: each process needs a GPU, and there are {count}: "
            f"set processes = {count} and gradient_accumulation = {ceil(batches / count)}"
        )


def _of_memory(
    recipe: Recipe,
    shape: Shape,
    data: Dataset,
    memory: TrainingMemory,
    available: int | None,
    on_gpu: bool,
) -> Iterator[str]:
    if available is None or memory.total <= available:
        return

    def fits(changed: Recipe) -> bool:
        return estimate(shape, changed, data.longest, on_gpu).total <= available

    parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in memory._asdict().items())
    where = _where(recipe, on_gpu)
    changed = fitting(recipe, data.longest, on_gpu, fits)
    fix = (
        f"set {_difference(recipe, changed)}"
        if changed
        else ("use a machine with more memory, a smaller base_model, or a smaller dataset --budget")
    )
    yield (
        f"it needs about {memory.total / GIB:.1f} GiB{where} ({parts}), and"
        f" {available / GIB:.1f} GiB are free: {fix}"
    )


def _of_main_memory(recipe: Recipe, shape: Shape, data: Dataset, machine: Machine) -> Iterator[str]:
    """Problems with the main memory of a GPU recipe, to which activations are offloaded."""
    if not machine.gpus:
        return
    needed = offloaded(shape, recipe, data.longest) + ceil(LIBRARIES["cpu"]) * recipe.processes
    if needed > machine.memory:
        yield (
            f"it keeps about {needed / GIB:.1f} GiB of activations in main memory, and"
            f" {machine.memory / GIB:.1f} GiB are free: set batch_size = 1, or a smaller max_length"
        )


def _of_later_steps(shape: Shape, machine: Machine) -> Iterator[str]:
    """Problems with the memory of answers, reference and merge, which follow training.

    They run on the first GPU if it holds the model in 16 bits, else in main memory. What a GPU
    writes passes through main memory in shards.
    """
    if not machine.gpus:
        return
    needed, gpu = later(shape), machine.gpus[0].free
    host = LIBRARIES["cpu"] + (SHARD if needed <= gpu else needed)
    if host > machine.memory:
        yield (
            f"after training, the model in 16 bits takes {needed / GIB:.1f} GiB; the GPU has"
            f" {gpu / GIB:.1f} GiB and main memory {machine.memory / GIB:.1f} GiB free, of"
            f" {host / GIB:.1f} GiB that it needs there: use a machine with more memory, or a"
            " smaller base_model"
        )


def _of_preference(
    recipe: Recipe, shape: Shape, data: Dataset, available: int | None, on_gpu: bool
) -> Iterator[str]:
    """Problems with the memory of the second stage (DPO); a pair is as long as an example."""

    def needed(longest: int) -> TrainingMemory:
        return estimate_preference(shape, recipe, longest, on_gpu)

    memory = needed(data.longest)
    if available is None or memory.total <= available:
        return
    each = needed(2).total - needed(1).total
    fits = (available - needed(0).total) // each
    fix = f"pairs of at most {fits:,} tokens fit: use `dataset prefer` with a smaller --budget"
    if fits < 500:
        fix = "use a machine with more memory, or a smaller base_model"
    yield (
        f"the second stage needs about {memory.total / GIB:.1f} GiB{_where(recipe, on_gpu)} for a"
        f" pair of {data.longest:,} tokens (logits {memory.logits / GIB:.1f}), and"
        f" {available / GIB:.1f} GiB are free: {fix}"
    )


def _where(recipe: Recipe, on_gpu: bool) -> str:
    if on_gpu:
        return " on the GPU" if recipe.processes == 1 else " on each GPU"
    return "" if recipe.processes == 1 else " for each process"


def fitting(
    recipe: Recipe, longest: int, on_gpu: bool, fits: Callable[[Recipe], bool]
) -> Recipe | None:
    """The least changed recipe that fits, with the same examples per step; None: nothing fits."""

    def halved(candidate: Recipe) -> Recipe:
        batch = max(1, candidate.batch_size // 2)
        ratio = candidate.batch_size / batch
        return candidate.model_copy(
            update={
                "batch_size": batch,
                "gradient_accumulation": ceil(candidate.gradient_accumulation * ratio),
            }
        )

    def smaller_batches(candidate: Recipe) -> Recipe:
        while candidate.batch_size > 1 and not fits(candidate):
            candidate = halved(candidate)
        return candidate

    def changing(**update: object) -> Callable[[Recipe], Recipe]:
        return lambda candidate: candidate.model_copy(update=update)

    turns = [smaller_batches, changing(gradient_checkpointing=True)]
    if on_gpu:
        turns += [changing(load_in_4bit=True), changing(optimizer="adamw_8bit")]
    if recipe.packing and longest < recipe.max_length:
        turns.append(changing(max_length=longest))
    for turn in turns:
        if fits(changed := turn(recipe)):
            return changed
    for turn in turns:
        if fits(recipe := turn(recipe)):
            return recipe
    return None


def _difference(old: Recipe, new: Recipe) -> str:
    # JSON's numbers, strings and booleans are valid TOML.
    changed = [f"{key} = {json.dumps(value)}" for key, value in new if value != getattr(old, key)]
    return " and ".join(changed)


def _steps(recipe: Recipe, data: Dataset, max_steps: int | None) -> tuple[int, int]:
    """Steps of an epoch, and of the run."""
    lengths = data.trained(recipe)
    rows = ceil(sum(lengths) / recipe.max_length) if recipe.packing else len(lengths)
    epoch = ceil(rows / recipe.examples_per_step)
    whole = ceil(epoch * recipe.epochs)
    return epoch, min([whole, *(limit for limit in (recipe.max_steps, max_steps) if limit)])


def rate(recipe: Recipe, shape: Shape, machine: Machine) -> float:
    """Training speed in tokens per second, on otherwise idle cores."""
    if recipe.dtype == "bfloat16":
        tokens = 228 if machine.prefers_bfloat16 else 92
    else:
        tokens = 177 if machine.bfloat16 else 110
    slower = 1.28 if recipe.gradient_checkpointing else 1.0
    return tokens / slower / CORES * machine.cores * PARAMETERS / shape.parameters


def _seconds(
    recipe: Recipe, shape: Shape, data: Dataset, machine: Machine, epoch: int, steps: int
) -> float:
    lengths = data.trained(recipe)
    mean = recipe.max_length if recipe.packing else sum(lengths) / len(lengths)
    trained = steps * recipe.examples_per_step * mean
    once = sum(data.lengths["validation"][: recipe.eval_rows])
    between = eval_steps(recipe.model_dump(), epoch, steps)
    evaluated = (1 + ceil(steps / between)) * once
    return (trained + evaluated * EVALUATION) / rate(recipe, shape, machine)
