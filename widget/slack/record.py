"""Records Slack questions in the store, and keeps the last turns of each conversation.

Questions are answered even if they cannot be stored; a vote is stored, or the voter sees that it
was not.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from core.database import Unreachable, reading
from core.errors import AskdocsError
from widget.service.store import (
    TURNS,
    Answered,
    NewQuestion,
    Store,
    StoredQuestion,
    Turn,
    Unknown,
    Vote,
    question_table,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Turns = Sequence[Turn]

PATIENCE = 2.0  # seconds that an answer or a vote waits for the database
HOURLY = 3600.0
REMEMBERED = 1_000  # conversations whose last turns are kept in memory

NOT_STORED = "Your vote could not be stored just now. Please try again in a moment."
NOTHING_STORED = "Nothing is stored here, so your vote cannot be kept."
GONE = "This answer is no longer kept, so your vote cannot be."


class NotStored(Exception):
    """A vote was not stored; the message is for the voter."""


class Duplicate(Exception):
    """The question was asked before: Slack delivered it twice."""


class Earlier(NamedTuple):
    """A conversation's earlier alias and turns."""

    alias: str = ""
    turns: Turns = ()


class Record:
    """The store with timeouts; without a store, recent conversations are kept in memory."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._earlier: OrderedDict[str, Earlier] = OrderedDict()
        # A pool of its own, so that a locked database does not block other threads.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="slack")

    async def asked(self, asked: NewQuestion) -> None:
        """Store a question, if possible now. Raises Duplicate."""
        if store := self._store:
            await self._patiently(lambda: store.asked(asked))

    async def answered(self, asked: NewQuestion, answered: Answered, turns: Turns = ()) -> None:
        """Store its outcome, if possible now; `turns` are the earlier turns."""
        if answered.state == "answered":
            turns = (*turns, Turn(asked.question, answered))[-TURNS:]
            self._remember(asked.conversation, Earlier(asked.alias, turns))
        if store := self._store:
            await self._patiently(lambda: store.answered(asked.id, answered))

    async def earlier(self, conversation: str) -> Earlier:
        """The last turns of a conversation, oldest first."""
        known = self._earlier.get(conversation)
        if store := self._store:
            stored = await self._patiently(lambda: _stored(store, conversation))
            if stored and (stored.turns or known is None):
                return stored
        return known or Earlier()

    async def broke_off(self, id: str) -> None:
        """Record that a question got no answer, unless it has one."""
        if store := self._store:
            stored = await self._patiently(lambda: store.get(id))
            if stored and stored.answered.state == "asked":
                await self._patiently(lambda: store.answered(id, Answered("failed")))

    async def question(self, id: str) -> str:
        """The original question, or an empty string if unknown."""
        if store := self._store:
            stored = await self._patiently(lambda: store.get(id))
            return stored.asked.question if stored else ""
        return ""

    async def run(self, days: int) -> None:
        """Delete expired questions, now and every hour, until cancelled.

        Raises AskdocsError: the database does not answer.
        """
        loop = asyncio.get_running_loop()
        while store := self._store:
            before = datetime.now(UTC) - timedelta(days=days)
            forget = partial(store.forget, before=before, action="questions.expire")
            await loop.run_in_executor(self._threads, forget)
            await asyncio.sleep(HOURLY)

    async def vote(self, id: str, vote: Vote, visitor: str) -> StoredQuestion:
        """Store a vote; returns the question as it was before. Raises NotStored.

        A vote that takes longer than Slack waits for a dialog counts as not stored.
        """
        if not (store := self._store):
            raise NotStored(NOTHING_STORED)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, store.vote, id, vote, visitor)
        done, _ = await asyncio.wait({running}, timeout=PATIENCE)
        if not done:
            raise NotStored(NOT_STORED)
        try:
            return running.result()
        except Unknown as error:
            raise NotStored(GONE) from error
        except Unreachable as error:
            log.warning("not stored: %s", error)
            raise NotStored(NOT_STORED) from error

    def close(self) -> None:
        """Wait for running writes."""
        self._threads.shutdown()

    def _remember(self, conversation: str, earlier: Earlier) -> None:
        self._earlier[conversation] = earlier
        self._earlier.move_to_end(conversation)
        if len(self._earlier) > REMEMBERED:
            self._earlier.popitem(last=False)

    async def _patiently(self, call: Callable[[], T]) -> T | None:
        """The result, or None if the database is slow. The call then continues."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, _tried, call)
        done, _ = await asyncio.wait({running}, timeout=PATIENCE)
        return running.result() if done else None


def _tried(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except sa.exc.IntegrityError as error:
        raise Duplicate from error
    except AskdocsError as error:
        log.warning("the database: %s", error)
        return None


def _stored(store: Store, conversation: str) -> Earlier:
    c = question_table.c
    query = sa.select(c.alias).where(c.conversation == conversation).limit(1)
    with reading(store.engine) as connection:
        alias = connection.execute(query).scalar()
    return Earlier(alias or "", store.history(conversation))
