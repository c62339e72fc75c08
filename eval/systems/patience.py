"""How long whoever asks an endpoint waits for it, and what it means when it does not answer."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from gateway.core.errors import AskdocsError

# Seconds for which an endpoint may be away, or its key's limit be reached.
PATIENCE = 120.0
# Seconds between two tries, unless the endpoint says how long.
PAUSE = 1.0
# Tries of one request that may fail although the endpoint is there.
FAILURES = 3

T = TypeVar("T")


class EndpointAway(AskdocsError):
    """The endpoint does not answer. Whoever asks cannot go on."""


class RequestRefused(AskdocsError):
    """The endpoint says that it cannot answer this request. Others it may."""


class EndpointBusy(Exception):
    """Later it will answer."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class AnswerFailed(Exception):
    """It was there, and has not answered to the end."""


async def patiently(endpoint: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` returns, which is tried again while the endpoint is away, busy or fails.

    Args:
        endpoint: what it is called in errors.
        ask: raises what httpx does, and what `refusal` returns.

    Raises:
        EndpointAway: it is away for longer than PATIENCE, or takes the key no more.
        RequestRefused: it refuses this request, or fails each time.
    """
    failures, deadline = 0, math.inf
    while True:
        pause = PAUSE
        try:
            return await ask()
        except EndpointBusy as busy:
            pause, why = busy.seconds, str(busy)
        except AnswerFailed as failed:
            failures, why = failures + 1, str(failed)
            if failures == FAILURES:
                raise RequestRefused(f"it failed {FAILURES} times: {why}") from None
            deadline = math.inf
        except httpx.TransportError as error:
            why = repr(error)
        # A try may take minutes: patience begins when the first one has failed.
        now = time.monotonic()
        deadline = min(deadline, now + PATIENCE)
        if now + pause > deadline:
            raise EndpointAway(f"{endpoint} has not answered for long: {why}")
        await asyncio.sleep(pause)


def refusal(endpoint: str, reply: httpx.Response) -> Exception:
    """What a reply that is no answer means. It has been read."""
    status = reply.status_code
    try:
        message, is_its_own = str(reply.json()["error"]["message"]), True
    except (ValueError, KeyError, TypeError):
        message, is_its_own = reply.text[:200], False
    text = f"{status}: {' '.join(message.split())}"
    # A proxy says 502 while what is behind it starts again.
    if status in (429, 503) or (status == 502 and not is_its_own):
        return EndpointBusy(text, _wait(reply))
    if status >= 500:
        return AnswerFailed(text)
    if status in (401, 403, 404):
        return EndpointAway(f"{endpoint} refuses: {text}")
    return RequestRefused(text)


def _wait(reply: httpx.Response) -> float:
    try:
        return float(reply.headers["retry-after"])
    except (KeyError, ValueError):
        return PAUSE
