"""CPU time and memory limits for reading one page.

Pages are untrusted, and parsed by third-party libraries, some of them in C. In a separate process
(`wiki.sources.apart`), a page that takes too long fails with its own error; a page
that blocks even Python's handling of that kills the process, and is known as the current page.

"""

import resource
import signal
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# Maximum CPU seconds per page. The largest pages, 4 MiB of Markdown, take some 10 s.
SECONDS = 30.0
# CPU seconds until the system kills the process, if a parser in C has not returned by then.
HARD = 45.0
# After this many pages beyond a limit, each further one gets a tenth of the time: whoever may write
# pages must not be able to hold up a sync, and with it the rights of all pages, for hours.
PATIENCE = 20
# Maximum bytes of address space, including the program and its data about the wiki.
MEMORY = 3 * 2**30

_begun: Callable[[str], None] | None = None
_ended: Mapping[str, str] = {}
_late = 0
"""The pages that took too long, in this process and those before it."""


class TooLong(ValueError):
    """A page exceeded its time limit."""


def enforce(begun: Callable[[str], None], ended: Mapping[str, str]) -> None:
    """Limit the resources of pages from now on, in the main thread of this process.

    Args:
        begun: receives each page's path, and an empty path at its end.
        ended: the pages that have crashed a process like this one, with the reason.
    """
    global _begun, _ended, _late
    _begun, _ended, _late = begun, ended, len(ended)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    signal.signal(signal.SIGVTALRM, _stop)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


@contextmanager
def page(path: str) -> Iterator[None]:
    """Run the block within the limits of one page. Without `enforce` there is no limit.

    Raises:
        ValueError: it took too much time or memory.
    """
    if _begun is None:
        yield
        return
    if path in _ended:
        raise ValueError(_ended[path])
    global _late
    share = 1.0 if _late < PATIENCE else 0.1
    _begun(path)
    _arm(SECONDS * share, HARD * share)
    try:
        yield
    except TooLong:
        _late += 1
        raise
    except MemoryError:
        _late += 1
        raise ValueError(f"takes more than {MEMORY // 2**30} GiB of memory to read") from None
    finally:
        _arm(0, 0)
        _begun("")


def _arm(soft: float, hard: float) -> None:
    # Repeatedly: a library may mistake the error for a page's fault, and continue.
    signal.setitimer(signal.ITIMER_VIRTUAL, soft, 1.0 if soft else 0)
    signal.setitimer(signal.ITIMER_PROF, hard)


def _stop(_: int, __: types.FrameType | None) -> None:
    raise TooLong(f"takes more than {SECONDS if _late < PATIENCE else SECONDS / 10:.0f} s to read")
