"""How many tokens of pages an engine can read per question and still answer in time."""

# Of the budgeted seconds, the share for reading; the rest is for the first sentence of the answer,
# because the gateway sends whole ones: 20 to 50 tokens, a second to one and a half on two cores.
FOR_READING = 0.7
# Tokens that are read beside the pages: instructions, question, and the section repeated with it.
BESIDE = 300

# Bytes of weights that a thread of a CPU reads a token through in a second: 430 tokens/s with the
# small model of 105 MB on two cores, measured. A GPU reads at least GPU_RATE tokens a second.
BYTES = 2.2e10
GPU_RATE = 4000.0


def assumed_rate(size: int, threads: int) -> float:
    """Tokens per second that a model of `size` bytes reads on a CPU, before it has been seen."""
    return max(10.0, BYTES * threads / max(size, 1))


def page_budget(rate: float, seconds: float, context: int) -> int:
    """Tokens of pages that the engine reads in time for a first sentence, within its context."""
    in_time = int(rate * seconds * FOR_READING) - BESIDE
    return max(300, min(in_time, _free_memory(context)))


def warm_page(rate: float, seconds: float, context: int) -> int:
    """Tokens of a page that the engine has read ahead. It may have forgotten it: reading alone
    takes no longer than the whole of the time."""
    return max(0, min(int(rate * seconds) - BESIDE, _free_memory(context)))


def _free_memory(context: int) -> int:
    """Tokens for pages beside an answer, the instructions, a question, a short conversation."""
    return context - 256 - 1000
