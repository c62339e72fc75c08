"""Process settings for a server with many concurrent streams."""

import ctypes
import resource
import sys
from contextlib import suppress

FILES = 65_536
SWITCH_S = 0.0005
# Bytes that glibc keeps at the end of a heap, and from which on it maps a block for itself. It
# raises both with the blocks that a program frees, until 40 MB stay that long texts took. With
# blocks of 1 MiB mapped, reranking takes a fifth more time; with these, no more.
FREE_BYTES = 2**20
MAPPED = 32 * 2**20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def prepare() -> None:
    """Once, when it starts.

    Each stream takes a file or two, of which systems allow 1,024 unless asked for more.

    The event loop gets the interpreter back from a thread that searches a wiki after half a
    millisecond, not after five: with hundreds of streams it asks for it hundreds of times a turn.

    Freed memory goes back to the system.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.setswitchinterval(SWITCH_S)
    with suppress(OSError, AttributeError):  # glibc's
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, FREE_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)


def trim() -> None:
    """Give back to the system what loading has freed: 90 MB, of the embedding model alone."""
    with suppress(OSError, AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)
