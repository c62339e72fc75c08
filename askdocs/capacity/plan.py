"""Plans a deployment: the number of GPUs for a load, their cost, and vLLM's arguments."""

import dataclasses
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from askdocs.capacity import memory, speed
from askdocs.capacity.setup import GIB, Setup
from askdocs.capacity.shape import Shape
from core.errors import AskdocsError
from eval.report.cost import HOURS
from gateway.upstream.engines import vllm

# Sizes of a group of GPUs that shares a model: those that machines have.
SHARING = (1, 2, 4, 8)
# Proposed contexts are multiples of this.
ROUND = 1024
# Bytes per GPU: the largest known error of a plan, for Qwen3-8B on an RTX 4090
# (docs/how-to/scale.md#plan-gpus-for-a-team).
MARGIN = int(0.45 * GIB)


class DoesNotFit(AskdocsError):
    """Memory is too small; the message says what would fit."""


@dataclass(frozen=True)
class ServingPlan:
    """A way of serving a model that fits."""

    setup: Setup
    why: str
    """Why one GPU is not enough, if the number was left open; empty if it is."""
    memory: memory.ServingMemory
    cache: int
    """Bytes of the cache on each GPU."""
    load: speed.Load
    """Maximum load of one copy."""
    replicas: int
    qps: float | None
    """Requested questions per second."""

    @property
    def kv_tokens(self) -> int:
        return memory.tokens(self.setup, self.cache)

    @property
    def gpus(self) -> int:
        return self.setup.gpus * self.replicas

    @property
    def fits_on_one(self) -> bool:
        return memory_left(dataclasses.replace(self.setup, gpus=1)) >= 0

    def month(self, gpu_hour: float) -> float:
        """US dollars, paid around the clock."""
        return self.gpus * gpu_hour * HOURS


def make(setup: Setup, gpus: int | None, qps: float | None) -> ServingPlan:
    """Plan for the model of `setup`; a typical question is at most as long as the context.

    Args:
        setup: its `gpus` are ignored.
        gpus: number that shares a copy; None: as few as possible.
        qps: questions per second in the busiest minutes; None: plan one copy.

    Raises:
        DoesNotFit: with a setup that would fit.
        AskdocsError: this setup is not supported.
    """
    _check(setup)
    setup = _typical(setup)
    wanted = _on(setup, gpus or 1)
    why = refusal(wanted)
    chosen = wanted
    if why:
        more = [each for each in _sizes(setup) if not refusal(each)]
        if gpus or not more:
            raise DoesNotFit(why)
        chosen = next(filter(_surely, more), more[0])
    taken = memory.taken(chosen)
    cache = memory.available(chosen) - taken.total
    typical = chosen.assumed.prompt_tokens + chosen.assumed.answer_tokens
    load = speed.busiest(chosen, memory.at_once(chosen, cache, typical))
    rate = load.questions * chosen.assumed.utilisation
    replicas = max(1, ceil(qps / rate)) if qps else 1
    return ServingPlan(chosen, why, taken, cache, load, replicas, qps)


def memory_left(setup: Setup) -> int:
    """Free bytes on each GPU besides one full-context request; negative: too few."""
    return memory.available(setup) - memory.needed(setup)


def tight(setup: Setup) -> bool:
    """Is the margin smaller than the plan's possible error?"""
    return memory_left(setup) >= 0 and not _surely(setup)


def refusal(setup: Setup) -> str:
    """Why it does not fit, and what would; empty if it fits."""
    if memory_left(setup) >= 0:
        return ""
    taken, need = memory.taken(setup), memory.needed(setup)
    count = f"{setup.gpus} GPU" + ("s" if setup.gpus > 1 else "")
    parts = (
        f"weights {taken.weights / GIB:.1f}, one request of {setup.context:,} tokens"
        f" {(need - taken.total) / GIB:.1f}, the rest {(taken.total - taken.weights) / GIB:.1f}"
    )
    return (
        f"does not fit on {count}: needs {need / GIB:.1f} of"
        f" {memory.available(setup) / GIB:.1f} GiB{' each' if setup.gpus > 1 else ''}"
        f" ({parts}); use {_fixes(setup)}"
    )


def demand(users: float, setup: Setup) -> float:
    """Questions per second in the busiest minutes of this many users."""
    assumed = setup.assumed
    return users * assumed.questions_a_day / (assumed.busy_hours * 3600) * assumed.peak


def notes(setup: Setup) -> list[str]:
    """Caveats of a plan that its numbers do not show."""
    sentences = []
    if setup.quantization == "int4":
        sentences.append("needs quantised weights: use a repository that has them")
    if setup.bits == 8 and "fp8" not in setup.gpu.tflops:
        sentences.append("8-bit weights do not speed up reading here: the GPU computes in 16 bits")
    if tight(setup):
        sentences.append(
            f"tight: a plan has been wrong by {MARGIN / GIB:.2f} GiB, and less is left, so vLLM may"
            f" refuse to start; to be sure, use {_fixes(setup)}"
        )
    return sentences


def slow(plan: ServingPlan) -> list[str]:
    """A warning if answers are slower than the assumed reading speed."""
    rate, wanted = plan.load.stream, plan.setup.assumed.stream_rate
    if rate >= wanted:
        return []
    return [
        f"slow: even one answer at a time gets {rate:.1f} tokens/s, including the time to read "
        f"its prompt, fewer than the {wanted:g} that every reader is to get (stream_rate)"
    ]


