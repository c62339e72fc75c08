"""Questions in progress: waiting for an answer, or receiving it.

They live in memory for minutes. Each answer has its own task, so that a reader who lost the
connection finds it again; the task ends when nobody comes back.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from core.control_characters import without
from widget.service.outcome import Outcome, Reading
from widget.service.states import Done, End
from widget.service.store import Answered, NewQuestion, State, StoredQuestion

LIFETIME = 600.0
CAPACITY = 1000
MAX_QUESTION = 2000
GRACE = 20.0  # seconds that an answer continues without a reader
PATIENCE = 10.0  # seconds that a question waits for its reader if places are few
SHARE = 20  # a visitor gets at most one in 20 places


class BadQuestion(ValueError):
    """A rejected question; the message is for the reader."""


class Full(Exception):
    """Running answers take every place, or every place of this visitor."""


class Stop(Enum):
    """Why an answer ends early."""

    READER = "reader"
    SHUTDOWN = "shutdown"
    LEFT = "left"


@dataclass
class PendingQuestion:
    """A question and its answer so far."""

    asked: NewQuestion
    made: float
    owner: str = ""
    """Whose place it takes, as in `Visitor.counted`."""
    groups: frozenset[str] = frozenset()
    """The asker's groups."""
    text: str = ""
    reading: Reading | None = None
    outcome: Outcome = field(default_factory=Outcome)
    end: End | None = None
    version: int = 0
    """Increases with every change."""
    task: asyncio.Task[None] | None = None
    """Produces the answer."""
    stopped: Stop | None = None
    readers: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _leaving: asyncio.TimerHandle | None = None

    # Used by the templates.
    @property
    def id(self) -> str:
        return self.asked.id

    @property
    def question(self) -> str:
        return self.asked.question

    @property
    def page(self) -> str:
        return self.asked.page

    @property
    def quote(self) -> str:
        return self.asked.quote

    @property
    def conversation(self) -> str:
        return self.asked.conversation

    @property
    def is_running(self) -> bool:
        return self.task is not None and self.end is None

    @property
    def is_waiting(self) -> bool:
        """Has the answer not started yet?"""
        return self.task is None and self.end is None

    @property
    def has_answer(self) -> bool:
        """Is there a complete answer that is not a refusal?"""
        return isinstance(self.end, Done) and not self.end.stopped and not self.outcome.refused

    def answered(
        self, state: State, first: float | None = None, duration: float | None = None
    ) -> Answered:
        """The record of the question for the store."""
        outcome = self.outcome
        return Answered(
            state=state,
            answer=self.text,
            model=outcome.served,
            outcome=outcome.stored(),
            confidence=outcome.confidence,
            first_token=first,
            duration=duration,
            verdict=outcome.verdict,
            readers=outcome.needed(self.groups),
        )

    def take(self, part: Reading | str | Outcome) -> None:
        """Add data from the gateway."""
        match part:
            case Reading():
                self.reading = part
            case Outcome():
                self.outcome = part
            case str():
                self.text += without(part)
        self.touch()

    def finish(self, end: End) -> None:
        """End the answer in the final state `end`."""
        self.end = end
        self.touch()

    def touch(self) -> None:
        """Wake everybody who waits for a change."""
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self, seconds: float) -> bool:
        """Wait for the next change, or a timeout; returns whether there was a change."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def stop(self, why: Stop) -> None:
        """End the answer with the text so far. Only the first reason counts."""
        if self.end is None and self.stopped is None:
            self.stopped = why
            if self.task is not None:
                self.task.cancel()
            else:
                self.finish(Done("", self.outcome, stopped=True))

    def join(self) -> None:
        """Count a reader."""
        self.readers += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def leave(self) -> None:
        """Uncount a reader; the last one has a grace period to come back."""
        self.readers -= 1
        if not self.readers and self.end is None:
            loop = asyncio.get_running_loop()
            self._leaving = loop.call_later(GRACE, self.stop, Stop.LEFT)


class PendingQuestions:
    """The questions of the last minutes, at most `capacity`."""

    def __init__(
        self,
        capacity: int = CAPACITY,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.lifetime = lifetime
        self.clock = clock
        self.items: dict[str, PendingQuestion] = {}  # oldest first

    def add(
        self, asked: NewQuestion, owner: str, groups: frozenset[str] = frozenset()
    ) -> PendingQuestion:
        """Add a question. Raises Full: no place is free and none can be freed.

        A visitor who sends questions without following them loses the oldest, and takes no place
        from others.
        """
        self._make_room(owner)
        ask = PendingQuestion(asked, self.clock(), owner, groups)
        self.items[ask.id] = ask
        return ask

    def get(self, id: str) -> PendingQuestion | None:
        """The question, unless it is unknown or has expired."""
        self._expire()
        return self.items.get(id)

    @property
    def running(self) -> int:
        """Number of answers in progress. Callable from any thread."""
        return sum(ask.is_running for ask in list(self.items.values()))

    def stop(self, id: str) -> None:
        """End the answer with the text so far, at the reader's request."""
        if ask := self.get(id):
            ask.stop(Stop.READER)

    def close(self) -> None:
        """End every answer at shutdown."""
        for ask in self.items.values():
            ask.stop(Stop.SHUTDOWN)

    def _expire(self) -> None:
        oldest = self.clock() - self.lifetime
        old = list(takewhile(lambda ask: ask.made <= oldest, self.items.values()))
        for ask in old:
            if not ask.is_running:
                del self.items[ask.id]

    def _make_room(self, owner: str) -> None:
        self._expire()
        own = [ask for ask in self.items.values() if ask.owner == owner and ask.end is None]
        if len(own) >= max(1, self.capacity // SHARE):
            waiting = next((ask for ask in own if ask.is_waiting), None)
            if waiting is None:
                raise Full
            del self.items[waiting.id]
        if len(self.items) < self.capacity:
            return
        late = self.clock() - PATIENCE
        for ask in self.items.values():
            # A question whose reader may still come counts as running for a while.
            if ask.end is not None or (ask.is_waiting and ask.made < late):
                del self.items[ask.id]
                return
        raise Full


def new_id() -> str:
    """An unguessable id: whoever knows it may read, stop and vote."""
    return secrets.token_urlsafe(16)


def checked(question: str) -> str:
    """The normalised question. Raises BadQuestion."""
    question = without(question).replace("\r\n", "\n").strip()
    if not question:
        raise BadQuestion("Please type a question.")
    if len(question) > MAX_QUESTION:
        raise BadQuestion(
            f"The question is {len(question):,} characters long;"
            f" {MAX_QUESTION:,} is the most. Please shorten it."
        )
    return question


def recalled(stored: StoredQuestion) -> tuple[PendingQuestion, Done]:
    """A stored question with its answer."""
    fields: dict[str, Any] = {
        **stored.answered.outcome,
        "refused": stored.answered.state == "refused",
    }
    try:
        outcome = Outcome.model_validate(fields)
    except ValidationError:  # of a newer askdocs
        outcome = Outcome(refused=fields["refused"])
    done = Done(stored.answered.answer, outcome, stored.answered.state == "stopped")
    return PendingQuestion(stored.asked, 0.0, text=done.text, outcome=outcome, end=done), done
