"""Several choices from a provider: whole, and with the usage of all of them.

LiteLLM's streams of several choices lack numbers, ends and words, so that such an answer is asked
for whole and then streamed. llama.cpp states the usage of one choice in a whole answer: its choices
are asked for one by one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.api.usage_sum import UsageSum

AT_ONCE = 8  # requests for the choices of one answer
# Raises what the dispatch of one request raises, and LookupError, TypeError, ValueError: no answer.
Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Several:
    """Knows which providers count one choice alone."""

    def __init__(self) -> None:
        self._count_one: set[str] = set()

    async def answer(self, model: str, request: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
        """The whole answer. Raises what `ask` raises."""
        request = {k: v for k, v in request.items() if k not in ("stream", "stream_options")}
        if model not in self._count_one:
            answer = await ask(request)
            if not isinstance(answer["choices"], list):
                raise TypeError("no choices")
            if "timings" not in answer:  # the mark of llama.cpp
                return answer
            self._count_one.add(model)
        answers = await _all(apart(request), ask)
        return joined(answers, request.get("n") or 1)


def apart(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A request for one choice for each choice that `request` asks for, in their order.

    Copies of a prompt with a seed get seeds of their own, as engines give them.
    """
    rest = {k: v for k, v in request.items() if k not in ("n", "best_of")}
    prompts = request.get("prompt")
    is_list = isinstance(prompts, list) and not isinstance(prompts[0], int)
    several = [{**rest, "prompt": prompt} for prompt in prompts or ()] if is_list else [rest]
    seed, copies = request.get("seed"), request.get("n") or 1
    seeds = [{} if seed is None else {"seed": seed ^ copy} for copy in range(copies)]
    return [{**one, **other} for one in several for other in seeds]


def joined(answers: list[dict[str, Any]], copies: int) -> dict[str, Any]:
    """One answer of those to the requests of `apart`. Raises LookupError, TypeError."""
    usage, choices = UsageSum(copies), []
    for number, answer in enumerate(answers):
        choice = {**answer["choices"][0], "index": number}
        choices.append(choice)
        usage.add({**answer, "choices": [choice]})
    whole = {**answers[0], "choices": choices, "usage": usage.total}
    whole.pop("timings", None)  # of one choice
    return whole


async def _all(requests: list[dict[str, Any]], ask: Ask) -> list[dict[str, Any]]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(request: dict[str, Any]) -> dict[str, Any]:
        async with at_once:
            return await ask(request)

    tasks = [asyncio.ensure_future(one(request)) for request in requests]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
