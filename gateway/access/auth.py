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

from gateway.access.keys import ALL, INSTALLATION, Key, Keys, StoredKey, digest, parse
from gateway.access.rights import PUBLIC, Reader, groups_of
from gateway.core.http import ApiError
from gateway.storage.database import Unreachable

GROUPS_HEADER = "x-askdocs-groups"
"""In which a key that asks for people says what groups the person is in, as a JSON list; `*` for
all that the key may read."""

log = logging.getLogger("askdocs.gateway")

FRESH = 2.0  # seconds that what is known of a key counts; a revocation is live after them
AHEAD = 1.0  # seconds after which a key in use is read again, so that no request waits for it
PATIENCE = 2.0  # seconds that a request waits for the database
PAUSE = 1.0  # seconds between two looks at a database that is away
UNKNOWN = 10_000  # ids of no key that are remembered


def presented(headers: Headers) -> str | None:
    """The key in `Authorization: Bearer`, `x-api-key` or `api-key`."""
    bearer = x_api_key = api_key = b""
    # One pass: `Headers.get` would walk and decode all of them three times.
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
    """What a request may read of the wiki.

    That is what the key may. One that asks for people says for whom: then it is what both may, and
    without a person what everybody may, so that a door that forgets the person opens nothing.

    Raises ApiError: 403, the key may not speak for anybody; 400, the header makes no sense.
    """
    own = None if ALL in key.groups else frozenset(key.groups)
    header = headers.get(GROUPS_HEADER)
    if header is None:
        return PUBLIC if key.for_people else Reader(own)
    if len(headers.getlist(GROUPS_HEADER)) > 1:  # one may be a client's, which a proxy passed on
        raise ApiError(400, f"{GROUPS_HEADER} came twice: send it once", code="invalid_header")
    if not key.for_people:
        raise ApiError(
            403,
            f"this key may not say in {GROUPS_HEADER} for whom it asks: leave the header out, or"
            " use a key that was made with --for-people",
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
    """What was read of a key, and when; dates as seconds, which compare faster."""

    __slots__ = ("expires", "key", "read", "secrets")

    def __init__(self, stored: StoredKey, read: float) -> None:
        self.key = stored.key
        self.read = read
        self.expires = _seconds(stored.key.expires)
        self.secrets = [(secret.digest, _seconds(secret.valid_until)) for secret in stored.secrets]

    def judge(self, given: bytes) -> bool:
        """Is this the digest of a secret that opens? False when it never was one.

        Raises ApiError 401: it was one. Only who has the secret is told why it opens no more.
        """
        now = time.time()
        until = -math.inf
        matched = False
        for known, valid_until in self.secrets:
            # Every one is compared, so that the time taken says nothing about them.
            if hmac.compare_digest(known, given):
                matched, until = True, valid_until
        if not matched:
            return False
        if self.key.revoked is not None:
            raise _refused(f"this API key was revoked on {_date(self.key.revoked.timestamp())}")
        if self.expires <= now:
            raise _refused(f"this API key expired on {_date(self.expires)}")
        if until <= now:
            raise _refused(f"this API key was rotated, and its old text ended on {_date(until)}")
        return True


class Keyring:
    """Tells whose key a request carries.

    What the database says of a key is kept for FRESH seconds. With the database away, keys that
    were seen before go on working, and others get 503: to say 401 to a key that may be valid would
    make its owner throw it away. Belongs to one event loop.
    """

    def __init__(
        self,
        keys: Keys | None,
        installation: SecretStr | None,
        previous: SecretStr | None = None,
    ) -> None:
        """`installation`, `previous`: of `[gateway]`, the keys that need no database."""
        self._keys = keys
        own = [key for key in (installation, previous) if key]
        self._own = [digest(key.get_secret_value()) for key in own]
        now = datetime.now(UTC)
        self._own_key = Key(INSTALLATION, INSTALLATION, "", now, groups=(ALL,), for_people=True)
        self._entries: dict[str, _Entry] = {}
        self._unknown: dict[str, float] = {}
        self._lookups: dict[str, asyncio.Task[None]] = {}
        # Its own, so that a database that hangs takes no thread from anybody else.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="keys")
        self._recovery: asyncio.Task[None] | None = None

    async def identify(self, headers: Headers) -> Key:
        """The key of a request. Does not wait when the key was seen within FRESH seconds.

        Raises:
            ApiError: 401 for a key that is missing, unknown, revoked or expired; 503 for one that
                the database would have to be asked about, when it is away.
        """
        text = presented(headers)
        if text is None:
            raise _missing()
        return await self.verify(text)

    async def verify(self, text: str) -> Key:
        """The key with this text. Raises as `identify`."""
        return self.known(text) or await self._ask(text)

    def known(self, text: str) -> Key | None:
        """The key with this text, if that can be told without the database. Raises ApiError 401."""
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
        """Ask the database about a text that has the form of a key."""
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
            "this API key cannot be checked now, because the database is away: try again",
            kind="server_error",
            code="database_unavailable",
            headers={"retry-after": "1"},
        )

    async def _read_since(self, id: str, moment: float) -> bool:
        """Read a key, unless the database is away. Was it read?"""
        # Twice, where a reading was under way that may not have seen a key that is this new.
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
        """Read a key; at most one reading of each is under way."""
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
        self._unknown.pop(id, None)  # to the end
        self._unknown[id] = read
        if len(self._unknown) > UNKNOWN:
            del self._unknown[next(iter(self._unknown))]

    def _away(self, why: str) -> None:
        if self._recovery is None:
            log.warning("keys that were seen before go on working: %s", why)
            self._recovery = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        """Until the database is back, nobody but this asks it."""
        assert self._keys is not None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PAUSE)
            try:
                await loop.run_in_executor(self._threads, self._keys.find, INSTALLATION)
            except Unreachable:
                continue
            except Exception:  # whatever it is: without this task no new key is ever checked again
                log.exception("the database is looked for again")
                continue
            break
        self._recovery = None
        log.warning("the database is back: keys are checked again")


def _is_one_of(given: bytes, known: list[bytes]) -> bool:
    # Every one is compared, so that the time taken says nothing about them.
    return sum(hmac.compare_digest(given, expected) for expected in known) > 0


def _seconds(moment: datetime | None) -> float:
    return math.inf if moment is None else moment.timestamp()


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _missing() -> ApiError:
    return _refused("no API key: send it as 'Authorization: Bearer KEY'")


def _invalid() -> ApiError:
    return _refused("this API key is not valid here")


def _refused(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
