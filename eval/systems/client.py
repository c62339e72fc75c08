"""Asks a gateway for an evaluation: streaming, greedy decoding, timed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import httpx
import orjson

from core.openai_client import RequestRefused, patiently, stream
from gateway.answering.grounding.confidence import mean_logprob
from gateway.answering.grounding.prompt import Message

# Seconds without a byte: a CPU takes minutes for a prompt of 8,000 tokens.
SILENCE = 900.0


@dataclass
class GatewayReply:
    """A reply to a request."""

    text: str = ""
    reading_s: float | None = None
    """Seconds until the gateway reported the pages it reads."""
    first_token_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reading: list[dict[str, Any]] = field(default_factory=list)
    """The pages in the prompt."""
    facts: dict[str, Any] = field(default_factory=dict)
    """`askdocs` of the last chunk: see docs/explanation/answers.md."""
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def logprob(self) -> float | None:
        """The mean over all tokens, in nats."""
        return mean_logprob(self.logprobs, len(self.text))


class Client:
    """Asks for answers. Close it in the event loop in which it is used."""

    def __init__(self, url: str, key: str, max_tokens: int, at_once: int) -> None:
        """`url` is the base URL of the gateway's API, with /v1."""
        self._url = url
        self._gateway = f"the gateway at {url}"
        self._max_tokens = max_tokens
        self._silent: set[str] = set()
        """Models that report no probabilities, such as Claude."""
        self.busy_s = 0.0
        """Total seconds of all answered requests."""
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
        self,
        model: str,
        messages: Sequence[Message],
        headers: Mapping[str, str],
        logprobs: bool = True,
    ) -> GatewayReply:
        """Ask for an answer; retries while the gateway is unavailable or busy.

        `logprobs` must be off in extractive mode, which has none: a gateway would let the model
        answer a request for them. Raises as `patiently`.
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
        while True:
            asks = logprobs and answering not in self._silent
            options = {"logprobs": True, "top_logprobs": 1} if asks else {}
            once = partial(self._once, orjson.dumps(request | options), headers)
            try:
                reply = await patiently(self._gateway, once)
            except RequestRefused as error:
                if not asks or "logprobs" not in str(error):
                    raise
                self._silent.add(answering)
            else:
                self.busy_s += reply.total_s
                return reply

    async def _once(self, body: bytes, headers: Mapping[str, str]) -> GatewayReply:
        answer = GatewayReply()
        began = time.monotonic()
        url = f"{self._url}/chat/completions"
        async for chunk in stream(self._http, url, body, headers, self._gateway):
            facts = chunk.get("askdocs") or {}
            if "reading" in facts:
                answer.reading, answer.reading_s = facts["reading"], time.monotonic() - began
            if usage := chunk.get("usage"):
                answer.prompt_tokens = usage.get("prompt_tokens") or 0
                answer.completion_tokens = usage.get("completion_tokens") or 0
            for choice in chunk.get("choices") or ():
                if text := choice["delta"].get("content"):
                    if answer.first_token_s is None:
                        answer.first_token_s = time.monotonic() - began
                    answer.text += text
                answer.logprobs += (choice.get("logprobs") or {}).get("content") or ()
                if choice.get("finish_reason"):
                    answer.facts = facts
        answer.total_s = time.monotonic() - began
        return answer
