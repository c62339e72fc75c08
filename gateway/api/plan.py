"""The plan of a request before it reaches a model, and the outcome of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.routing.aliases import Route
from gateway.routing.registry import Served
from gateway.routing.token_budget import TokenBudget
from gateway.telemetry.answer_statistics import Verdict
from gateway.telemetry.metrics import LEFT, Outcome
from gateway.upstream.salt import Salts
from wiki.rights import Reader

Why = Literal[
    "",
    "requested",
    "endpoint",
    "alias",
    "no-wiki",
    "client-job",
    "no-question",
    "no-room",
    "no-page",
]


class GroundingDecision(NamedTuple):
    """Whether the answer is grounded in pages, and if not, why."""

    is_on: bool
    why: Why = ""
    is_agents: bool = False
    """Is it an agent's request, whose messages are kept because the client has tools?"""
    is_asked_for: bool = False
    """Did the client ask for pages explicitly?"""

    def header(self, pages: int) -> str:
        """The value of the response's grounding header."""
        return f"on; pages={pages}" if self.is_on else f"off; reason={self.why}"


class Fallback(NamedTuple):
    """The first-choice model, which did not answer."""

    model: str
    reason: str


class Tokens(NamedTuple):
    """Token counts, as the model reports them."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Tokens of the prompt that the engine had cached."""


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request to a model: every decision made before the model is called."""

    endpoint: str
    """The path without /v1."""
    reader: Reader
    """The caller: decides which pages the answer may use."""
    scope: Scope
    """The ASGI scope."""
    headers: Headers
    """The client's headers."""
    request: Mapping[str, Any]
    """The client's body, validated."""
    route: Route
    """Alias, candidates, instructions and wikis."""
    first: Served
    """The predicted model."""
    stream: bool
    budget: TokenBudget
    grounding: GroundingDecision
    salts: Salts

    @property
    def alias(self) -> str:
        return self.route.alias

    @property
    def copies(self) -> int:
        """Choices per prompt."""
        return self.request.get("n") or 1

    @property
    def first_choice(self) -> str:
        """The model that the alias chose, even if another one answers."""
        return self.route.candidates[0]


@dataclass(frozen=True, slots=True)
class RequestResult:
    """How one request ended."""

    status: int
    """The status that was sent, or the error's if the answer failed later; 499: the client
    disconnected."""
    model: str = ""
    """The model that answered; empty if none did."""
    lane: str = ""
    fallback: Fallback | None = None
    tokens: Tokens = NO_TOKENS
    refused: bool = False
    cautious: bool = False
    claims: tuple[Verdict, ...] = ()
    """The verdicts of the answer's claims."""
    pages: tuple[str, ...] = ()
    """The addresses of the pages that the answer uses."""
    shown: tuple[str, ...] = ()
    """The addresses of other pages shown: found, read or listed by an agent."""
    question: str = ""
    answer: str = ""
    """The question and the answer are set only if the log keeps texts."""

    @property
    def outcome(self) -> Outcome | None:
        """The answer's outcome for the user. None: no answer, due to a client error or because the
        client disconnected."""
        if self.status == LEFT:
            return None
        if self.status >= 400:
            return "failed" if self.status >= 500 else None
        if self.refused:
            return "refused"
        if not self.model:
            return None
        return "cautious" if self.cautious else "answered"


def tokens(usage: Any) -> Tokens | None:
    """Parses the usage that a model reports, in the format of Chat, Responses or Messages."""
    if not isinstance(usage, dict):
        return None
    if len(usage) == 3 and "total_tokens" in usage:  # Chat's format, without details
        return Tokens(_number(usage, "prompt_tokens"), _number(usage, "completion_tokens"))
    prompt = _number(usage, "prompt_tokens", "input_tokens")
    completion = _number(usage, "completion_tokens", "output_tokens")
    # Messages counts cached tokens separately.
    apart = _number(usage, "cache_read_input_tokens")
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = _number(details, "cached_tokens") if isinstance(details, dict) else 0
    prompt += apart + _number(usage, "cache_creation_input_tokens")
    return Tokens(prompt, completion, cached or apart)


def _number(usage: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(value := usage.get(name), int):
            return max(value, 0)  # a negative count would refund a key's limits
    return 0
