"""CPU time and memory limits for reading one page.

Pages are written by others, and read by parsers of others, some of them in C. In a process of its
own (`gateway.knowledge.sources.apart`) a page that takes too long ends with an error of its own;
one that does not even let Python act on that ends the process, and the page that it was at is
known.
"""

import resource
import signal
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# Seconds of CPU for one page. The largest that are read, 4 MiB of Markdown, take some 10 s.
SECONDS = 30.0
# Seconds until the system ends the process, where a parser in C did not come back by then.
HARD = 45.0
# Bytes of address space, with the program itself and what it knows of the wiki.
MEMORY = 3 * 2**30

_begun: Callable[[str], None] | None = None
_ended: Mapping[str, str] = {}


class TooLong(ValueError):
    """A page took more time than one may."""


def enforce(begun: Callable[[str], None], ended: Mapping[str, str]) -> None:
    """Hold pages to the limits from now on, in the main thread of this process.

    Args:
        begun: is told of each page, and of its end with an empty path.
        ended: the pages that have ended a process like this one, with the reason.
    """
    global _begun, _ended
    _begun, _ended = begun, ended
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    signal.signal(signal.SIGVTALRM, _stop)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


@contextmanager
def page(path: str) -> Iterator[None]:
    """What is done in the block is done for one page. Without `enforce` there is no limit.

    Raises:
        ValueError: it took too long, or too much memory.
    """
    if _begun is None:
        yield
        return
    if path in _ended:
        raise ValueError(_ended[path])
    _begun(path)
    _arm(SECONDS, HARD)
    try:
        yield
    except MemoryError:
        raise ValueError(f"takes more than {MEMORY // 2**30} GiB of memory to read") from None
    finally:
        _arm(0, 0)
        _begun("")


def _arm(soft: float, hard: float) -> None:
    # Again and again: a library may take the error for one of the page, and go on.
    signal.setitimer(signal.ITIMER_VIRTUAL, soft, 1.0 if soft else 0)
    signal.setitimer(signal.ITIMER_PROF, hard)


def _stop(_: int, __: types.FrameType | None) -> None:
    raise TooLong(f"takes more than {SECONDS:.0f} s to read")
