"""Questions that were asked and wait for, or are getting, their answer.

They live in memory and for minutes: a question is stored by the POST and answered on the event
stream that the browser opens next.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from widget.gateway import Failure, Outcome, Reading

LIFETIME = 600.0
CAPACITY = 1000
MAX_QUESTION = 2000


class BadQuestion(ValueError):
    """A question that is not asked, with the reason as a sentence for the reader."""


class Full(Exception):
    """Every place is taken by an answer that is being written."""


class Phase(Enum):
    """Where a question is. It goes forward only."""

    WAITING = 1
    RUNNING = 2
    ENDED = 3


class Stop(Enum):
    """Why an answer ends early."""

    READER = "reader"
    SHUTDOWN = "shutdown"


Letter = Reading | str | Outcome | Failure | Stop | None


@dataclass
class Ask:
    """One question. Its mailbox takes parts, a failure or a stop; None ends the answer."""

    id: str
    question: str
    page: str
    made: float
    phase: Phase = Phase.WAITING
    stopped: bool = False
    delivered: bool = False  # the reader has the end of the answer
    mailbox: asyncio.Queue[Letter] = field(default_factory=asyncio.Queue)

    def stop(self, why: Stop) -> None:
        """End the answer with what there is of it. Only the first reason counts."""
        if not self.stopped:
            self.stopped = True
            self.mailbox.put_nowait(why)


class Asks:
    """The questions of the last minutes, at most `capacity` of them."""

    def __init__(
        self,
        capacity: int = CAPACITY,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.lifetime = lifetime
        self.clock = clock
        self.items: dict[str, Ask] = {}  # oldest first

    def add(self, question: str, page: str) -> Ask:
        """Store a question.

        Raises:
            BadQuestion: it is empty or too long.
            Full: there is no place and none can be made.
        """
        question = checked(question)
        self._make_room()
        ask = Ask(secrets.token_urlsafe(16), question, page, self.clock())
        self.items[ask.id] = ask
        return ask

    def get(self, id: str) -> Ask | None:
        """The question, unless it is unknown or has expired."""
        self._expire()
        return self.items.get(id)

    def start(self, id: str) -> Ask | None:
        """The question, the first time it is asked for; None ever after."""
        ask = self.get(id)
        if ask is None or ask.phase is not Phase.WAITING:
            return None
        ask.phase = Phase.RUNNING
        return ask

    def stop(self, id: str) -> None:
        """End the answer to this question with what there is of it, at the reader's wish."""
        if ask := self.get(id):
            ask.stop(Stop.READER)

    def close(self) -> None:
        """End every answer: the server is going away."""
        for ask in self.items.values():
            ask.stop(Stop.SHUTDOWN)

    def _expire(self) -> None:
        oldest = self.clock() - self.lifetime
        for ask in list(self.items.values()):
            if ask.made > oldest:
                break
            if ask.phase is not Phase.RUNNING:
                del self.items[ask.id]

    def _make_room(self) -> None:
        self._expire()
        if len(self.items) < self.capacity:
            return
        for ask in self.items.values():
            if ask.phase is not Phase.RUNNING:
                del self.items[ask.id]
                return
        raise Full


def checked(question: str) -> str:
    """The question as it will be asked. Raises BadQuestion."""
    question = question.replace("\0", "").replace("\r\n", "\n").strip()
    if not question:
        raise BadQuestion("Please type a question.")
    if len(question) > MAX_QUESTION:
        raise BadQuestion(
            f"The question is {len(question):,} characters long;"
            f" {MAX_QUESTION:,} is the most. Please shorten it."
        )
    return question
