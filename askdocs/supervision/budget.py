"""Calculates how many tokens of pages an engine can read and still answer in time."""

# Share of the time budget for reading; the rest is for the answer's first sentence, because the
# gateway sends whole sentences: 20 to 50 tokens, 1 to 1.5 seconds on two cores.
FOR_READING = 0.7
# Tokens besides pages: instructions, question, and the section repeated with it.
BESIDE = 300

# Bytes of weights that a CPU thread processes per second in prefill. Measured: 430 tokens/s for the
# small model of 105 MB on two cores. A GPU reads at least GPU_RATE tokens/s.
BYTES = 2.2e10
GPU_RATE = 4000.0


def assumed_rate(size: int, threads: int) -> float:
    """Estimated prefill speed in tokens/s for a model of `size` bytes on a CPU, before
    measuring."""
    return max(10.0, BYTES * threads / max(size, 1))


def page_budget(rate: float, seconds: float, context: int) -> int:
    """Tokens of pages that fit the context and leave time for a first sentence."""
    in_time = int(rate * seconds * FOR_READING) - BESIDE
    return max(300, min(in_time, _free_memory(context)))


def prefill_page(rate: float, seconds: float, context: int) -> int:
    """Maximum tokens of a page to prefill. The engine may have evicted it: reading it alone must
    fit the time budget."""
    return max(0, min(int(rate * seconds) - BESIDE, _free_memory(context)))


def _free_memory(context: int) -> int:
    """Tokens left for pages besides an answer, instructions, a question and a short
    conversation."""
    return context - 256 - 1000
