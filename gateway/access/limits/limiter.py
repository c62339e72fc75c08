"""Limits of API keys: admit a request, and settle its usage when it ends.

With Redis, the limits hold across all workers. While Redis is unavailable or slow, each worker
applies its share of the limits in memory, so that Redis never delays a request. In the minute of
such a switch a key may get up to twice its limit: the workers do not know what Redis admitted, nor
Redis what they admit.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from core.errors import AskdocsError
from core.tasks import Tasks
from gateway.access.keys import Key, Limits
from gateway.access.limits.grant import UNLIMITED, Grant
from gateway.access.limits.memory import LocalLimits
from gateway.access.limits.month import Months

if TYPE_CHECKING:
    from gateway.access.limits.shared import Shared

WINDOW = 60.0
"""Seconds: the minute of rpm and tpm."""
NONE = Limits()


class Limiter:
    """Created by `connect`."""

    def __init__(
        self, memory: LocalLimits, shared: "Shared | None", months: Months, workers: int = 1
    ) -> None:
        self._memory = memory
        self._workers = workers
        self._shared = shared
        self._months = months
        self.local_decisions = 0
        """The number of requests that this worker decided alone because Redis was unavailable."""

    @property
    def is_local(self) -> bool:
        """Is Redis configured, but unavailable?"""
        return self._shared is not None and not self._shared.is_up

    async def admit(self, key: Key, tokens: int) -> Grant:
        """Admit a request for at most `tokens`: its prompt plus its max_tokens.

        Raises:
            LimitReached: 429, the request exceeds a limit of the key.
        """
        if key.limits == NONE:
            return UNLIMITED
        if self._shared is not None:
            if self._shared.is_up:
                grant = await self._shared.admit(key, tokens, self._months)
                if grant is not None:
                    return grant
            self.local_decisions += 1
            key = share(key, tokens, max(self._workers, self._shared.workers))
        if key.limits.monthly_tokens is not None and not self._memory.knows_month(key.id):
            used = await self._months.used(key.id)
            if not self._memory.knows_month(key.id):  # only the first of all waiting requests
                self._memory.set_month(key.id, *used)
        return self._memory.admit(key, tokens)

    def settle(self, grant: Grant, used: int) -> None:
        """Record that a response ended, failed or lost its client, with `used` tokens in total.

        Never waits. Call it once per grant, in a `finally`; a second call has no effect.
        """
        counters, grant.counters = grant.counters, None
        if counters is not None:
            counters.settle(grant, used)

    async def close(self) -> None:
        await self._months.close()
        if self._shared is not None:
            await self._shared.close()


def share(key: Key, tokens: int, workers: int) -> Key:
    """The key with one worker's share of its limits.

    The share allows at least one request, and the tokens of the current request if the whole limit
    does. Monthly tokens are not divided: they are read from the database, where all workers record
    them.
    """
    if workers == 1:
        return key
    rpm, tpm, parallel = key.limits.rpm, key.limits.tpm, key.limits.max_parallel
    limits = replace(
        key.limits,
        rpm=rpm and max(1, rpm // workers),
        tpm=tpm and max(tpm // workers, min(tokens, tpm)),
        max_parallel=parallel and max(1, parallel // workers),
    )
    return replace(key, limits=limits)


async def connect(
    redis_url: str | None,
    month: Callable[[str], Awaitable[int]],
    *,
    workers: int = 1,
    window: float = WINDOW,
    lease: float | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
    tasks: Tasks | None = None,
) -> Limiter:
    """Connects the limits of all keys to Redis, or to memory without a URL.

    `month` returns the tokens that a key (by ID) has used this calendar month, UTC; it is called if
    no counter knows them. `workers`: the minimum number of workers; Redis counts the others.

    Raises:
        AskdocsError: the URL is invalid, or Redis rejects the user, password or database.
    """
    shared = None
    if redis_url is not None:
        # The Redis library takes half a second and 10 MB, and only teams need it.
        from gateway.access.limits.shared import LEASE, Shared

        try:
            shared = Shared(redis_url, window, lease or LEASE, tasks or Tasks())
        except ValueError:
            # The error's text may contain part of the password.
            raise AskdocsError(
                "ASKDOCS_REDIS_URL is not a Redis address: write redis://host:6379/0,"
                " rediss://:password@host:6380/0 or unix:///path?db=0; in the password, escape / "
                "# ? [ as %2F %23 %3F %5B"
            ) from None
        await shared.open()
    return Limiter(LocalLimits(window, clock), shared, Months(month), workers)
