"""The course of one answer: from the gateway's parts to the states a reader sees."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from widget.asks import Ask, Phase, Stop
from widget.gateway import WRONG, Failure, Gateway, Outcome, Reading

log = logging.getLogger(__name__)

QUIET = 15.0  # seconds without an event after which proxies are told that the stream lives
PACE = 0.1  # seconds between two renderings of a growing answer

GOING_AWAY = "The box is being restarted. Please try again in a moment."
EMPTY = "The model gave no answer. Please try again, or ask in other words."


@dataclass(frozen=True)
class Partial:
    """The answer so far."""

    text: str


@dataclass(frozen=True)
class Done:
    """The whole answer, or as much of it as there was when the reader stopped it."""

    text: str
    outcome: Outcome
    stopped: bool = False


@dataclass(frozen=True)
class Failed:
    """A sentence for the reader, and as much of the answer as came."""

    sentence: str
    text: str = ""


@dataclass(frozen=True)
class Quiet:
    """Nothing has happened for a while."""


State = Reading | Partial | Done | Failed | Quiet


async def follow(ask: Ask, gateway: Gateway) -> AsyncGenerator[State]:
    """Ask the gateway and yield what to show; the last state is Done or Failed.

    Closing the iterator stops the gateway too.
    """
    pump = asyncio.create_task(_pump(ask, gateway))
    text = ""
    outcome = Outcome()
    shown = True
    due = 0.0
    try:
        while True:
            if not shown and time.monotonic() >= due:
                shown = True
                began = time.monotonic()
                yield Partial(text)
                ended = time.monotonic()
                # Long answers take longer to render: never more than a fifth of the time.
                due = ended + max(PACE, 4 * (ended - began))
            try:
                async with asyncio.timeout(QUIET if shown else max(0, due - time.monotonic())):
                    letter = await ask.mailbox.get()
            except TimeoutError:
                if shown:
                    yield Quiet()
                continue
            match letter:
                case Reading():
                    yield letter
                case str():
                    text += letter
                    shown = False
                case Outcome():
                    outcome = letter
                case Failure():
                    yield Failed(letter.sentence, text)
                    return
                case Stop.SHUTDOWN:
                    yield Failed(GOING_AWAY, text)
                    return
                case Stop.READER:
                    yield Done(text, outcome, stopped=True)
                    return
                case None:
                    empty = not text.strip() and not outcome.refused
                    yield Failed(EMPTY) if empty else Done(text, outcome)
                    return
    finally:
        ask.phase = Phase.ENDED
        pump.cancel()
        await asyncio.wait([pump])


async def _pump(ask: Ask, gateway: Gateway) -> None:
    try:
        async for part in gateway.ask(ask.question, ask.page):
            ask.mailbox.put_nowait(part)
        ask.mailbox.put_nowait(None)
    except Failure as failure:
        ask.mailbox.put_nowait(failure)
    except Exception:
        log.exception("an answer failed")
        ask.mailbox.put_nowait(Failure(WRONG))
