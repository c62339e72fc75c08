"""Limits counted in Redis, exact across all workers.

Each key has a hash for its window, a sorted set for its running requests and a hash for its month,
all of which expire when it is idle. One script admits and counts a request, another settles it;
both are atomic, and use the clock of Redis.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from core.errors import AskdocsError
from core.tasks import Tasks
from gateway.access.keys import Key
from gateway.access.limits.grant import Counts, Grant, LimitReached
from gateway.access.limits.month import Months, this_month

log = logging.getLogger("askdocs.gateway")

LEASE = 30.0
"""Seconds after which the requests of a dead worker no longer count as running."""
RENEW = 10.0
"""Seconds between renewals of a worker's leases."""
PROBE = 1.0
"""Seconds between attempts to reach Redis while it is unavailable."""
PATIENCE = 0.09
"""Seconds that a request waits for a reply until Redis counts as unavailable."""
LOOKS = 2
"""Checks per PATIENCE, so that a reply that arrived while this process was busy is read in
between."""
SILENCE = 1.0
"""Seconds until a connection without a reply is given up; no request waits for it."""
PREFIX = "askdocs:limits"

Reply = Any
"""A script's reply."""
Command = tuple[str | int, ...]
"""The arguments of EVAL: the script, the number of its keys, the keys, the others."""


