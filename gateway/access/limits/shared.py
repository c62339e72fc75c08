"""Limits counted in Redis, exact across all workers.

Each key has a hash for its window, a sorted set for its running requests and a hash for its month,
all of which expire when it is idle. One script on entry checks everything and counts, one at the
end settles; both are atomic, and the time is Redis's own.
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
"""Seconds after which the requests of a worker that died no longer count as running."""
RENEW = 10.0
"""Seconds between two renewals of all leases of a worker."""
PROBE = 1.0
"""Seconds between two attempts to reach a Redis that is away."""
PREFIX = "askdocs:limits"


class Script:
    def __init__(self, name: str) -> None:
        self.source = (Path(__file__).parent / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()


ADMIT, SETTLE, RENEWAL = Script("admit"), Script("settle"), Script("renew")


class CountedRequest(NamedTuple):
    """Where a request was counted."""

    keys: tuple[str, str, str]
    bucket: int
    since: int
    lease: str


class Shared:
    """The counters in Redis. `away` and `back` tell that the state has changed."""

    def __init__(self, address: Address, window: float, lease: float, tasks: Tasks) -> None:
        """`tasks` keeps the connection and its leases; it is closed with this."""
        self.is_up = False
        self.workers = 1
        """How many count there, this one included, as of the last time that Redis told."""
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
        """Connect. A Redis that is away is waited for in the background.

        Raises:
            AskdocsError: Redis refuses the user, the password or the database.
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
        """Count the request and reserve its tokens; None when Redis is away.

        Raises:
            LimitReached: a limit refuses it.
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
            """The client went while Redis decided: give back what nobody will settle."""
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
            return  # what was reserved leaves with its window, the lease when it is not renewed
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
        """The script's reply. An error has taken Redis out of use."""
        wire = self._wire
        if wire is None:
            return ConnectionError("Redis is away")
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

    # Away and back

    def _away(self, error: Exception) -> None:
        if self.is_up:
            self.is_up = False
            self._log_away(error)
            self._trouble.set()

    def _log_away(self, error: Exception) -> None:
        log.warning(
            "Redis at %s is away (%s): each worker applies its share of the limits of keys alone"
            " until it is back",
            self._address,
            error or type(error).__name__,
        )

    def _lost(self, error: Exception) -> None:
        self._wire = None
        self._away(error)

    async def _tend(self) -> None:
        """Renew the leases while Redis is there, and look for it while it is away."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renew if self.is_up else PROBE):
                    await self._trouble.wait()
            was_up = self.is_up
            with suppress(OSError, hiredis.ReplyError):  # it was said that Redis is away
                await self._revive()
            if self.is_up and not was_up:
                log.warning("Redis at %s is back: limits hold across all workers", self._address)
            self._trouble.clear()

    async def _revive(self) -> None:
        """Connect if need be, and renew the leases. Raises OSError, hiredis.ReplyError."""
        if self._wire is None:
            wire = self._wire = await self._address.connect(self._lost)
            # Known beforehand, so that settling, for which nobody waits, keeps its place.
            for script in (ADMIT, SETTLE):
                wire.post(("SCRIPT", "LOAD", script.source), lambda _: None)
        running = list(self._leases.items())
        keys = (f"{PREFIX}:workers", *(key for _, key in running))
        args: Command = (self._lease, self._worker, *(lease for lease, _ in running))
        # With its source at once: a lease that ends meanwhile must not be sent a second time.
        reply = await self._wire.send(("EVAL", RENEWAL.source, len(keys), *keys, *args))
        if isinstance(reply, Exception):
            self._away(reply)
            raise reply
        self.workers = max(1, reply)
        wire = self._wire
        if wire is not None and wire.is_slow:
            # It has said how many share the limits, and is too slow for requests to wait for.
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
        if left is not None and not future.cancelled():  # cancelled when it had just come
            left(future.result())
        raise


def _unknown_script(reply: Reply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
