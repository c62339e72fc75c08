"""Several choices from a provider: complete, and with the usage of all of them.

LiteLLM's streams of several choices lack indices, ends and text, so such an answer is requested
complete and then streamed. llama.cpp reports the usage of only one choice in a complete answer, so
its choices are requested separately.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.api.usage_sum import UsageSum

AT_ONCE = 8  # concurrent requests for the choices of one answer
# Raises the errors of a dispatched request, and LookupError, TypeError, ValueError: not an answer.
Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Several:
    """Remembers which providers report the usage of one choice only."""

    def __init__(self) -> None:
        self._count_one: set[str] = set()

    async def answer(self, model: str, request: Mapping[str, Any], ask: Ask) -> dict[str, Any]:
        """The complete answer. Raises as `ask`."""
        request = {k: v for k, v in request.items() if k not in ("stream", "stream_options")}
        if model not in self._count_one:
            answer = await ask(request)
            if not isinstance(answer["choices"], list):
                raise TypeError("no choices")
            if "timings" not in answer:  # only llama.cpp has them
                return answer
            self._count_one.add(model)
        answers = await _all(apart(request), ask)
        return joined(answers, request.get("n") or 1)


def apart(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Splits `request` into a request per choice, in order.

    Copies of a prompt with a seed get different seeds, as engines assign them.
    """
    rest = {k: v for k, v in request.items() if k not in ("n", "best_of")}
    prompts = request.get("prompt")
    is_list = isinstance(prompts, list) and not isinstance(prompts[0], int)
    several = [{**rest, "prompt": prompt} for prompt in prompts or ()] if is_list else [rest]
    seed, copies = request.get("seed"), request.get("n") or 1
    seeds = [{} if seed is None else {"seed": seed ^ copy} for copy in range(copies)]
    return [{**one, **other} for one in several for other in seeds]


def joined(answers: list[dict[str, Any]], copies: int) -> dict[str, Any]:
    """Merges the answers to the requests of `apart`. Raises LookupError, TypeError."""
    usage, choices = UsageSum(copies), []
    for number, answer in enumerate(answers):
        choice = {**answer["choices"][0], "index": number}
        choices.append(choice)
        usage.add({**answer, "choices": [choice]})
    whole = {**answers[0], "choices": choices, "usage": usage.total}
    whole.pop("timings", None)  # of one choice only
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