def _script(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")


ADMIT, SETTLE, RENEWAL = _script("admit"), _script("settle"), _script("renew")


class CountedRequest(NamedTuple):
    """The counters of a request."""

    keys: tuple[str, str, str]
    bucket: int
    since: int
    lease: str


class Shared:
    """The counters in Redis."""

    def __init__(self, url: str, window: float, lease: float, tasks: Tasks) -> None:
        """`tasks` maintains the leases, and is closed with this object. Raises ValueError: the
        address is none of `redis://`, `rediss://` (TLS) or `unix://`."""
        self.is_up = False
        self.workers = 1
        """The number of workers that share the counters, including this one, as last reported by
        Redis."""
        self._redis = Redis.from_url(
            url,
            socket_timeout=SILENCE,
            socket_connect_timeout=SILENCE,
            retry=Retry(NoBackoff(), 0),  # a request must not be counted twice
            protocol=2,
            driver_info=None,
        )
        where = self._redis.connection_pool.connection_kwargs
        place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        self._address = f"{place} database {where.get('db', 0)}"
        self._window = round(window * 1_000_000)
        self._lease = round(lease * 1000)
        self._renew = lease * RENEW / LEASE
        self._worker = secrets.token_hex(6)
        self._numbers = count()
        self._leases: dict[str, str] = {}
        self._unsent: list[tuple[Command, asyncio.Future[Reply]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._trouble = asyncio.Event()
        self._tasks = tasks

    async def open(self) -> None:
        """Connect. If Redis is unavailable, keep trying in the background.

        Raises:
            AskdocsError: Redis rejects the user, the password or the database.
        """
        try:
            await self._revive()
        except (RedisError, OSError) as error:
            if _is_refusal(error):
                await self._redis.aclose()
                raise AskdocsError(
                    f"Redis at {self._address} refuses the connection ({error}): check user,"
                    " password and database number in ASKDOCS_REDIS_URL"
                ) from None
            self._log_away(error)
        self._tasks.start("limits", self._tend)

    async def admit(self, key: Key, tokens: int, months: Months) -> Grant | None:
        """Count the request and reserve its tokens; None if Redis is unavailable.

        Raises:
            LimitReached: the request exceeds a limit.
        """
        limits = key.limits
        base = f"{PREFIX}:{key.id}"
        keys = (f"{base}:window", f"{base}:leases", f"{base}:{this_month()}")
        lease = f"{self._worker}:{next(self._numbers)}"
        args = (
            *("" if n is None else n for n in (limits.rpm, limits.tpm)),
            *("" if n is None else n for n in (limits.max_parallel, limits.monthly_tokens)),
            tokens,
            self._window,
            lease,
            self._lease,
        )

        def granted(reply: Reply) -> Grant | None:
            if reply[0] != b"":
                return None
            counts, place = Counts(*reply[2:7]), CountedRequest(keys, reply[7], reply[8], lease)
            if limits.max_parallel is not None:
                self._leases[lease] = keys[1]
            elif limits.tpm is None and limits.monthly_tokens is None:
                return Grant(limits, counts, tokens, None, None)
            return Grant(limits, counts, tokens, self, place)

        def left(reply: Reply) -> None:
            """Nobody waits for the reply: release a grant that nothing else will settle."""
            grant = granted(reply)
            if grant is not None and grant.counters is not None:
                self.settle(grant, 0)

        reply = await self._asked(_command(ADMIT, keys, (*args, "", "")), left)
        while reply is not None and reply[0] == b"unknown month":
            used = await months.used(key.id)
            known = (*args, used.tokens, used.good_for * 1000)
            reply = await self._asked(_command(ADMIT, keys, known), left)
        if reply is None:
            return None
        if reply[0] != b"":
            limit, wait = reply[0].decode(), reply[1]
            counts = Counts(*reply[2:7])
            raise LimitReached(key, limit, wait if wait >= 0 else None, counts, tokens)
        return granted(reply)

    def settle(self, grant: Grant, used: int) -> None:
        place: CountedRequest = grant.place
        self._leases.pop(place.lease, None)
        if not self.is_up:
            return  # reservations leave with the window, leases expire without renewal
        args = (place.bucket, place.since, place.lease, grant.reserved, used)
        self._send(_command(SETTLE, place.keys, args))

    async def close(self) -> None:
        await self._tasks.close()
        self.is_up = False
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=PATIENCE)
            self._sender.cancel()
        await self._redis.aclose()

    # Scripts

    async def _asked(self, command: Command, left: Callable[[Reply], None]) -> Reply | None:
        """The script's reply; None after an error, or if it takes longer than PATIENCE: Redis is no
        longer used then. A client may disconnect meanwhile: `left` gets a reply that comes too
        late."""
        future = self._send(command)
        try:
            for _ in range(LOOKS):
                await asyncio.wait({future}, timeout=PATIENCE / LOOKS)
                if future.done():
                    return None if future.exception() else future.result()
        except asyncio.CancelledError:
            future.add_done_callback(partial(_late, left))
            raise
        future.add_done_callback(partial(_late, left))
        self._away(TimeoutError(f"no reply for {PATIENCE * 1000:.0f} ms"))
        return None

    def _send(self, command: Command) -> "asyncio.Future[Reply]":
        """Send a command, whoever waits for its reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._unsent.append((command, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return future

    async def _send_all(self) -> None:
        """Send the commands in their order, all that have come meanwhile at once: redis-py takes
        some 150 us of CPU for each that is sent alone."""
        while self._unsent:
            sent, self._unsent = self._unsent, []
            pipeline = self._redis.pipeline(transaction=False)
            for command, _ in sent:
                pipeline.execute_command("EVAL", *command)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except (RedisError, OSError) as error:
                replies = [error] * len(sent)
            for (_, future), reply in zip(sent, replies, strict=True):
                if isinstance(reply, Exception):
                    self._away(reply)
                    future.set_exception(reply)
                    future.exception()  # nobody may wait for it
                else:
                    future.set_result(reply)

    # Losing and restoring the connection

    def _away(self, error: BaseException) -> None:
        if self.is_up:
            self.is_up = False
            self._log_away(error)
            self._trouble.set()

    def _log_away(self, error: BaseException) -> None:
        log.warning(
            "Redis at %s is unavailable (%s): until it is back, each worker applies its share of "
            "the limits separately",
            self._address,
            str(error) or type(error).__name__,
        )

    async def _tend(self) -> None:
        """Renew the leases while Redis is available, and try to reconnect while it is not."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renew if self.is_up else PROBE):
                    await self._trouble.wait()
            self._trouble.clear()
            was_up = self.is_up
            try:
                await self._revive()
            except (RedisError, OSError) as error:  # the first loss is logged
                self._away(error)
            if self.is_up and not was_up:
                log.warning("Redis at %s is back: limits hold across all workers", self._address)

    async def _revive(self) -> None:
        """Renew the leases, over a new connection if necessary. Raises RedisError, OSError."""
        running = list(self._leases.items())
        keys: tuple[str, ...] = (f"{PREFIX}:workers", *(key for _, key in running))
        args: tuple[str | int, ...] = (self._lease, self._worker, *(one for one, _ in running))
        await self._redis.ping()  # connecting may take longer than a reply
        since = time.monotonic()
        # Send the script's source: a retry could renew a lease that has ended meanwhile.
        self.workers = max(1, await self._redis.eval(RENEWAL, len(keys), *keys, *args))
        took = time.monotonic() - since
        if took > PATIENCE:
            # It reported the number of workers, but is too slow for requests to wait for.
            raise TimeoutError(f"its replies take longer than {PATIENCE * 1000:.0f} ms")
        self.is_up = True


def _command(script: str, keys: tuple[str, ...], args: tuple[str | int, ...]) -> Command:
    return (script, len(keys), *keys, *args)


def _late(left: Callable[[Reply], None], future: "asyncio.Future[Reply]") -> None:
    if not future.cancelled() and future.exception() is None:
        left(future.result())


def _is_refusal(error: Exception) -> bool:
    """Does Redis reject the user, the password or the database? Other errors, which begin with a
    code such as OOM or MISCONF, may pass."""
    if isinstance(error, AuthenticationError | NoPermissionError):
        return True
    is_plain = isinstance(error, ResponseError) and type(error) is ResponseError
    return is_plain and not re.match(r"(?!DENIED)[A-Z]{3,} ", str(error))
