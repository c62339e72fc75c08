"""Rate-limits warnings that every request could trigger."""

import logging
import time

# Minimum seconds between log lines about the same trouble.
QUIET = 60.0


class Seldom:
    """A rate-limited warning about one kind of trouble."""

    def __init__(self, log: str) -> None:
        """
        Args:
            log: the name of the logger.
        """
        self._log = logging.getLogger(log)
        self._logged_at = -QUIET

    def warn(self, text: str, why: object) -> None:
        """Log `text` with `why`, unless it was logged recently."""
        now = time.monotonic()
        if now - self._logged_at > QUIET:
            self._logged_at = now
            self._log.warning(text, why)
