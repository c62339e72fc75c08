"""Process settings for a server with many concurrent streams. Imported before httpx."""

import ctypes
import resource
import sys
from contextlib import suppress

FILES = 65_536
SWITCH_S = 0.0005
# Bytes that glibc keeps at the end of a heap, and the block size from which it uses mmap. By
# default it raises both as the program frees blocks, and keeps 40 MB that long texts took. With 1
# MiB for mmap, reranking takes a fifth longer; with these values it does not.
FREE_BYTES = 2**20
MAPPED = 32 * 2**20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)

# httpx imports its own command line if rich, click and pygments are installed, as they are here
# for `askdocs`: 0.25 s of CPU and 5 MB in every worker. None marks the module as missing.
# https://docs.python.org/3/reference/import.html#the-module-cache
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


def prepare() -> None:
    """Call it once at startup.

    Raises the limit on open files: each stream takes one or two, and the default is 1,024.

    Threads that search a wiki return the interpreter to the event loop after half a millisecond
    rather than five: with hundreds of streams, the loop needs it hundreds of times per turn.

    Returns freed memory to the system.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.setswitchinterval(SWITCH_S)
    with suppress(OSError, AttributeError):  # glibc only
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, FREE_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)


def trim() -> None:
    """Return memory freed after loading to the system: 90 MB for the embedding model alone."""
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
