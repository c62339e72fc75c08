"""One request from its first byte to its line in the log: what is known of it, and who is told."""

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.access_log import AccessLog, Entry
from gateway.heat import Heat
from gateway.keys import Key
from gateway.limits.grant import Grant, LimitReached
from gateway.limits.limiter import Limiter
from gateway.metrics import LEFT, Metrics, Outcome
from gateway.outcomes import Outcomes
from gateway.room import Room
from gateway.tracing import OFF, Span
from gateway.usage import Usage

BYTES_PER_TOKEN = 4  # of English, about
# The limits that an exact count of the prompt may still keep.
TOKENS = ("tpm", "too_large", "monthly_tokens")


@dataclass(frozen=True, slots=True)
class Books:
    """Where requests are written down."""

    limiter: Limiter
    usage: Usage
    metrics: Metrics
    log: AccessLog
    heat: Heat
    outcomes: Outcomes


class Exchange:
    """What is known of one request. `close` it in any case."""

    def __init__(self, scope: Scope, endpoint: str, books: Books) -> None:
        """`endpoint` is the path without /v1; `scope` has the request id in its state."""
        self.scope = scope
        self.endpoint = endpoint
        self.request_id: str = scope["state"]["request_id"]
        self._books = books
        self.key = NOBODY
        self.alias = ""
        self.model = ""
        self.lane = ""
        self.stream = False
        self.grounded = False
        self.refused = False
        self.cautious = False
        self.first_choice = ""
        """The model that the alias chose, whichever answered."""
        self.fallback: str | None = None
        self.prompt = ""
        self.answer: list[str] = []
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.status = 500
        self.headers: dict[str, str] = {}
        """What the response's headers say beside their own."""
        self.is_over = False
        """Has the last byte gone out?"""
        self.has_left = False
        """Did the client leave before that?"""
        self.is_inner = False
        """Is it part of another request, which is accounted for?"""
        self.grant: Grant | None = None
        self.room: Room | None = None
        self.measured = books.metrics.request(endpoint)
        self.span: Span = OFF
        """The request's, in a trace."""

    def known(self, key: Key) -> None:
        """It has shown this key."""
        self.key = key
        self.measured.team = key.team

    def asked(self, alias: str, first_choice: str, stream: bool) -> None:
        """It asks for a model that there is."""
        self.alias = alias
        self.first_choice = first_choice
        self.stream = stream
        self.measured.alias = alias

    async def admit(self, room: Room, count: Callable[[], Awaitable[int]]) -> None:
        """Reserve the room's tokens, an upper bound; where they are too many, count the prompt.

        Raises:
            ApiError: 429, a limit of the key is used up.
        """
        limiter = self._books.limiter
        self.room = room
        try:
            try:
                grant = await limiter.admit(self.key, room.tokens)
            except LimitReached as refused:
                counted = await count() if refused.limit in TOKENS else room.prompt
                if counted >= room.prompt:
                    raise
                grant = await limiter.admit(self.key, room._replace(prompt=counted).tokens)
        except LimitReached as refused:
            self.measured.limited(refused.limit)
            raise
        self.grant = grant
        self.headers.update(grant.headers)
        self.measured.admitted()

    def answered_by(self, model: str, lane: str, left: tuple[str, str] | None) -> None:
        """A model began to answer; `left` is the first choice that did not, and why."""
        self.model = model
        self.lane = lane
        self.headers["x-askdocs-model"] = model
        if left:
            source, reason = left
            self.fallback = reason
            self.headers["x-askdocs-fallback"] = f"{source}: {reason}"
            self.measured.fallback(source, model, reason)
        self.measured.first_byte()

    def broke_off(self, model: str, *, goes_on: bool) -> None:
        """A model's answer broke off; does another engine go on with it?"""
        self.measured.broke_off(model, "continued" if goes_on else "ended")

    def used(self, usage: Any) -> None:
        """The usage that a model states, in OpenAI's, Responses' or Messages' words."""
        if not isinstance(usage, dict):
            return
        prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
        completion = usage.get("completion_tokens", usage.get("output_tokens"))
        if isinstance(prompt, int):
            # Messages counts what the prefix cache had apart from the rest.
            cached = ("cache_read_input_tokens", "cache_creation_input_tokens")
            self.prompt_tokens = prompt + sum(usage.get(name) or 0 for name in cached)
            details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
            known = details.get("cached_tokens") if isinstance(details, dict) else None
            self.cached_tokens = known or usage.get("cache_read_input_tokens") or 0
        if isinstance(completion, int):
            self.completion_tokens = completion

    def stood_on(self, urls: Iterable[str]) -> None:
        """It was answered from the pages of these addresses."""
        self._books.heat.stood_on(urls)

    @property
    def wants_text(self) -> bool:
        """Are questions and answers to be kept for the log?"""
        return self._books.log.wants_prompts

    async def close(self) -> None:
        """Settle the limits, and write down what happened."""
        status = LEFT if self.has_left else self.status
        if self.model and not self.prompt_tokens and self.room is not None:
            # Its model never said, because the client left or the answer broke off.
            self.prompt_tokens = self.room.prompt // BYTES_PER_TOKEN
        if self.grant is not None:
            self._books.limiter.settle(self.grant, self.prompt_tokens + self.completion_tokens)
        # Of a translated request, the inner one knows how its answer fared.
        if self.endpoint == "/chat/completions" and self.first_choice and not self.has_left:
            self._fared()
        if self.span.is_on:
            self._traced(status)
        if self.is_inner:
            return
        if self.model:
            self._books.usage.add(
                self.key, self.alias, self.model, self.prompt_tokens, self.completion_tokens
            )
        self.measured.end(
            status,
            self.model,
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
        )
        if self._books.log.is_on:
            self._books.log.write(self._entry(status))

    def _fared(self) -> None:
        """Note how the answer fared: for the model that gave it, and the one that did not."""
        outcomes = self._books.outcomes
        if outcome := self._outcome():
            answering = self.model or self.first_choice
            self._books.metrics.answered(self.alias, answering, outcome)
        if self.fallback is not None or (not self.model and self.status >= 500):
            outcomes.count(self.alias, self.first_choice, "failed")
        if self.refused and not self.model:  # no page was found, and no model asked
            outcomes.count(self.alias, self.first_choice, "answers", "refused")
        if not self.model:
            return
        if self.status >= 400:
            outcomes.count(self.alias, self.model, "failed")
            return
        outcomes.count(self.alias, self.model, "answers")
        if self.refused:
            outcomes.count(self.alias, self.model, "refused")
        elif self.cautious:
            outcomes.count(self.alias, self.model, "cautious")
        outcomes.took(self.alias, self.model, "duration", self.measured.duration)
        if self.measured.ttft is not None:
            outcomes.took(self.alias, self.model, "first_token", self.measured.ttft)

    def _traced(self, status: int) -> None:
        self.span.set(
            http__request__method=self.scope["method"],
            http__response__status_code=status,
            gen_ai__request__model=self.alias or None,
            gen_ai__response__model=self.model or None,
            gen_ai__usage__input_tokens=self.prompt_tokens,
            gen_ai__usage__output_tokens=self.completion_tokens,
            askdocs__request_id=self.request_id,
            askdocs__team=self.key.team,
            askdocs__lane=self.lane or None,
            askdocs__fallback=self.fallback,
            askdocs__refused=self.refused,
            askdocs__cached_tokens=self.cached_tokens,
            askdocs__first_byte_seconds=self.measured.ttft,
        )
        self.span.end(str(status) if status >= 500 else "")

    def _outcome(self) -> Outcome | None:
        """How the answer fared for who asked; None: there was none, by the client's mistake."""
        if self.refused:
            return "refused"
        if self.status >= 400 or not self.model:
            return "failed" if self.status >= 500 else None
        return "cautious" if self.cautious else "answered"

    def _entry(self, status: int) -> Entry:
        client = self.scope.get("client")
        is_known = self.key is not NOBODY
        return Entry(
            request_id=self.request_id,
            method=self.scope["method"],
            path=self.scope["path"],
            status=status,
            duration=self.measured.duration,
            ttft=self.measured.ttft,
            key_id=self.key.id if is_known else None,
            key_name=self.key.name if is_known else None,
            team=self.key.team if is_known else None,
            alias=self.alias or None,
            model=self.model or None,
            lane=self.lane or None,
            stream=self.stream,
            grounded=self.grounded,
            refused=self.refused,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            fallback=self.fallback,
            client=client[0] if client else None,
            prompt=self.prompt or None,
            answer="".join(self.answer) or None,
        )


NOBODY = Key("", "", "", datetime.fromtimestamp(0, UTC))


def request_id(headers: Headers) -> str:
    """The client's own, if it is a plain one; else a new one."""
    given = headers.get("x-request-id", "")
    if given and len(given) <= 64 and given.isascii() and given.isprintable():
        return given
    # Not a secret: it only has to be another one each time. A uuid4 costs 9 us.
    return f"{random.getrandbits(128):032x}"
