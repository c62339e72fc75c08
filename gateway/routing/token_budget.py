"""Token budgets: the maximum length of an answer, and the maximum cost of a request.

Agents send `max_tokens: 32000` as a matter of course, and some clients send none: a wish beyond the
budget is clamped, and a missing one is filled in, so that every request has an upper bound.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from gateway.api.endpoints import EMBEDDINGS, RERANK
from gateway.core.errors import AskdocsError
from gateway.core.http import ApiError, dump
from gateway.routing.abilities import media, refuse_addresses, without_media
from gateway.upstream.engine import Engine, estimate

# The template around the messages, beside the role names that the JSON spells out.
TEMPLATE = 64
# An image, sound or file where no engine can tell. Providers scale images down to about as many; by
# its data one of a megabyte would count 440,000, more than many keys may use in a minute.
MEDIA = 1600
# Where a request has what its model reads.
_SAID = ("messages", "prompt", "input", "tools", "query", "documents")


class TokenBudget(NamedTuple):
    """What a request may use."""

    prompt: int
    """Tokens of the prompt: exact where it was counted, else an upper bound."""
    answer: int | None
    """`max_tokens` for the engine; None where the endpoint has none."""
    choices: int = 1

    @property
    def tokens(self) -> int:
        """The most that the request can use: what its key reserves."""
        return self.prompt + (self.answer or 0) * self.choices


def wanted(request: dict[str, Any], default: int) -> int:
    """The length of the answer that the client asks for."""
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        value = request.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return default


def bound(path: str, request: dict[str, Any], size: int, default: int) -> TokenBudget:
    """The budget by the size of the body alone: a token is at least a byte of it."""
    if path in (EMBEDDINGS.path, RERANK.path):
        return TokenBudget(size, None)
    return TokenBudget(size + TEMPLATE, wanted(request, default), choices(request))


def choices(request: Mapping[str, Any]) -> int:
    """How many answers are asked for: `n` to each prompt."""
    count = max(_number(request.get("n")), _number(request.get("best_of")))
    if isinstance(prompts := request.get("prompt"), list) and all(
        isinstance(prompt, str | list) for prompt in prompts
    ):
        count *= max(1, len(prompts))
    return count


def within(budget: TokenBudget, engine: Engine | None) -> TokenBudget:
    """The budget, with an answer no longer than the context, as far as that is known already."""
    known = engine.known if engine else None
    if known is None or known.context is None or budget.answer is None:
        return budget
    return budget._replace(answer=min(budget.answer, known.context))


async def fit(budget: TokenBudget, request: dict[str, Any], engine: Engine) -> TokenBudget:
    """The budget within the context of the engine's model; the prompt is counted if it has to be.

    Raises:
        ApiError: 400 when the prompt alone fills the context, with both numbers.
        AskdocsError: the engine is away.
    """
    context = (await engine.model()).context
    if context is None or budget.answer is None or budget.prompt + budget.answer <= context:
        return budget
    counted = await count(request, engine)
    if counted is None:
        return budget
    if counted >= context:
        raise ApiError(
            400,
            f"the prompt has {counted:,} tokens and the model's context {context:,}: shorten it",
            param="messages" if "messages" in request else "prompt",
            code="context_length_exceeded",
        )
    return budget._replace(prompt=counted, answer=min(budget.answer, context - counted))


async def count(request: Mapping[str, Any], engine: Engine) -> int | None:
    """Exact tokens of the prompt; None when the engine cannot tell or refuses the request.

    Raises ApiError 400 as `refuse_addresses`.
    """
    refuse_addresses(request)
    try:
        return await engine.count_prompt(request)
    except (httpx.HTTPError, AskdocsError, KeyError):
        return None


async def count_nearly(request: Mapping[str, Any], engine: Engine | None) -> int:
    """Tokens of the prompt: exact where an engine can tell, else rather too many than too few."""
    counted = await count(request, engine) if engine else None
    if counted is not None:
        return counted
    parts = [request[name] for name in _SAID if name in request and name != "messages"]
    text = dump([without_media(request), *parts]).decode()
    return await estimate(text) + TEMPLATE + MEDIA * sum(1 for _ in media(request))


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1