def command(setup: Setup, model: str, port: int = 8001) -> tuple[list[str], dict[str, str]]:
    """vLLM's command line: that of `askdocs up` plus the plan's additions and environment
    variables."""
    started = vllm.launch(
        Path("python"),
        model,
        port=port,
        served_name="base",
        context=setup.context,
        gpu=True,
        threads=1,
        adapters=setup.adapters,
    )
    assumed, argv = setup.assumed, started.argv
    share = argv.index("--gpu-memory-utilization") + 1
    argv[share] = f"{assumed.gpu_memory_utilization:g}"
    if setup.gpus > 1:
        argv += ["--tensor-parallel-size", str(setup.gpus)]
    if setup.quantization == "fp8":
        # Plain fp8 is deprecated for 16-bit weights. 4 bits are detected from the files.
        argv += ["--quantization", "fp8_per_tensor"]
    if setup.gpu.dtype == "fp16":
        argv += ["--dtype", "half"]
    for name in ("max_num_batched_tokens", "max_num_seqs"):
        if value := getattr(assumed, name):
            argv += [f"--{name.replace('_', '-')}", str(value)]
    env = {name: value for name, value in started.env.items() if name != "VLLM_CACHE_ROOT"}
    return argv, env


def _check(setup: Setup) -> None:
    shape = setup.shape
    if setup.context > shape.context:
        raise AskdocsError(
            f"--context {setup.context}: the model reads at most {shape.context:,} tokens: use less"
        )
    if setup.quantization and shape.bits < 16:
        raise AskdocsError(
            f"--quantization {setup.quantization}: the model's weights have {shape.bits:.3g} bits "
            "already: omit the option"
        )
    if setup.adapters and shape.experts[0] > 1:
        raise AskdocsError(
            f"--adapters {setup.adapters}: cannot be planned for a model with experts: leave it out"
        )
    if not shape.float16 and setup.gpu.dtype == "fp16":
        raise AskdocsError(
            "vLLM refuses to compute this model in float16, and a GPU with compute capability"
            f" {setup.gpu.capability} has no bfloat16: use another --gpu"
        )


def _typical(setup: Setup) -> Setup:
    """The setup with a typical prompt that leaves room for its answer."""
    assumed = setup.assumed
    room = setup.context - assumed.answer_tokens
    if room >= assumed.prompt_tokens:
        return setup
    if room < 1 or "prompt_tokens" in assumed.model_fields_set:
        raise AskdocsError(
            f"--context {setup.context}: too short for prompts of {assumed.prompt_tokens} and"
            f" answers of {assumed.answer_tokens} tokens: use more, or --assume prompt_tokens=N"
        )
    shorter = assumed.model_copy(update={"prompt_tokens": room})
    return dataclasses.replace(setup, assumed=shorter)


def _on(setup: Setup, gpus: int) -> Setup:
    if not _can_share(setup.shape, gpus):
        heads = f"{setup.shape.heads} attention heads"
        if setup.shape.heads % gpus == 0:
            heads = f"{setup.shape.kv_heads} heads of keys and values"
        raise AskdocsError(
            f"--gpus {gpus}: cannot share {heads} evenly: use"
            f" {' or '.join(str(each.gpus) for each in _sizes(setup))}"
        )
    return dataclasses.replace(setup, gpus=gpus)


def _sizes(setup: Setup) -> list[Setup]:
    """The setup on each possible number of GPUs, the fewest first."""
    fair = [gpus for gpus in SHARING if _can_share(setup.shape, gpus)]
    return [dataclasses.replace(setup, gpus=gpus) for gpus in fair]


def _can_share(shape: Shape, gpus: int) -> bool:
    """KV heads are split evenly over GPUs, or each is replicated on as many, as vLLM's models
    assert (vllm/model_executor/models/llama.py)."""
    kept = shape.kv_heads
    return shape.heads % gpus == 0 and (kept % gpus == 0 or gpus % kept == 0)


def _surely(setup: Setup) -> bool:
    """Does it fit even if the plan errs? Only such setups are proposed."""
    return memory_left(setup) >= MARGIN


def _fixes(setup: Setup) -> str:
    """Settings that fit with certainty."""
    fixes = [*_smaller(setup), *_shorter(setup), *_more(setup)]
    if not fixes:
        fixes = ["a larger --gpu", "a smaller --model"]
    return f"{', '.join(fixes[:-1])}{', or ' if fixes[1:] else ''}{fixes[-1]}"


def _smaller(setup: Setup) -> list[str]:
    """The first quantisation that fits."""
    if not setup.quantization and setup.shape.bits >= 16:
        for weights in ("fp8", "int4"):
            if _surely(dataclasses.replace(setup, quantization=weights)):
                return [f"--quantization {weights}"]
    return []


def _shorter(setup: Setup) -> list[str]:
    """The longest context that fits."""
    for context in range(setup.context // ROUND * ROUND, 0, -ROUND):
        if _surely(dataclasses.replace(setup, context=context)):
            return [f"--context {context}"]
    return []


def _more(setup: Setup) -> list[str]:
    """The smallest number of GPUs on which it fits."""
    enough = [each for each in _sizes(setup) if each.gpus > setup.gpus and _surely(each)]
    return [f"{enough[0].gpus} GPUs (--gpus {enough[0].gpus})"] if enough else []
