"""A circuit breaker per model: skips a failing model for a while, so that requests do not wait for
it.

The pattern: Michael Nygard, Release It!, "Circuit Breaker"; closed, open, half-open.
"""

import time
from collections.abc import Callable

FAILURES = 3  # in a row until a model is skipped; a single timeout suffices
PAUSE = 10.0  # seconds until one request tries the model again


class Breaker:
    """The state of one model in one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def admits(self) -> bool:
        """May a request be sent now? After the pause one may, and its outcome decides for all."""
        if self._opened is None:
            return True
        if self._trying or self._clock() - self._opened < PAUSE:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._opened = None
        self._trying = False

    def failed(self, *, timed_out: bool = False) -> None:
        self._failures += 1
        if self._failures >= FAILURES or timed_out or self._trying:
            self._opened = self._clock()
        self._trying = False

    def left(self) -> None:
        """The client disconnected, so that the request says nothing about the model."""
        self._trying = False
