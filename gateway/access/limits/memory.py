"""Limits counted in this process: exact with one worker, and the fallback when Redis is down."""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.access.keys import Key
from gateway.access.limits.grant import Counts, Grant, Limit, LimitReached
from gateway.access.limits.month import this_month

NS = 1_000_000_000
IDLE = 600 * NS
"""A key without requests for this long is dropped."""


class Bucket:
    """The requests within a 60th of the window from the first one.

    It leaves the window when its last request has left: never early, so no window exceeds the
    limit, and at most a second late. A key has at most 61 buckets.
    """

    __slots__ = ("first", "last", "requests", "tokens")

    def __init__(self, now: int) -> None:
        self.first = now
        self.last = now
        self.requests = 0
        self.tokens = 0


class Month:
    __slots__ = ("good_until", "name", "used")

    def __init__(self, name: str, used: int, good_until: int) -> None:
        self.name = name
        self.used = used
        self.good_until = good_until


class Usage:
    """The usage of one key."""

    __slots__ = ("buckets", "month", "requests", "running", "seen", "tokens")

    def __init__(self) -> None:
        self.buckets: deque[Bucket] = deque()
        self.requests = 0
        self.tokens = 0
        self.running = 0
        self.month: Month | None = None
        self.seen = 0


class CountedRequest(NamedTuple):
    """The counters of a request."""

    usage: Usage
    bucket: Bucket | None
    month: Month | None


class LocalLimits:
    """Limits in memory. All methods are synchronous, so no request is ever half counted.

    Admitting and settling a request takes 2 µs for a key with rpm, tpm and max_parallel
    (research/timings/limits.py).
    """

    def __init__(self, window: float, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._window = round(window * NS)
        self._clock = clock
        self._usage: dict[str, Usage] = {}
        self._sweep = clock() + IDLE

    def __len__(self) -> int:
        """The number of keys in memory."""
        return len(self._usage)

    def knows_month(self, key_id: str) -> bool:
        usage = self._usage.get(key_id)
        month = usage.month if usage is not None else None
        return month is not None and month.name == this_month() and self._clock() < month.good_until

    def set_month(self, key_id: str, used: int, good_for: int) -> None:
        """`used`: tokens so far this month; `good_for`: seconds."""
        now = self._clock()
        usage = self._usage.setdefault(key_id, Usage())
        usage.seen = now
        usage.month = Month(this_month(), used, now + good_for * NS)

    def admit(self, key: Key, tokens: int) -> Grant:
        """Count the request and reserve its tokens. Raises LimitReached.

        `knows_month` must be true if the key has a monthly budget.
        """
        limits = key.limits
        rpm, tpm, max_parallel = limits.rpm, limits.tpm, limits.max_parallel
        now = self._clock()
        if now >= self._sweep:
            self._forget_idle(now)
        usage = self._usage.get(key.id)
        if usage is None:
            usage = self._usage[key.id] = Usage()
        usage.seen = now
        buckets = usage.buckets
        while buckets and buckets[0].last + self._window <= now:
            left = buckets.popleft()
            usage.requests -= left.requests
            usage.tokens -= left.tokens
            left.requests = 0  # tells `settle` that it has left
        month = usage.month if limits.monthly_tokens is not None else None
        if (
            (rpm is not None and usage.requests >= rpm)
            or (tpm is not None and usage.tokens + tokens > tpm)
            or (max_parallel is not None and usage.running >= max_parallel)
            or (month is not None and month.used + max(tokens, 1) > (limits.monthly_tokens or 0))
        ):
            raise self._refusal(key, usage, tokens, now)

        bucket = None
        reset = 0
        if rpm is not None or tpm is not None:
            if buckets and (now - buckets[-1].first) * 60 < self._window:
                bucket = buckets[-1]
                bucket.last = now
            else:
                bucket = Bucket(now)
                buckets.append(bucket)
            bucket.requests += 1
            bucket.tokens += tokens
            usage.requests += 1
            usage.tokens += tokens
            reset = self._window // 1_000_000
        if month is not None:
            month.used += tokens
        counts = Counts(
            usage.requests, usage.tokens, usage.running + 1, month.used if month else 0, reset
        )
        if tpm is None and max_parallel is None and month is None:
            return Grant(limits, counts, tokens, None, None)
        usage.running += 1
        return Grant(limits, counts, tokens, self, CountedRequest(usage, bucket, month))

    def settle(self, grant: Grant, used: int) -> None:
        usage, bucket, month = grant.place
        usage.running -= 1
        change = used - grant.reserved
        if bucket is not None and bucket.requests:
            bucket.tokens += change
            usage.tokens += change
        if month is not None:
            if month is usage.month:
                month.used += change
            elif usage.month is not None and usage.month.name == month.name:
                # It was read from the database since: the reservation is not included.
                usage.month.used += used

    def _refusal(self, key: Key, usage: Usage, tokens: int, now: int) -> LimitReached:
        """The limit with the longest wait of all that reject the request."""
        limits = key.limits
        month = usage.month.used if usage.month else 0
        reset = 0
        if usage.buckets:
            reset = _ms(usage.buckets[-1].last + self._window - now)
        counts = Counts(usage.requests, usage.tokens, usage.running, month, reset)

        monthly = limits.monthly_tokens
        if monthly is not None and month + max(tokens, 1) > monthly:
            return LimitReached(key, "monthly_tokens", None, counts, tokens)
        if limits.tpm is not None and tokens > limits.tpm:
            return LimitReached(key, "too_large", None, counts, tokens)
        limit: Limit | None = None
        wait = 0.0
        if limits.rpm is not None and usage.requests >= limits.rpm:
            excess = usage.requests + 1 - limits.rpm
            limit, wait = "rpm", self._wait(usage, excess, now, lambda bucket: bucket.requests)
        if limits.tpm is not None and usage.tokens + tokens > limits.tpm:
            excess = usage.tokens + tokens - limits.tpm
            longer = self._wait(usage, excess, now, lambda bucket: bucket.tokens)
            if longer > wait:
                limit, wait = "tpm", longer
        if limits.max_parallel is not None and usage.running >= limits.max_parallel:
            limit, wait = limit or "max_parallel", max(wait, 1000)  # requests end at any time
        assert limit is not None
        return LimitReached(key, limit, None if wait == math.inf else int(wait), counts, tokens)

    def _wait(self, usage: Usage, excess: int, now: int, value: Callable[[Bucket], int]) -> float:
        """Milliseconds until `excess` of a bucket's value has left the window."""
        for bucket in usage.buckets:
            excess -= value(bucket)
            if excess <= 0:
                return max(1, _ms(bucket.last + self._window - now))
        return math.inf

    def _forget_idle(self, now: int) -> None:
        self._sweep = now + IDLE
        idle = [k for k, u in self._usage.items() if not u.running and u.seen + IDLE <= now]
        for key_id in idle:
            del self._usage[key_id]


def _ms(ns: int) -> int:
    """Rounds up to milliseconds."""
    return -(-ns // 1_000_000)
