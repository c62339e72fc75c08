"""Limits counted in Redis, exact across all workers.

Each key has a hash for its window, a sorted set for its running requests and a hash for its month,
all of which expire when it is idle. One script admits and counts a request, another settles it;
both are atomic, and use the clock of Redis.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1
from itertools import count
from pathlib import Path
from typing import NamedTuple

import hiredis

from gateway.access.keys import Key
from gateway.access.limits.grant import Counts, Grant, LimitReached
from gateway.access.limits.month import Months, this_month
from gateway.access.limits.wire import PATIENCE, Address, Command, Reply, Wire
from gateway.core.errors import AskdocsError
from gateway.core.tasks import Tasks

log = logging.getLogger("askdocs.gateway")

LEASE = 30.0
"""Seconds after which the requests of a dead worker no longer count as running."""
RENEW = 10.0
"""Seconds between renewals of a worker's leases."""
PROBE = 1.0
"""Seconds between attempts to reach Redis while it is unavailable."""
PREFIX = "askdocs:limits"


class Script:
    def __init__(self, name: str) -> None:
        self.source = (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


ADMIT, SETTLE, RENEWAL = Script("admit"), Script("settle"), Script("renew")


class CountedRequest(NamedTuple):
    """The counters of a request."""

    keys: tuple[str, str, str]
    bucket: int
    since: int
    lease: str


class Shared:
    """The counters in Redis. Calls `away` and `back` when the connection is lost or restored."""

    def __init__(self, address: Address, window: float, lease: float, tasks: Tasks) -> None:
        """`tasks` maintains the connection and its leases, and is closed with this object."""
        self.is_up = False
        self.workers = 1
        """The number of workers that share the counters, including this one, as last reported by
        Redis."""
        self._address = address
        self._window = round(window * 1_000_000)
        self._lease = round(lease * 1000)
        self._renew = lease * RENEW / LEASE
        self._worker = secrets.token_hex(6)
        self._numbers = count()
        self._leases: dict[str, str] = {}
        self._wire: Wire | None = None
        self._trouble = asyncio.Event()
        self._tasks = tasks

    async def open(self) -> None:
        """Connect. If Redis is unavailable, keep trying in the background.

        Raises:
            AskdocsError: Redis rejects the user, the password or the database.
        """
        try:
            await self._revive()
        except hiredis.ReplyError as error:
            if str(error).startswith(("ERR", "NOAUTH", "WRONGPASS", "NOPERM", "DENIED")):
                raise AskdocsError(
                    f"Redis at {self._address} refuses the connection ({error}): check user,"
                    " password and database number in ASKDOCS_REDIS_URL"
                ) from None
            self._log_away(error)
        except OSError as error:
            self._log_away(error)
        self._tasks.start("limits", self._tend)

    async def admit(self, key: Key, tokens: int, months: Months) -> Grant | None:
        """Count the request and reserve its tokens; None if Redis is unavailable.

        Raises:
            LimitReached: the request exceeds a limit.
        """
        if self._wire is None:
            return None
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
            if isinstance(reply, Exception) or reply[0] != b"":
                return None
            counts, place = Counts(*reply[2:7]), CountedRequest(keys, reply[7], reply[8], lease)
            if limits.max_parallel is not None:
                self._leases[lease] = keys[1]
            elif limits.tpm is None and limits.monthly_tokens is None:
                return Grant(limits, counts, tokens, None, None)
            return Grant(limits, counts, tokens, self, place)

        def left(reply: Reply) -> None:
            """The client disconnected before the reply: release a grant that nothing else will
            settle."""
            grant = granted(reply)
            if grant is not None and grant.counters is not None:
                self.settle(grant, 0)

        reply = await self._eval(ADMIT, keys, (*args, "", ""), left)
        while not isinstance(reply, Exception) and reply[0] == b"unknown month":
            used = await months.used(key.id)
            reply = await self._eval(ADMIT, keys, (*args, used.tokens, used.good_for * 1000), left)
        if isinstance(reply, Exception):
            return None
        if reply[0] != b"":
            limit, wait = reply[0].decode(), reply[1]
            counts = Counts(*reply[2:7])
            raise LimitReached(key, limit, wait if wait >= 0 else None, counts, tokens)
        return granted(reply)

    def settle(self, grant: Grant, used: int) -> None:
        place: CountedRequest = grant.place
        self._leases.pop(place.lease, None)
        if self._wire is None:
            return  # reservations leave with the window, leases expire without renewal
        args = (place.bucket, place.since, place.lease, grant.reserved, used)
        self._post(SETTLE, place.keys, args)

    async def close(self) -> None:
        await self._tasks.close()
        wire, self._wire, self.is_up = self._wire, None, False
        if wire is not None:
            await wire.close()

    # Scripts

    async def _eval(
        self,
        script: Script,
        keys: tuple[str, ...],
        args: Command,
        left: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """The script's reply. On an error, Redis is no longer used."""
        wire = self._wire
        if wire is None:
            return ConnectionError("Redis is unavailable")
        reply = await _reply(
            wire.send(("EVALSHA", script.sha, len(keys), *keys, *args), left), left
        )
        if _unknown_script(reply):
            command = ("EVAL", script.source, len(keys), *keys, *args)
            reply = await _reply(wire.send(command, left), left)
        if isinstance(reply, Exception):
            self._away(reply)
        return reply

    def _post(self, script: Script, keys: tuple[str, ...], args: Command) -> None:
        def arrived(reply: Reply) -> None:
            if _unknown_script(reply) and self._wire is not None:
                command = ("EVAL", script.source, len(keys), *keys, *args)
                self._wire.post(command, lambda _: None)
            elif isinstance(reply, Exception):
                self._away(reply)

        assert self._wire is not None
        self._wire.post(("EVALSHA", script.sha, len(keys), *keys, *args), arrived)

    # Losing and restoring the connection

    def _away(self, error: Exception) -> None:
        if self.is_up:
            self.is_up = False
            self._log_away(error)
            self._trouble.set()

    def _log_away(self, error: Exception) -> None:
        log.warning(
            "Redis at %s is unavailable (%s): until it is back, each worker applies its share of "
            "the limits separately",
            self._address,
            error or type(error).__name__,
        )

    def _lost(self, error: Exception) -> None:
        self._wire = None
        self._away(error)

    async def _tend(self) -> None:
        """Renew the leases while Redis is available, and try to reconnect while it is not."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renew if self.is_up else PROBE):
                    await self._trouble.wait()
            was_up = self.is_up
            with suppress(OSError, hiredis.ReplyError):  # the loss has been logged already
                await self._revive()
            if self.is_up and not was_up:
                log.warning("Redis at %s is back: limits hold across all workers", self._address)
            self._trouble.clear()

    async def _revive(self) -> None:
        """Connect if necessary, and renew the leases. Raises OSError, hiredis.ReplyError."""
        if self._wire is None:
            wire = self._wire = await self._address.connect(self._lost)
            # Load the scripts in advance, so that settlements, which do not wait, keep their order.
            for script in (ADMIT, SETTLE):
                wire.post(("SCRIPT", "LOAD", script.source), lambda _: None)
        running = list(self._leases.items())
        keys = (f"{PREFIX}:workers", *(key for _, key in running))
        args: Command = (self._lease, self._worker, *(lease for lease, _ in running))
        # Send the script's source: a retry could renew a lease that has ended meanwhile.
        reply = await self._wire.send(("EVAL", RENEWAL.source, len(keys), *keys, *args))
        if isinstance(reply, Exception):
            self._away(reply)
            raise reply
        self.workers = max(1, reply)
        wire = self._wire
        if wire is not None and wire.is_slow:
            # It reported the number of workers, but is too slow for requests to wait for.
            wire.abort()
            self._wire = None
            raise TimeoutError(f"its replies take longer than {PATIENCE * 1000:.0f} ms")
        if wire is not None:
            wire.on_trial = False
        self.is_up = wire is not None


async def _reply(future: "asyncio.Future[Reply]", left: Callable[[Reply], None] | None) -> Reply:
    try:
        return await future
    except asyncio.CancelledError:
        if left is not None and not future.cancelled():  # the reply had just arrived
            left(future.result())
        raise


def _unknown_script(reply: Reply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
