"""Runs an answer in Slack: from a question to the last edit of a message."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from widget.access.people import People
from widget.service.failure import WRONG, Failure
from widget.service.gateway import Gateway
from widget.service.outcome import Outcome, Reading
from widget.service.store import Answered, NewQuestion
from widget.slack import messages
from widget.slack.messages import Message
from widget.slack.record import Record, Turns
from widget.slack.replies import UNREACHED, Pace, Reply
from widget.slack.unfinished import Open, Unfinished

log = logging.getLogger(__name__)

AGAIN = 20.0  # seconds between attempts to show the end of an answer
GRACE = 3.0  # seconds for the last edits at shutdown

EMPTY = "The model gave no answer. Please try again, or ask in other words."
GOING_AWAY = "askdocs is being restarted, and the answer broke off. Please try again in a moment."
BROKE_OFF = "askdocs was restarted, and this answer broke off. Please try again."


@dataclass
class Growing:
    """An answer in progress."""

    text: str = ""
    reading: Reading | None = None
    outcome: Outcome = field(default_factory=Outcome)
    first_token: float | None = None
    changed: bool = False

    async def read(self, parts: AsyncIterator[Reading | str | Outcome]) -> None:
        """Consume all parts. Raises Failure."""
        began = time.monotonic()
        async for part in parts:
            match part:
                case str():
                    self.first_token = self.first_token or time.monotonic() - began
                    self.text += part
                    self.changed = True
                case Reading():
                    self.reading = part
                    self.changed = True
                case Outcome():
                    self.outcome = part

    def stored(self, failed: bool, duration: float, groups: frozenset[str]) -> Answered:
        """The record for the store."""
        outcome = self.outcome
        return Answered(
            "failed" if failed else "refused" if outcome.refused else "answered",
            answer=self.text,
            model=outcome.served,
            outcome=outcome.stored(),
            confidence=outcome.confidence,
            first_token=self.first_token,
            duration=duration,
            verdict=outcome.verdict,
            readers=outcome.needed(groups),
        )

    def shown(self) -> Message:
        """The message for the current state."""
        self.changed = False
        if self.text.strip():
            return messages.partial(self.text)
        return messages.reading(self.reading) if self.reading else messages.looking()


class Answering:
    """Answers questions, each in its own task."""

    def __init__(
        self,
        gateway: Gateway,
        record: Record,
        unfinished: Unfinished,
        pace: Pace,
        people: People,
    ) -> None:
        self.people = people
        self.gateway, self.record = gateway, record
        self.unfinished, self.pace = unfinished, pace
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(
        self,
        asked: NewQuestion,
        turns: Turns,
        reply: Reply,
        human: bool,
        groups: frozenset[str] = frozenset(),
    ) -> None:
        """Answer a question in an existing message; `human`: offer to ask a human.

        Raises OSError: the folder of unfinished answers cannot be written.
        """
        opened = Open(reply.channel, reply.ts, asked.id, asked.question)
        await asyncio.to_thread(self.unfinished.begin, opened)
        task = asyncio.create_task(self._run(asked, turns, reply, human, opened, groups))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Abort every answer with a message that it broke off."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(
        self,
        asked: NewQuestion,
        turns: Turns,
        reply: Reply,
        human: bool,
        opened: Open,
        groups: frozenset[str],
    ) -> None:
        growing, began, patience = Growing(), time.monotonic(), None
        try:
            with self.pace.writing():
                await self._grow(asked, turns, reply, growing, groups)
            sentence = "" if growing.text.strip() or growing.outcome.refused else EMPTY
        except Failure as failure:
            sentence = failure.sentence
        except asyncio.CancelledError:
            sentence, patience = GOING_AWAY, GRACE
        except Exception:
            log.exception("an answer failed")
            sentence = WRONG
        # Store first, so that the thread's next question and votes find it.
        answered = growing.stored(bool(sentence), time.monotonic() - began, groups)
        await self.record.answered(asked, answered, turns)
        if sentence:
            message = messages.failed(asked.id, asked.question, sentence, growing.text)
        else:
            message = messages.done(asked.id, asked.question, growing.text, growing.outcome, human)
        ended = await self._ended(reply, message, opened, patience)
        while not ended and patience is None:
            await asyncio.sleep(AGAIN)
            ended = await self._ended(reply, message, opened, patience)

    async def _ended(
        self, reply: Reply, message: Message, opened: Open, patience: float | None
    ) -> bool:
        """Was the end shown? If not, the file stays, and the next start reports it."""
        try:
            async with asyncio.timeout(patience):
                await reply.finish(message)
        except UNREACHED as error:
            log.warning("slack: the end of an answer could not be sent yet: %r", error)
            return False
        self.unfinished.end(opened)
        return True

    async def _grow(
        self,
        asked: NewQuestion,
        turns: Turns,
        reply: Reply,
        growing: Growing,
        groups: frozenset[str],
    ) -> None:
        parts = self.gateway.ask(
            asked.question,
            "",
            history=await self.gateway.readable_turns(turns, groups),
            model=asked.alias,
            user=asked.visitor,
            groups=groups,
        )
        reader = asyncio.create_task(growing.read(parts))
        try:
            while not reader.done():
                await asyncio.wait([reader], timeout=self.pace.pause())
                if growing.changed and not reader.done():
                    await reply.show(growing.shown())
            reader.result()
        finally:
            reader.cancel()
            await asyncio.wait([reader])
