"""Asks a gateway as an exam does: streamed, greedily, and with a clock."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import orjson

from gateway.errors import AskdocsError
from gateway.grounding.confidence import mean_logprob
from gateway.grounding.prompt import Message
from gateway.http import events

# Seconds for which a gateway may be away, or its key's limit be reached, before a run ends.
PATIENCE = 120.0
# Seconds between two tries, unless the gateway says how long.
PAUSE = 1.0
# Answers to one request that may break off in the middle.
BREAKS = 3
# Seconds without a byte: a prompt of 8,000 tokens takes a CPU minutes.
SILENCE = 900.0


class Away(AskdocsError):
    """The gateway does not answer. The run cannot go on."""


class Refused(AskdocsError):
    """The gateway says that it cannot answer this request. Others it may."""


@dataclass
class Said:
    """What came for a request."""

    text: str = ""
    reading_s: float | None = None
    """Until the gateway told which pages are read."""
    first_token_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reading: list[dict[str, Any]] = field(default_factory=list)
    """The pages in front of the question."""
    facts: dict[str, Any] = field(default_factory=dict)
    """`askdocs` of the last chunk: see docs/answers.md."""
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def logprob(self) -> float | None:
        """The mean of all tokens, in nats."""
        return mean_logprob(self.logprobs, len(self.text))


class Client:
    """Asks for answers. Close it in the event loop that it is used in."""

    def __init__(self, url: str, key: str, max_tokens: int, at_once: int) -> None:
        """`url` is the base URL of the gateway's API, with /v1."""
        self._url = url
        self._max_tokens = max_tokens
        self._silent: set[str] = set()
        """Models that tell no probabilities, such as Claude."""
        self.busy_s = 0.0
        """What all requests took that were answered, together."""
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(SILENCE, connect=10),
            limits=httpx.Limits(max_connections=at_once + 4),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self, model: str, messages: Sequence[Message], headers: Mapping[str, str]
    ) -> Said:
        """The answer; a gateway that is away for a while, or busy, is asked again.

        Raises:
            Away: it is away for longer than PATIENCE, or takes the key no more.
            Refused: it refuses this request, or breaks off each time.
        """
        request = {
            "model": model,
            "messages": messages,
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        answering = headers.get("x-askdocs-model", model)
        headers = {**headers, "content-type": "application/json"}
        deadline = time.monotonic() + PATIENCE
        breaks = 0
        while True:
            pause = PAUSE
            asks = answering not in self._silent
            told = {"logprobs": True, "top_logprobs": 1} if asks else {}
            try:
                said = await self._once(orjson.dumps(request | told), headers)
                self.busy_s += said.total_s
                return said
            except Refused as error:
                if not asks or "logprobs" not in str(error):
                    raise
                self._silent.add(answering)
                continue
            except _Busy as busy:
                pause, why = busy.seconds, str(busy)
            except httpx.RemoteProtocolError as error:
                breaks, why = breaks + 1, str(error)
                if breaks == BREAKS:
                    raise Refused(f"it broke off {BREAKS} times: {error}") from None
            except httpx.TransportError as error:
                why = repr(error)
            if time.monotonic() + pause > deadline:
                raise Away(f"the gateway at {self._url} has not answered for long: {why}")
            await asyncio.sleep(pause)

    async def _once(self, body: bytes, headers: Mapping[str, str]) -> Said:
        said = Said()
        began = time.monotonic()
        ended = False
        url = f"{self._url}/chat/completions"
        async with self._http.stream("POST", url, content=body, headers=headers) as reply:
            if reply.status_code != 200:
                await reply.aread()
                raise _error(reply)
            async for data in events(reply.aiter_bytes()):
                if data == "[DONE]":
                    ended = True
                    continue
                chunk = orjson.loads(data)
                if "error" in chunk:
                    raise Refused(f"it broke off: {chunk['error'].get('message')}")
                facts = chunk.get("askdocs") or {}
                if "reading" in facts:
                    said.reading, said.reading_s = facts["reading"], time.monotonic() - began
                if usage := chunk.get("usage"):
                    said.prompt_tokens = usage.get("prompt_tokens") or 0
                    said.completion_tokens = usage.get("completion_tokens") or 0
                for choice in chunk.get("choices") or ():
                    if text := choice["delta"].get("content"):
                        if said.first_token_s is None:
                            said.first_token_s = time.monotonic() - began
                        said.text += text
                    said.logprobs += (choice.get("logprobs") or {}).get("content") or ()
                    if choice.get("finish_reason"):
                        said.facts = facts
        if not ended:
            raise httpx.RemoteProtocolError("it broke off in the middle")
        said.total_s = time.monotonic() - began
        return said


class _Busy(Exception):
    """Later it will answer."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


def _error(reply: httpx.Response) -> Exception:
    try:
        text = str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = reply.text[:200]
    text = f"{reply.status_code}: {text}"
    if reply.status_code in (429, 503):
        after = reply.headers.get("retry-after", "")
        return _Busy(text, float(after) if after.isdigit() else PAUSE)
    if reply.status_code in (401, 403, 404):
        return Away(f"the gateway at {reply.url} refuses: {text}")
    return Refused(text)
