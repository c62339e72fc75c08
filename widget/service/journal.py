"""Keeps questions in memory, and in the database if storing is enabled.

Questions are answered even if they cannot be stored; they are stored once the database is back. A
vote is stored, or the reader sees that it was not.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import IntegrityError

from core.database import Unreachable
from core.errors import AskdocsError
from widget.service.pending import PendingQuestion, PendingQuestions
from widget.service.store import (
    TURNS,
    Answered,
    NewQuestion,
    Store,
    StoredQuestion,
    Turn,
    Unknown,
    Vote,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 1.0  # seconds that an answer waits for the database
AWAY = 5.0  # seconds without attempts after the database failed
RETRY = 1.0  # seconds between two attempts to write what is waiting
WAITING = 10_000  # maximum questions and answers waiting
FRESH = 30.0  # seconds for which the most asked questions are cached
HOURLY = 3600.0


class NotStored(Exception):
    """The database rejected it; the message is for the reader."""


NOT_STORED = "This could not be stored just now. Please try again in a moment."
NOTHING_STORED = "This box stores nothing, so there is nothing to keep it in."
GONE = "This answer is no longer kept."


class Journal:
    """Questions, answers and votes, in memory and in the store."""

    def __init__(self, pending: PendingQuestions, store: Store | None, retention_days: int) -> None:
        self.store = store
        self._pending = pending
        self._retention = timedelta(days=retention_days)
        self._away_until = 0.0
        self._most_asked: list[str] = []
        self._most_asked_until = 0.0
        self._waiting: deque[tuple[Callable[[], None], asyncio.Future[None]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # A small pool of its own, so that a locked database does not block other threads.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="journal")

    async def asked(self, asked: NewQuestion) -> None:
        """Store a question, now or when the database is back."""
        if store := self.store:
            await self._written(partial(store.asked, asked, datetime.now(UTC)))

    async def answered(self, ask: PendingQuestion, answered: Answered) -> None:
        """Store its outcome, now or when the database is back."""
        if store := self.store:
            await self._written(partial(store.answered, ask.id, answered))

    async def history(self, conversation: str) -> list[Turn]:
        """The last questions of a conversation with their answers, oldest first."""
        known = [
            Turn(ask.question, ask.answered("answered"))
            for ask in self._pending.items.values()
            if ask.conversation == conversation and ask.end is not None and ask.has_answer
        ]
        if len(known) < TURNS and (store := self.store):
            # Turns from before a restart, or older than ten minutes.
            stored = await self._patiently(lambda: store.history(conversation)) or []
            known = max(known, stored, key=len)
        return known[-TURNS:]

    async def vote(self, id: str, vote: Vote, visitor: str) -> StoredQuestion:
        """Store a vote; returns the question as it was before. Raises NotStored."""
        return await self._surely(lambda store: store.vote(id, vote, visitor))

    async def share(self, id: str) -> str:
        """The token of the answer's link. Raises NotStored."""
        return await self._surely(lambda store: store.share(id))

    async def shared(self, token: str) -> StoredQuestion:
        """Raises NotStored."""
        return await self._surely(lambda store: store.shared(token))

    async def get(self, id: str) -> StoredQuestion:
        """Raises NotStored."""
        return await self._surely(lambda store: store.get(id))

    async def most_asked(self, count: int) -> list[str]:
        """The most asked questions of the last 90 days; empty if unknown."""
        if (store := self.store) and time.monotonic() >= self._most_asked_until:
            self._most_asked_until = time.monotonic() + FRESH
            since = datetime.now(UTC) - timedelta(days=90)
            questions = await self._patiently(lambda: store.most_asked(count, since))
            if questions is not None:
                self._most_asked = questions
        return self._most_asked

    async def run(self) -> None:
        """Delete expired questions, now and every hour, until cancelled.

        Raises AskdocsError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        while store := self.store:
            if count := await loop.run_in_executor(self._threads, self._purge, store):
                log.info("deleted %d questions that were kept long enough", count)
            await asyncio.sleep(HOURLY)

    def _purge(self, store: Store) -> int:
        before = datetime.now(UTC) - self._retention
        return store.forget(before=before, action="questions.expire")

    def close(self) -> None:
        """Wait for running writes. Callable from any thread."""
        if self._writer is not None and self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._writer.cancel)
        self._threads.shutdown()
        if self._waiting:
            log.error("%d questions and answers are not stored", len(self._waiting))
        if self.store:
            self.store.engine.dispose()

    async def _written(self, write: Callable[[], None]) -> None:
        """Return once it is written, or after a timeout; it is then written later."""
        if len(self._waiting) >= WAITING:
            log.error(
                "the database is unavailable for too long: a question or an answer is not stored"
            )
            return
        self._loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((write, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        if time.monotonic() >= self._away_until:
            await asyncio.wait({done}, timeout=PATIENCE)

    async def _write(self) -> None:
        """Write everything waiting, in order."""
        assert self._loop is not None
        while self._waiting:
            write, done = self._waiting[0]
            try:
                await self._loop.run_in_executor(self._threads, write)
            except Unreachable as error:
                if time.monotonic() >= self._away_until:
                    log.warning("stored when the database is back: %s", error)
                self._away_until = time.monotonic() + AWAY
                for _, waits in self._waiting:
                    _done(waits)
                await asyncio.sleep(RETRY)
                continue
            except IntegrityError:
                pass  # written before, but the confirmation was lost
            except AskdocsError as error:
                log.warning("not stored: %s", error)
            except Exception:  # one invalid row must not block the rest
                log.exception("a question or an answer is not stored")
            self._waiting.popleft()
            _done(done)

    async def _patiently(self, call: Callable[[], T]) -> T | None:
        """The result, or None if the database is slow. The call then continues."""
        if time.monotonic() < self._away_until:
            return None
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._tried, call)
        done, _ = await asyncio.wait({running}, timeout=PATIENCE)
        return running.result() if done else None

    def _tried(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except AskdocsError as error:
            self._away_until = time.monotonic() + AWAY
            log.warning("not stored: %s", error)
            return None

    async def _surely(self, call: Callable[[Store], T]) -> T:
        if not (store := self.store):
            raise NotStored(NOTHING_STORED)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, call, store)
        except Unknown as error:
            # It may be among the waiting writes.
            raise NotStored(NOT_STORED if self._waiting else GONE) from error
        except AskdocsError as error:
            log.warning("not stored: %s", error)
            raise NotStored(NOT_STORED) from error


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
