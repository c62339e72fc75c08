"""Handles stop signals: they act like Ctrl-C, and wait for uninterruptible work."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block like Ctrl-C, so that it cleans up."""
    # Not SIGHUP under nohup.
    ours = [number for number in STOPS if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def held() -> Iterator[list[int]]:
    """Delay stop signals until the end of the block, which may inspect and clear them.

    In threads other than the main thread, which get no signals, it does nothing.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    ours = [number for number in STOPS if before[number] is not signal.SIG_IGN]
    try:
        for number in ours:
            # Not a signal mask: another thread, such as a bar's, would get the signal.
            signal.signal(number, lambda number, frame: came.append(number))
        yield came
    finally:
        for number in ours:
            signal.signal(number, before[number])
    if came:
        signal.raise_signal(came[0])
