"""Retries requests to an endpoint, and classifies its errors."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from gateway.core.errors import AskdocsError

# Seconds for which an endpoint may be unavailable, or its rate limit reached.
PATIENCE = 120.0
# Seconds between two attempts, unless the endpoint specifies them.
PAUSE = 1.0
# Attempts at a request that fails although the endpoint is available.
FAILURES = 3

T = TypeVar("T")


class EndpointAway(AskdocsError):
    """The endpoint does not answer; the caller cannot continue."""


class RequestRefused(AskdocsError):
    """The endpoint refuses this request, but may accept others."""


class EndpointBusy(Exception):
    """The endpoint can answer later."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class AnswerFailed(Exception):
    """The endpoint is available, but did not complete the answer."""


async def patiently(endpoint: str, ask: Callable[[], Awaitable[T]]) -> T:
    """The result of `ask`, retried while the endpoint is unavailable, busy or failing.

    Args:
        endpoint: name for errors.
        ask: may raise httpx' errors, and those of `refusal`.

    Raises:
        EndpointAway: it is unavailable for longer than PATIENCE, or rejects the key.
        RequestRefused: it refuses this request, or fails at every attempt.
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
        # An attempt may take minutes: patience starts after the first failure.
        now = time.monotonic()
        deadline = min(deadline, now + PATIENCE)
        if now + pause > deadline:
            raise EndpointAway(f"{endpoint} has not answered for long: {why}")
        await asyncio.sleep(pause)


def refusal(endpoint: str, reply: httpx.Response) -> Exception:
    """The exception for an unsuccessful reply, which has been read."""
    status = reply.status_code
    try:
        message, is_its_own = str(reply.json()["error"]["message"]), True
    except (ValueError, KeyError, TypeError):
        message, is_its_own = reply.text[:200], False
    text = f"{status}: {' '.join(message.split())}"
    # A proxy answers 502 while its backend restarts.
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
