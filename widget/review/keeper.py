"""Background work of the review: clusters new questions and sends the digest."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import sqlalchemy as sa

from core.errors import AskdocsError
from widget.review import digest, weeks
from widget.review.clusters import Sorter
from widget.review.wiki import ReviewIndex

log = logging.getLogger(__name__)

LOOK = 15.0  # seconds between two checks for new questions
# Seconds between two batches while answers are running: clustering a question takes 5 ms of CPU, a
# quarter of its total cost in the box.
REST = 60.0
HOUR = 3600.0
# A week's digest is sent on the following Monday from this hour on (UTC).
FROM = 7


class Stopped(Exception):
    """Postpones work, because the widget stops or is busy."""


class Keeper:
    """Runs once per process; several processes do not conflict."""

    def __init__(
        self,
        engine: sa.Engine,
        wiki: ReviewIndex,
        webhook: str | None,
        public_url: str = "",
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`busy`: is there urgent work? Callable from any thread."""
        self._engine = engine
        self._wiki = wiki
        self._webhook = webhook
        self._public_url = public_url
        self._busy = busy
        self.sorter = Sorter(engine)
        self._stopping = threading.Event()
        self._due = 0.0
        self._rests_until = time.monotonic() + REST
        self._complained = ""

    async def run(self) -> None:
        """Work until cancelled. Failures are retried, and reported once."""
        try:
            while True:
                await asyncio.sleep(LOOK)
                await asyncio.to_thread(self._tried, self._sort)
                if self._webhook and time.monotonic() >= self._due:
                    self._due = time.monotonic() + HOUR
                    await asyncio.to_thread(self._tried, self._digest)
        except asyncio.CancelledError:
            # The process waits at exit for its threads, which cannot be cancelled.
            self._stopping.set()
            raise

    def _sort(self) -> None:
        """Cluster new questions; if the box is busy, one batch, followed by a pause."""
        if self._stands_back():
            return

        def go_on(done: int, total: int) -> None:
            if self._stopping.is_set() or self._stands_back():
                raise Stopped
            self._rests_until = time.monotonic() + REST

        with suppress(Stopped):
            self.sorter.sort(go_on)

    def _stands_back(self) -> bool:
        return time.monotonic() < self._rests_until and self._busy()

    def _tried(self, work: Callable[[], object]) -> None:
        try:
            work()
        except AskdocsError as error:
            if str(error) != self._complained:
                self._complained = str(error)
                log.warning("%s", error)

    def _digest(self) -> None:
        now = datetime.now(UTC)
        week = weeks.monday(now.date()) - weeks.WEEK
        if now.weekday() == 0 and now.hour < FROM:
            return
        assert self._webhook is not None
        if digest.send(self._engine, self._wiki, self._webhook, week, self._public_url):
            log.info("sent the digest of %s", weeks.name(week))
