"""The plan of a request before it reaches a model, and the outcome of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.access.keys import Key
from gateway.access.rights import Reader
from gateway.routing.aliases import Route
from gateway.routing.registry import Served
from gateway.routing.token_budget import TokenBudget
from gateway.telemetry.answer_statistics import Verdict
from gateway.telemetry.metrics import LEFT, Outcome

Why = Literal[
    "",
    "requested",
    "endpoint",
    "alias",
    "no-wiki",
    "no-question",
    "no-room",
    "no-page",
]


class GroundingDecision(NamedTuple):
    """Whether the answer stands on pages, and why not."""

    is_on: bool
    why: Why = ""
    is_agents: bool = False
    """Are the client's messages kept, as it has tools?"""
    is_asked_for: bool = False
    """Has the client said that it wants pages?"""

    def header(self, pages: int) -> str:
        """What the response says of it in its header."""
        return f"on; pages={pages}" if self.is_on else f"off; reason={self.why}"


class Fallback(NamedTuple):
    """The first choice, which did not answer."""

    model: str
    reason: str


class Tokens(NamedTuple):
    """What a model counted."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Of the prompt, those that the engine had read before."""


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """One request to a model: everything that is decided before the model is asked."""

    endpoint: str
    """The path without /v1."""
    key: Key
    reader: Reader
    """Who asks: what the answer may stand on."""
    scope: Scope
    """ASGI's."""
    headers: Headers
    """The client's."""
    request: Mapping[str, Any]
    """The client's body, validated."""
    route: Route
    """Alias, candidates, instructions and wikis."""
    first: Served
    """The model that will answer, as far as is known."""
    stream: bool
    budget: TokenBudget
    grounding: GroundingDecision

    @property
    def alias(self) -> str:
        return self.route.alias

    @property
    def copies(self) -> int:
        """Choices of one prompt."""
        return self.request.get("n") or 1

    @property
    def first_choice(self) -> str:
        """The model that the alias chose, whichever answers."""
        return self.route.candidates[0]


@dataclass(frozen=True, slots=True)
class RequestResult:
    """How one request ended."""

    status: int
    """The status that was sent, or an error's where the answer failed after that; 499: the client
    left."""
    model: str = ""
    """The model that answered; empty where none did."""
    lane: str = ""
    fallback: Fallback | None = None
    tokens: Tokens = NO_TOKENS
    refused: bool = False
    cautious: bool = False
    claims: tuple[Verdict, ...] = ()
    """The verdicts of the answer's claims that assert something."""
    pages: tuple[str, ...] = ()
    """The addresses of the pages that the answer stands on."""
    shown: tuple[str, ...] = ()
    """The addresses of other pages that were shown: found, read or listed by an agent."""
    question: str = ""
    answer: str = ""
    """Both only where the log wants them."""

    @property
    def outcome(self) -> Outcome | None:
        """How the answer fared for the person who asked. None: no answer, by the client's mistake
        or because the client left."""
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
    """The usage that a model states, in the words of Chat, Responses or Messages."""
    if not isinstance(usage, dict):
        return None
    if len(usage) == 3 and "total_tokens" in usage:  # Chat's, without details
        return Tokens(_number(usage, "prompt_tokens"), _number(usage, "completion_tokens"))
    prompt = _number(usage, "prompt_tokens", "input_tokens")
    completion = _number(usage, "completion_tokens", "output_tokens")
    # Messages counts what the prefix cache had apart from the rest.
    apart = _number(usage, "cache_read_input_tokens")
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = _number(details, "cached_tokens") if isinstance(details, dict) else 0
    prompt += apart + _number(usage, "cache_creation_input_tokens")
    return Tokens(prompt, completion, cached or apart)


def _number(usage: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(value := usage.get(name), int):
            return max(value, 0)  # a negative one would give a key its limits back
    return 0
