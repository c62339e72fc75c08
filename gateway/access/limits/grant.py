"""The result of a limit check: a grant with OpenAI's headers, or a refusal in OpenAI's format.

https://platform.openai.com/docs/guides/rate-limits
"""

import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

from gateway.access.keys import Key, Limits
from gateway.access.limits.month import renewal
from gateway.http.asgi import ApiError

Limit = Literal["rpm", "tpm", "too_large", "max_parallel", "monthly_tokens"]


class Counts(NamedTuple):
    """A key's usage, including the current request if it was admitted."""

    requests: int
    """Within the window."""
    tokens: int
    """Within the window: the reservations of running requests, and the actual tokens of finished
    ones."""
    parallel: int
    month: int
    """Tokens of this calendar month, including reservations."""
    reset: int
    """Milliseconds until the window is empty."""


class Counters(Protocol):
    """The counters that count a request, and settle it."""

    def settle(self, grant: "Grant", used: int) -> None: ...


class Grant:
    """An admitted request. Pass it to `Limiter.settle` when the response has ended."""

    __slots__ = ("counters", "counts", "limits", "place", "reserved")

    def __init__(
        self, limits: Limits, counts: Counts, reserved: int, counters: Counters | None, place: Any
    ) -> None:
        self.limits = limits
        self.counts = counts
        self.reserved = reserved
        self.counters = counters
        """None: there is nothing to settle."""
        self.place = place
        """The request's place in the counters, in their own format."""

    @property
    def headers(self) -> dict[str, str]:
        """`x-ratelimit-*` for the response; empty if the key has no such limit."""
        return headers(self.limits, self.counts)


UNLIMITED = Grant(Limits(), Counts(0, 0, 0, 0, 0), 0, None, None)


class LimitReached(ApiError):
    """429: the request exceeds a limit of the key."""

    def __init__(
        self, key: Key, limit: Limit, wait: int | None, counts: Counts, tokens: int
    ) -> None:
        """`wait`: milliseconds until it can succeed; None if waiting does not help."""
        kind, code = ("requests", "rate_limit_exceeded")
        if limit in ("tpm", "too_large"):
            kind = "tokens"
        elif limit == "monthly_tokens":
            kind = code = "insufficient_quota"
        retry = {"x-should-retry": "false"}
        if wait is not None:
            retry = {"retry-after": str(math.ceil(wait / 1000)), "retry-after-ms": str(wait)}
        super().__init__(
            429,
            _sentence(key, limit, wait, counts, tokens),
            kind=kind,
            code=code,
            headers={**headers(key.limits, counts), **retry},
        )
        self.limit = limit


def _sentence(key: Key, limit: Limit, wait: int | None, counts: Counts, tokens: int) -> str:
    limits = key.limits
    again = f"Try again in {duration(wait)}." if wait is not None else "Waiting does not help."
    match limit:
        case "rpm":
            return (
                f"Rate limit of key {key.name!r} reached: requests per minute: limit {limits.rpm},"
                f" used {counts.requests}. {again}"
            )
        case "tpm":
            return (
                f"Rate limit of key {key.name!r} reached: tokens per minute: limit {limits.tpm},"
                f" used {counts.tokens}, requested {tokens}. {again}"
            )
        case "too_large":
            return (
                f"Request too large for key {key.name!r}: tokens per minute: limit {limits.tpm},"
                f" requested {tokens} (prompt, pages and max_tokens). Shorten the prompt or set a"
                " smaller max_tokens."
            )
        case "max_parallel":
            return (
                f"Rate limit of key {key.name!r} reached: requests at the same time: limit"
                f" {limits.max_parallel}, running {counts.parallel}. Try again when one has ended."
            )
        case "monthly_tokens":
            renewed = f"It is renewed at {renewal():%Y-%m-%d %H:%M} UTC."
            left = (limits.monthly_tokens or 0) - counts.month
            if left <= 0:
                return (
                    f"Monthly budget of key {key.name!r} is used up: limit"
                    f" {limits.monthly_tokens} tokens, used or reserved {counts.month}. {renewed}"
                )
            return (
                f"Monthly budget of key {key.name!r} has {left} of {limits.monthly_tokens} tokens"
                f" left, and this request may use {tokens} (prompt, pages and max_tokens): shorten"
                f" the prompt or set a smaller max_tokens. {renewed}"
            )


def headers(limits: Limits, counts: Counts) -> dict[str, str]:
    fields = {}
    if limits.rpm is not None:
        fields["x-ratelimit-limit-requests"] = str(limits.rpm)
        fields["x-ratelimit-remaining-requests"] = str(max(0, limits.rpm - counts.requests))
        fields["x-ratelimit-reset-requests"] = duration(counts.reset)
    if limits.tpm is not None:
        fields["x-ratelimit-limit-tokens"] = str(limits.tpm)
        fields["x-ratelimit-remaining-tokens"] = str(max(0, limits.tpm - counts.tokens))
        fields["x-ratelimit-reset-tokens"] = duration(counts.reset if counts.tokens else 0)
    return fields


@lru_cache(maxsize=1024)
def duration(ms: int) -> str:
    """Formats a duration like OpenAI, in Go's format: `12ms`, `8.64s`, `6m0s`."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds
