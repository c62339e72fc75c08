"""Upper bounds on a model's speed, by the roofline model (doi.org/10.1145/1498765.1498785).

Prefill is bound by the tensor cores, decoding by memory bandwidth: each step reads all weights once
for all answers, and each answer's cache.
"""

from typing import NamedTuple

from askdocs.capacity.setup import KV, Setup


class Load(NamedTuple):
    """One copy of the model under constant load."""

    answers: int
    """Number of parallel answers."""
    questions: float
    """Questions answered per second."""
    stream: float
    """Tokens per second of each answer."""

    def tokens(self, answer: int) -> float:
        """Generated tokens per second, over all answers."""
        return self.questions * answer


def reading(setup: Setup, prompt: int) -> float:
    """Seconds from a prompt to the first token of its answer, without other load.

    Args:
        prompt: uncached tokens.
    """
    shape = setup.shape
    attention = 2 * shape.heads * shape.head_dim * prompt * prompt * shape.layers
    return (2 * shape.active * prompt + attention) / _flops(setup) + step(setup, 1, prompt)


def step(setup: Setup, answers: int, length: int) -> float:
    """Mean seconds for the next token of this many answers.

    Args:
        length: tokens before it in each answer.
    """
    shape, gpus = setup.shape, setup.gpus
    count, chosen = shape.experts
    # Experts used by at least one of the answers, beyond those of the first.
    more = count * (1 - (1 - chosen / count) ** answers) - chosen
    blocks = shape.active + (shape.linear - shape.active) * more / max(1, count - chosen)
    head = shape.vocab * shape.hidden
    weights = (blocks * setup.bits / 8 + head * 2) / gpus
    seen = length * shape.layers
    cache = answers * seen * shape.cached_numbers(gpus) * KV
    attention = 4 * shape.heads * shape.head_dim * seen
    computing = answers * (2 * (shape.active + head) + attention) / _flops(setup)
    return max((weights + cache) / _bandwidth(setup), computing)


def busiest(setup: Setup, most: int) -> Load:
    """The most parallel typical questions at which every answer is fast enough to read.

    Args:
        most: maximum answers in the cache.
    """
    assumed = setup.assumed
    new = max(1, round(assumed.prompt_tokens * (1 - assumed.cached)))
    length = assumed.prompt_tokens + assumed.answer_tokens // 2
    read = reading(setup, new) - step(setup, 1, new)

    def load(answers: int) -> Load:
        # While an answer is written, the same number of prompts is read.
        written = assumed.answer_tokens * step(setup, answers, length) + answers * read
        return Load(answers, answers / written, assumed.answer_tokens / written)

    best = load(1)
    for answers in range(2, min(most, setup.seqs) + 1):
        more = load(answers)
        if more.stream < assumed.stream_rate:
            break
        best = more
    return best


def _flops(setup: Setup) -> float:
    """Floating-point operations per second, over all GPUs."""
    gpu = setup.gpu
    dtype = "fp8" if setup.bits == 8 and "fp8" in gpu.tflops else gpu.dtype
    return gpu.tflops[dtype] * 1e12 * setup.assumed.compute_efficiency * setup.gpus * _shared(setup)


def _bandwidth(setup: Setup) -> float:
    """Bytes per second of each GPU."""
    return setup.gpu.bandwidth_gbs * 1e9 * setup.assumed.bandwidth_efficiency * _shared(setup)


def _shared(setup: Setup) -> float:
    return setup.assumed.tensor_parallel_efficiency if setup.gpus > 1 else 1.0
