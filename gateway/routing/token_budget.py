"""Token budgets: the maximum length of an answer, and the maximum cost of a request.

Agents routinely send `max_tokens: 32000`, and some clients send none: a value beyond the context is
clamped, and a missing one is filled in. Without one, a chat of a key that has no limit of tokens
may use the rest of the context.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from core.errors import AskdocsError
from gateway.api.endpoints import EMBEDDINGS, RERANK
from gateway.http.asgi import dump
from gateway.http.overflow import too_long
from gateway.routing.abilities import media, refuse_addresses, without_media
from gateway.upstream.engine import Engine, estimate

# Tokens of the template around the messages, beyond the role names in the JSON.
TEMPLATE = 64
# Tokens of an image, sound or file if no engine can count them. Providers scale images down to
# about this; by its bytes, an image of a megabyte would count as 440,000, beyond many keys' limit
# per minute.
MEDIA = 1600
# The fields that the model reads.
_SAID = ("messages", "prompt", "input", "tools", "query", "documents")


class TokenBudget(NamedTuple):
    """The tokens that a request may use."""

    prompt: int
    """Tokens of the prompt: exact if counted, else an upper bound."""
    answer: int | None
    """`max_tokens` for the engine; None if the endpoint has no such field."""
    choices: int = 1
    is_open: bool = False
    """May the answer use the rest of the context, because no length is given?"""

    @property
    def tokens(self) -> int:
        """The maximum for the request, which its key reserves."""
        return self.prompt + (self.answer or 0) * self.choices


def wanted(request: Mapping[str, Any], default: int) -> int:
    """The answer length that the client requests."""
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = request.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return default


def bound(path: str, request: dict[str, Any], size: int, default: int) -> TokenBudget:
    """The budget by the body's size alone: a token has at least one byte."""
    if path in (EMBEDDINGS.path, RERANK.path):
        return TokenBudget(size, None)
    return TokenBudget(size + TEMPLATE, wanted(request, default), choices(request))


def choices(request: Mapping[str, Any]) -> int:
    """The number of answers requested: `n` per prompt."""
    count = max(_number(request.get("n")), _number(request.get("best_of")))
    if isinstance(prompts := request.get("prompt"), list) and all(
        isinstance(prompt, str | list) for prompt in prompts
    ):
        count *= max(1, len(prompts))
    return count


def within(budget: TokenBudget, engine: Engine | None) -> TokenBudget:
    """Limits the answer to the context's length, if it is already known."""
    known = engine.known if engine else None
    if known is None or known.context is None or budget.answer is None:
        return budget
    return budget._replace(answer=min(budget.answer, known.context))


async def fit(budget: TokenBudget, request: dict[str, Any], engine: Engine) -> TokenBudget:
    """Fits the budget into the context of the engine's model; counts the prompt if necessary.

    An open answer gets what is left: exactly, or at least half the context.

    Raises:
        ApiError: 400 when the prompt alone fills the context, with both numbers.
        AskdocsError: the engine is unavailable.
    """
    context = (await engine.model()).context
    if context is None or budget.answer is None:
        return budget
    if budget.is_open and budget.prompt <= context / 2:
        return budget._replace(answer=context - budget.prompt)
    if not budget.is_open and budget.prompt + budget.answer <= context:
        return budget
    counted = await count(request, engine)
    if counted is None:
        return budget
    if counted >= context:
        raise too_long(counted, context, "messages" if "messages" in request else "prompt")
    left = context - counted
    answer = left if budget.is_open else min(budget.answer, left)
    return budget._replace(prompt=counted, answer=answer)


async def count(request: Mapping[str, Any], engine: Engine) -> int | None:
    """Exact tokens of the prompt; None if the engine cannot count or refuses the request.

    Raises ApiError 400 as `refuse_addresses`.
    """
    refuse_addresses(request)
    try:
        return await engine.count_prompt(request)
    except (httpx.HTTPError, AskdocsError, KeyError):
        return None


async def count_nearly(request: Mapping[str, Any], engine: Engine | None) -> int:
    """Tokens of the prompt: exact if an engine can count, else rather too many than too few."""
    counted = await count(request, engine) if engine else None
    if counted is not None:
        return counted
    parts = [request[name] for name in _SAID if name in request and name != "messages"]
    text = dump([without_media(request), *parts]).decode()
    return await estimate(text) + TEMPLATE + MEDIA * sum(1 for _ in media(request))


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1
