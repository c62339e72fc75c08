"""Rate-limits warnings that every question could trigger."""

import logging
import time

log = logging.getLogger("askdocs.search")

# Seconds between two lines in the log about the same trouble.
QUIET = 60.0


class Seldom:
    """A rate-limited warning about one kind of trouble."""

    def __init__(self) -> None:
        self._said = -QUIET

    def warn(self, text: str, why: object) -> None:
        """Log `text` with `why`, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._said > QUIET:
            self._said = now
            log.warning(text, why)
