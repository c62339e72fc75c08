"""Checks that `askdocs up` makes before it starts vLLM, and against a running vLLM.

`before` was not yet run on a GPU; `after` is tested with vLLM's CPU build.
"""

from collections.abc import Callable, Sequence

from askdocs.capacity import models, plan, reported
from askdocs.capacity.assumptions import Assumptions
from askdocs.capacity.gpus import GPUS, seen
from askdocs.capacity.setup import Setup
from core.errors import AskdocsError
from training.plan.machine import Gpu


def before(
    source: str, context: int, adapters: int, gpus: Sequence[Gpu], say: Callable[[str], None]
) -> None:
    """Refuse models that cannot fit before minutes are lost. Unknown cases are left to vLLM.

    Args:
        source: a folder or a hub id.
        gpus: this machine's GPUs; vLLM runs on the first.

    Raises:
        AskdocsError: it does not fit.
    """
    if not gpus:
        return
    name = seen(gpus[0].name)
    if name is None:
        say(f"{gpus[0].name} is not in the GPU list of askdocs plan: vLLM determines what fits")
        return
    try:
        shape = models.find(source, online=False).shape
    except AskdocsError as error:
        say(f"{error}; vLLM determines what fits")
        return
    setup = Setup(shape, GPUS[name], 1, None, context, adapters, Assumptions())
    why = plan.refusal(setup)
    if why:
        raise AskdocsError(
            f"{source} with [up] context = {context} and {adapters} adapters {why}"
            " (options of askdocs plan; start such a vLLM yourself and name it with --engine-url)"
        )
    for note in plan.notes(setup):
        say(note)


def after(url: str, context: int, say: Callable[[str], None]) -> None:
    """Compare the cache reported by the vLLM at `url` with its context.

    Raises AskdocsError: it holds less.
    """
    try:
        cache = reported.read(url)
    except AskdocsError as error:
        say(f"its cache is not checked: {error}")
        return
    if why := reported.refusal(cache, context):
        raise AskdocsError(why)
    times = cache.tokens / context
    say(f"its cache holds {cache.tokens:,} tokens, {times:.1f} requests of {context:,}")
