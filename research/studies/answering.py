"""An engine's answer processed like in the gateway, for measuring a single step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.answering.grounding import prompt
from gateway.answering.grounding.confidence import mean_logprob
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.support import Idf, SentenceGate, Support
from gateway.upstream.engine import Engine
from wiki.pages.page import Page

SUPPORT = 0.6  # the gateway's default minimum for a sentence


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer, and the part of it that would be sent."""

    raw: str
    text: str
    """The refusal if nothing would be sent."""
    refused: bool
    support: float | None
    """Of the first sentence."""
    logprob: float | None
    """Mean over the first sentence's tokens, in nats."""
    page: Page | None
    """The page most used by the answer."""


async def answer(
    engine: Engine,
    excerpts: Sequence[Excerpt],
    question: str,
    idf: Idf,
    max_tokens: int = 80,
) -> ModelAnswer:
    """Ask `question` with these pages in the prompt.

    Raises:
        httpx.HTTPError, AskdocsError: the engine is unavailable.
    """
    request: dict[str, Any] = {
        "model": (await engine.model()).id,
        "messages": prompt.render(excerpts, question),
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 1,
    }
    async with httpx.AsyncClient(timeout=600) as http:
        reply = await http.post(f"{engine.url}/chat/completions", json=request)
    reply.raise_for_status()
    choice = reply.json()["choices"][0]
    raw = choice["message"]["content"] or ""
    support = Support(excerpts, question, idf)
    gate = SentenceGate(support, SUPPORT)
    gate.feed(raw)
    gate.close(cut=choice["finish_reason"] == "length")
    rests_on = None if gate.refused else support.best_section(gate.passed)
    return ModelAnswer(
        raw=raw,
        text=prompt.REFUSAL if gate.refused else gate.passed,
        refused=gate.refused,
        support=gate.support,
        logprob=mean_logprob(choice["logprobs"]["content"], gate.first),
        page=rests_on[0] if rests_on else None,
    )
