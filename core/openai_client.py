"""Requests to OpenAI-compatible endpoints: one attempt, or with patience; one kind of errors.

OpenAI's own library takes 1.6 s to import, and its models drop what askdocs adds to a chunk.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
import orjson

from core.errors import AskdocsError
from core.sse import events

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


async def post(
    http: httpx.AsyncClient,
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """The reply to one request, an object.

    Args:
        http: sends the key.
        url: the whole address, such as http://127.0.0.1:4000/v1/embeddings.
        body: the request.
        headers: more of them.
        name: of the endpoint, for errors; default: the address.

    Raises:
        httpx.HTTPError: it does not answer.
        AskdocsError: it does not answer with a JSON object.
        Exception: that of `refusal`.
    """
    reply = await http.post(url, json=body, headers=headers)
    if reply.is_error:
        raise refusal(name or url, reply)
    try:
        answer = reply.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise AskdocsError(
            f"{url}: its answer has an unknown format: {' '.join(reply.text[:200].split())!r}"
        )
    return answer


async def stream(
    http: httpx.AsyncClient,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    name: str = "",
) -> AsyncIterator[dict[str, Any]]:
    """The chunks of one streamed answer. Arguments as of `post`; `body` is JSON.

    Raises as `post`, and AnswerFailed: it broke off. RequestRefused: a chunk is an error.
    """
    headers = {**headers, "content-type": "application/json"}
    async with http.stream("POST", url, content=body, headers=headers) as reply:
        if reply.is_error:
            await reply.aread()
            raise refusal(name or url, reply)
        ended = False
        try:
            async for data in events(reply.aiter_bytes()):
                if data == "[DONE]":
                    ended = True
                    continue
                chunk: dict[str, Any] = orjson.loads(data)
                if "error" in chunk:
                    raise RequestRefused(f"it broke off: {chunk['error'].get('message')}")
                yield chunk
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise AnswerFailed(f"the stream broke off: {error}") from None
        if not ended:
            raise AnswerFailed("it broke off in the middle")


def say_hello(url: str, model: str, key: str) -> None:
    """Does the model write any tokens?

    Args:
        url: the base URL with /v1.
        model: its name there.
        key: the API key.

    Raises AskdocsError: it does not.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 8,
        "temperature": 0,
    }
    headers = {"Authorization": f"Bearer {key}"}
    try:
        reply = httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=120)
    except httpx.HTTPError as error:
        raise AskdocsError(f"{model}: gave no answer ({error!r}): see `askdocs status`") from None
    if reply.status_code != 200 or not reply.json()["usage"]["completion_tokens"]:
        raise AskdocsError(f"{model}: gave no answer: {reply.text[:300]}")


async def patiently(
    endpoint: str, ask: Callable[[], Awaitable[T]], patience: float | None = None
) -> T:
    """The result of `ask`, retried while the endpoint is unavailable, busy or failing.

    Args:
        endpoint: name for errors.
        ask: may raise httpx' errors, and those of `refusal`.
        patience: seconds for which it may be unavailable; default: PATIENCE.

    Raises:
        EndpointAway: it is unavailable for longer, or rejects the key.
        RequestRefused: it refuses this request, or fails at every attempt.
    """
    failures, deadline = 0, math.inf
    patience = PATIENCE if patience is None else patience
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
        deadline = min(deadline, now + patience)
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
