"""Authentication: reads the API key from any header that clients use."""

import asyncio
import hmac
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import orjson
from pydantic import SecretStr
from starlette.datastructures import Headers

from core.database import Unreachable
from gateway.access.keys import ALL, INSTALLATION, Key, Keys, StoredKey, digest, parse
from gateway.http.asgi import ApiError
from wiki.rights import PUBLIC, Reader, groups_of

GROUPS_HEADER = "x-askdocs-groups"
"""The header in which a key for people names the person's groups, as a JSON list; `*` for all that
the key may read."""

log = logging.getLogger("askdocs.gateway")

FRESH = 2.0  # seconds that a key is cached; a revocation takes effect within them
AHEAD = 1.0  # seconds after which a key in use is refreshed, so that no request waits for it
PATIENCE = 2.0  # seconds that a request waits for the database
PAUSE = 1.0  # seconds between checks of an unavailable database
UNKNOWN = 10_000  # unknown key IDs that are cached


def presented(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer`, `x-api-key` or `api-key`."""
    bearer = x_api_key = api_key = b""
    # A single pass: `Headers.get` would scan and decode all headers three times.
    for name, value in headers.raw:
        if name == b"authorization" and not bearer:
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer":
                bearer = token.strip()
        elif name == b"x-api-key":
            x_api_key = x_api_key or value
        elif name == b"api-key":
            api_key = api_key or value
    secret = bearer or x_api_key or api_key
    return secret.decode("latin-1") if secret else None


def reader(key: Key, headers: Headers) -> Reader:
    """Determines what a request may read of the wiki.

    Usually this is what the key may read. A key for people names a person: the request may then
    read what both may, or without a person only public pages, so that a client that omits the
    person discloses nothing.

    Raises ApiError: 403, the key may not act for people; 400, the header is invalid.
    """
    own = None if ALL in key.groups else frozenset(key.groups)
    header = headers.get(GROUPS_HEADER)
    if header is None:
        return PUBLIC if key.for_people else Reader(own)
    if len(headers.getlist(GROUPS_HEADER)) > 1:  # one may come from a client, through a proxy
        raise ApiError(400, f"{GROUPS_HEADER} came twice: send it once", code="invalid_header")
    if not key.for_people:
        raise ApiError(
            403,
            f"this key may not name a person's groups in {GROUPS_HEADER}: omit the header, or use "
            "a key made with --for-people",
            kind="permission_error",
            code="not_allowed",
        )
    if header == ALL:
        return Reader(own)
    theirs = _groups(header)
    return Reader(theirs if own is None else theirs & own)


def _groups(header: str) -> frozenset[str]:
    try:
        named = orjson.loads(header)
        if isinstance(named, list):
            return groups_of(named)
    except ValueError:
        pass
    raise ApiError(
        400,
        f'{GROUPS_HEADER} is {header[:100]!r}: send a JSON list of the names of groups, ["hr"]',
        code="invalid_header",
    )


class _Entry:
    """A key as read from the database, and when; dates in seconds, which compare faster."""

    __slots__ = ("expires", "key", "read", "secrets")

    def __init__(self, stored: StoredKey, read: float) -> None:
        self.key = stored.key
        self.read = read
        self.expires = _seconds(stored.key.expires)
        self.secrets = [(secret.digest, _seconds(secret.valid_until)) for secret in stored.secrets]

    def judge(self, given: bytes) -> bool:
        """Is this the digest of a valid secret? False if it never was one.

        Raises ApiError 401: it was one. Only the holder of the secret learns why it is no longer
        valid.
        """
        now = time.time()
        until = -math.inf
        matched = False
        for known, valid_until in self.secrets:
            # Compare all of them, so that the timing reveals nothing.
            if hmac.compare_digest(known, given):
                matched, until = True, valid_until
        if not matched:
            return False
        if self.key.revoked is not None:
            raise _refused(f"this API key was revoked on {_date(self.key.revoked.timestamp())}")
        if self.expires <= now:
            raise _refused(f"this API key expired on {_date(self.expires)}")
        if until <= now:
            raise _refused(
                f"this API key was rotated, and its old secret expired on {_date(until)}"
            )
        return True


class Keyring:
    """Identifies the key of a request.

    Caches what the database says of a key for FRESH seconds. While the database is unavailable,
    keys seen before keep working, and others get 503: a 401 for a key that may be valid would make
    its owner discard it. Belongs to one event loop.
    """

    def __init__(
        self,
        keys: Keys | None,
        installation: SecretStr | None,
        previous: SecretStr | None = None,
    ) -> None:
        """`installation`, `previous`: the master keys of `[gateway]`, which need no database."""
        self._keys = keys
        own = [key for key in (installation, previous) if key]
        self._own = [digest(key.get_secret_value()) for key in own]
        now = datetime.now(UTC)
        self._own_key = Key(INSTALLATION, INSTALLATION, "", now, groups=(ALL,), for_people=True)
        self._entries: dict[str, _Entry] = {}
        self._unknown: dict[str, float] = {}
        self._lookups: dict[str, asyncio.Task[None]] = {}
        # A separate pool, so that a hanging database blocks no other threads.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="keys")
        self._recovery: asyncio.Task[None] | None = None

    async def identify(self, headers: Headers) -> Key:
        """The key of a request. Does not wait if the key was read within FRESH seconds.

        Raises:
            ApiError: 401 for a key that is missing, unknown, revoked or expired; 503 if the key
                must be looked up while the database is unavailable.
        """
        text = presented(headers)
        if text is None:
            raise _missing()
        return await self.verify(text)

    async def verify(self, text: str) -> Key:
        """The key with this text. Raises as `identify`."""
        return self.known(text) or await self._ask(text)

    def known(self, text: str) -> Key | None:
        """The key with this text, if no database look-up is needed. Raises ApiError 401."""
        given = parse(text)
        entry = self._entries.get(given.id) if given else None
        if given is None or entry is None:
            if _is_one_of(digest(text), self._own):
                return self._own_key
            if given is None or self._keys is None:
                raise _invalid()
            return None
        age = time.monotonic() - entry.read
        if age > FRESH and self._recovery is None:
            return None
        if not entry.judge(digest(given.secret)):
            return None
        if age > AHEAD and self._recovery is None:
            self._lookup(given.id)
        return entry.key

    async def close(self) -> None:
        tasks = [*self._lookups.values(), *filter(None, [self._recovery])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, text: str) -> Key:
        """Look up a text in the format of a key."""
        given = parse(text)
        assert given is not None
        began = time.monotonic()
        if self._unknown.get(given.id, -math.inf) > began - FRESH:
            raise _invalid()
        answered = await self._read_since(given.id, began)
        entry = self._entries.get(given.id)
        if entry is not None and entry.judge(digest(given.secret)):
            return entry.key
        if answered:
            raise _invalid()
        raise ApiError(
            503,
            "this API key cannot be checked now, because the database is unavailable: try again",
            kind="server_error",
            code="database_unavailable",
            headers={"retry-after": "1"},
        )

    async def _read_since(self, id: str, moment: float) -> bool:
        """Read a key unless the database is unavailable. Was it read?"""
        # Twice if a running look-up may predate the key.
        while self._recovery is None:
            task = self._lookup(id)
            await asyncio.wait({task}, timeout=PATIENCE)
            if not task.done():
                self._away("the database did not answer in time")
                return False
            task.result()
            entry = self._entries.get(id)
            if (entry.read if entry else self._unknown.get(id, -math.inf)) >= moment:
                return True
        return False

    def _lookup(self, id: str) -> asyncio.Task[None]:
        """Read a key; look-ups of the same key share a task."""
        task = self._lookups.get(id)
        if task is None:
            task = self._lookups[id] = asyncio.create_task(self._read(id))
            task.add_done_callback(lambda _: self._lookups.pop(id, None))
        return task

    async def _read(self, id: str) -> None:
        assert self._keys is not None
        loop = asyncio.get_running_loop()
        read = time.monotonic()
        try:
            stored = await loop.run_in_executor(self._threads, self._keys.find, id)
        except Unreachable as error:
            self._away(str(error))
            return
        if stored is not None:
            self._unknown.pop(id, None)
            self._entries[id] = _Entry(stored, read)
            return
        self._entries.pop(id, None)
        self._unknown.pop(id, None)  # move it to the end
        self._unknown[id] = read
        if len(self._unknown) > UNKNOWN:
            del self._unknown[next(iter(self._unknown))]

    def _away(self, why: str) -> None:
        if self._recovery is None:
            log.warning("known keys remain valid: %s", why)
            self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        """Check the database alone until it is back."""
        assert self._keys is not None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PAUSE)
            try:
                await loop.run_in_executor(self._threads, self._keys.find, INSTALLATION)
            except Unreachable:
                continue
            except Exception:  # any error: without this task, no new key is ever checked again
                log.exception("reconnecting to the database")
                continue
            break
        self._recovery = None
        log.warning("the database is back: keys are checked again")


def _is_one_of(given: bytes, known: list[bytes]) -> bool:
    # Compare all of them, so that the timing reveals nothing.
    return sum(hmac.compare_digest(given, expected) for expected in known) > 0


def _seconds(moment: datetime | None) -> float:
    return math.inf if moment is None else moment.timestamp()


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _missing() -> ApiError:
    return _refused("no API key: send it as 'Authorization: Bearer KEY'")


def _invalid() -> ApiError:
    return _refused("this API key is not valid here: check that it is complete, or ask for another")


def _refused(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
