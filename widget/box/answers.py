"""Runs an answer: turns the gateway's events into the states that a reader sees."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from widget.service import store
from widget.service.failure import WRONG, Failure
from widget.service.gateway import Gateway
from widget.service.journal import Journal
from widget.service.metrics import Metrics
from widget.service.pending import PendingQuestion, Stop
from widget.service.states import Done, End, Failed, Partial, Quiet, State
from widget.service.store import Answered

log = logging.getLogger(__name__)

QUIET = 15.0  # seconds without an event until a keep-alive for proxies
PACE = 0.25  # seconds between two renderings of a growing answer
SLOWEST = 2.0  # the maximum, with hundreds of growing answers

GOING_AWAY = "The box is being restarted. Please try again in a moment."
EMPTY = "The model gave no answer. Please try again, or ask in other words."


class Answers:
    """Produces answers and streams their states to readers."""

    def __init__(self, gateway: Gateway, journal: Journal, metrics: Metrics) -> None:
        self._gateway = gateway
        self._journal = journal
        self._metrics = metrics
        self._followed = 0  # readers following an answer now

    async def follow(self, ask: PendingQuestion) -> AsyncGenerator[State]:
        """Yields the states to show, starting with the current one; the last is Done or Failed.

        The first reader starts the answer. When the last reader closes the iterator, the answer is
        abandoned after a grace period, and the gateway stops.
        """
        if ask.task is None and ask.end is None:
            ask.task = asyncio.create_task(self._write(ask))
        ask.join()
        try:
            async with aclosing(self._states(ask)) as states:
                async for state in states:
                    yield state
        finally:
            ask.leave()

    async def _write(self, ask: PendingQuestion) -> None:
        began = time.monotonic()
        first: float | None = None
        asked = ask.asked
        end: End
        try:
            begins = asked.conversation == asked.id  # the first turn
            turns = [] if begins else await self._journal.history(asked.conversation)
            parts = self._gateway.ask(
                asked.question,
                asked.page,
                history=await self._gateway.readable_turns(turns, ask.groups),
                quote=asked.quote,
                user=asked.visitor,
                groups=ask.groups,
            )
            async with aclosing(parts):
                async for part in parts:
                    if first is None and isinstance(part, str):
                        first = time.monotonic() - began
                    ask.take(part)
            if not ask.text.strip() and not ask.outcome.refused:
                raise Failure(EMPTY, "empty")
            end = Done(ask.text, ask.outcome)
        except asyncio.CancelledError:
            shutdown = ask.stopped in (Stop.SHUTDOWN, None)
            end = Failed(GOING_AWAY, ask.text) if shutdown else Done(ask.text, ask.outcome, True)
        except Failure as failure:
            self._metrics.failed(failure.reason)
            end = Failed(failure.sentence, ask.text)
        except Exception:
            log.exception("an answer failed")
            end = Failed(WRONG, ask.text)
        answered = _answered(ask, end, first, time.monotonic() - began)
        self._metrics.answered(answered.state, first, time.monotonic() - began)
        try:
            await self._journal.answered(ask, answered)
        finally:  # also if the reader stops it at this moment
            ask.finish(end)

    async def _states(self, ask: PendingQuestion) -> AsyncGenerator[State]:
        reading, shown, due = None, 0, 0.0
        self._followed += 1
        try:
            while ask.end is None:
                waits = len(ask.text) > shown
                if ask.reading is not reading and not ask.text:
                    reading = ask.reading
                    if reading is not None:
                        yield reading
                elif waits and time.monotonic() >= due:
                    shown = len(ask.text)
                    began = time.monotonic()
                    yield Partial(ask.text)
                    ended = time.monotonic()
                    # Spend at most a fifth of the time on rendering, over all answers.
                    pause = 4 * (ended - began) * self._followed
                    due = ended + min(max(PACE, pause), SLOWEST)
                else:
                    pause = max(0.0, due - time.monotonic()) if waits else QUIET
                    if not await ask.change(pause) and not waits:
                        yield Quiet()
            yield ask.end
        finally:
            self._followed -= 1


def _answered(ask: PendingQuestion, end: End, first: float | None, duration: float) -> Answered:
    state: store.State
    if isinstance(end, Failed):
        state = "failed"
    elif end.stopped:
        state = "stopped"
    else:
        state = "refused" if ask.outcome.refused else "answered"
    return ask.answered(state, first, duration)
