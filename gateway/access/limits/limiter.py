"""Limits of API keys: admit a request, and settle its usage when it ends.

With a Redis they hold across all workers. While it is away, or slow, each worker applies its share
of them alone, in memory, so that a request is not held up because Redis is. Within the minute in
which that changes a key may get up to twice its limit: what Redis had admitted is not known to the
workers, nor to Redis what they admit.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.access.keys import Key, Limits
from gateway.access.limits.grant import UNLIMITED, Grant
from gateway.access.limits.memory import LocalLimits
from gateway.access.limits.month import Months
from gateway.core.errors import AskdocsError
from gateway.core.tasks import Tasks

if TYPE_CHECKING:
    from gateway.access.limits.shared import Shared

WINDOW = 60.0
"""Seconds, the minute of rpm and tpm."""
NONE = Limits()


class Limiter:
    """Made by `connect`."""

    def __init__(
        self, memory: LocalLimits, shared: "Shared | None", months: Months, workers: int = 1
    ) -> None:
        self._memory = memory
        self._workers = workers
        self._shared = shared
        self._months = months
        self.local_decisions = 0
        """How many requests this worker decided alone because Redis was away."""

    @property
    def is_local(self) -> bool:
        """Is Redis configured, and away?"""
        return self._shared is not None and not self._shared.is_up

    async def admit(self, key: Key, tokens: int) -> Grant:
        """Admit a request that takes at most `tokens`: its prompt and its max_tokens.

        Raises:
            LimitReached: 429, a limit of the key refuses it.
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
            if not self._memory.knows_month(key.id):  # of all that waited, the first one
                self._memory.set_month(key.id, *used)
        return self._memory.admit(key, tokens)

    def settle(self, grant: Grant, used: int) -> None:
        """The response has ended, or failed, or its client has gone: `used` tokens in all.

        Never waits. Call it once for every grant, from a `finally`; a second call does nothing.
        """
        counters, grant.counters = grant.counters, None
        if counters is not None:
            counters.settle(grant, used)

    async def close(self) -> None:
        await self._months.close()
        if self._shared is not None:
            await self._shared.close()


def share(key: Key, tokens: int, workers: int) -> Key:
    """The key with what one of several workers may admit of its limits.

    At least one request, and of tokens those of the request at hand: what the whole limit allows is
    never refused as too large. The tokens of a month are whole: they are read from the database,
    where all workers write them.
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
    """The limits of all keys, in Redis, or in memory without a URL.

    `month` gives the tokens that a key (its id) has used this calendar month, UTC; it is asked when
    no counter knows. `workers`: how many count there at least; Redis tells of others.

    Raises:
        AskdocsError: the URL is not one, or Redis refuses user, password or database.
    """
    shared = None
    if redis_url is not None:
        # Redis' library takes half a second and 10 MB, for teams alone.
        from gateway.access.limits.shared import LEASE, Shared
        from gateway.access.limits.wire import Address

        try:
            address = Address(redis_url)
        except ValueError:
            # Whose text can have a part of the password.
            raise AskdocsError(
                "ASKDOCS_REDIS_URL is not an address of Redis: it looks like redis://host:6379/0,"
                " rediss://:password@host:6380/0 or unix:///path?db=0; in the password / # ? [ are"
                " written %2F %23 %3F %5B"
            ) from None
        shared = Shared(address, window, lease or LEASE, tasks or Tasks())
        await shared.open()
    return Limiter(LocalLimits(window, clock), shared, Months(month), workers)
