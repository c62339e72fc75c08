"""Python's garbage collector, which goes through all objects again while many are created."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Run without it, then leave out of later collections what there is by now."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
