"""A completion of zero tokens: an empty text, or the prompt if `echo` is set.

Engines interpret `max_tokens: 0` differently: llama.cpp generates one token, or does not stop.
"""

import time
from typing import Any

from gateway.answering.stream import new_id
from gateway.api.endpoints import COMPLETIONS
from gateway.api.plan import RequestPlan, Tokens
from gateway.api.transform import WithoutModel
from gateway.http.asgi import DONE, ApiError, dump, event
from gateway.routing import token_budget
from gateway.routing.registry import Served
from gateway.upstream.engine import estimated


class Unwritten(WithoutModel):
    """Complete from the start, without calling a model."""

    def __init__(self, plan: RequestPlan, prompts: list[str | list[int]], counted: int) -> None:
        """Raises ApiError 400: tokens cannot be echoed as text."""
        self._plan = plan
        self._counted = counted
        self._id, self._created = new_id("cmpl-"), int(time.time())
        echoed = prompts if plan.request.get("echo") else [""] * len(prompts)
        if not all(isinstance(text, str) for text in echoed):
            text = "echo: the prompt's token ids cannot be decoded here: send the prompt as text"
            raise ApiError(400, text, param="echo")
        self._texts = [text for text in echoed for _ in range(plan.copies)]

    @property
    def tokens(self) -> Tokens:
        return Tokens(self._counted)

    @property
    def answer(self) -> str:
        return ""

    def start(self) -> bytes:
        choices = [
            {"index": number, "text": text, "logprobs": None, "finish_reason": "length"}
            for number, text in enumerate(self._texts)
        ]
        usage = {"prompt_tokens": self._counted, "completion_tokens": 0}
        usage["total_tokens"] = self._counted
        if not self._plan.stream:
            return dump({**self._head(), "choices": choices, "usage": usage})
        options = self._plan.request.get("stream_options") or {}
        last = event({**self._head(), "choices": [], "usage": usage})
        events = [event({**self._head(), "choices": [choice]}) for choice in choices]
        return b"".join([*events, last if options.get("include_usage") else b"", DONE])

    def _head(self) -> dict[str, Any]:
        kind, model = "text_completion", self._plan.alias
        return {"id": self._id, "object": kind, "created": self._created, "model": model}


def is_asked(endpoint: str, plan: RequestPlan) -> bool:
    """Does the request ask for zero tokens, without the prompt's probabilities?"""
    request = plan.request
    return (
        endpoint == COMPLETIONS.path
        and request.get("max_tokens") == 0
        and not request.get("logprobs")
    )


async def unwritten(plan: RequestPlan, served: Served) -> Unwritten:
    """Raises ApiError 400."""
    given = plan.request["prompt"]
    is_one = isinstance(given, str) or isinstance(given[0], int)
    prompts: list[Any] = [given] if is_one else given
    counted = 0
    for prompt in prompts:
        if isinstance(prompt, str):
            engine = served.engine
            known = await token_budget.count({"prompt": prompt}, engine) if engine else None
            counted += estimated(prompt) if known is None else known
        else:
            counted += len(prompt)
    return Unwritten(plan, prompts, counted)
