"""Whose key a request carries: any of three headers, live revocation, a database that goes away."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from starlette.datastructures import Headers

from core import database
from gateway.access import auth
from gateway.access.auth import Keyring, presented
from gateway.access.keys import Key, Keys, StoredKey
from gateway.http.asgi import ApiError
from tests.gateway.postgres import Postgres, url
from tests.waiting import async_until

# Real servers, which take their time.
pytestmark = pytest.mark.slow

__all__ = ["url"]

OWN = "ask-of-the-installation"
NO_KEY = f"ask-abcdefghij-{'x' * 43}"


class Counted(Keys):
    """The real store, which counts what is asked, and can be made slow or to fail as it does."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.asked: list[str] = []
        self.gone = False
        self.answers = threading.Event()
        """Cleared, it answers nobody."""
        self.answers.set()
        self.failure: Exception = database.Unreachable("the disk is gone")

    def find(self, id: str) -> StoredKey | None:
        self.asked.append(id)
        self.answers.wait()
        if self.gone:
            raise self.failure
        return super().find(id)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counted]:
    """On SQLite; what differs between databases is in the tests of the store."""
    engine = database.open(f"sqlite:///{tmp_path}/keys.db")
    database.migrate(engine)
    counted = Counted(engine)
    yield counted
    counted.answers.set()
    engine.dispose()


@pytest.fixture
async def keyring(store: Counted) -> AsyncIterator[Keyring]:
    keyring = Keyring(store, SecretStr(OWN))
    yield keyring
    await keyring.close()


class Clock:
    """Tells how old things are, and stands still between moves, however long a test takes."""

    def __init__(self) -> None:
        self._now = time.time()

    def time(self) -> float:
        return self._now

    monotonic = time

    def later(self, seconds: float) -> None:
        self._now += seconds

    def set(self, moment: datetime) -> None:
        self._now = moment.timestamp()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(auth, "time", clock)
    return clock


@pytest.fixture
def later(clock: Clock) -> Callable[[float], None]:
    return clock.later


def headers(**values: str | bytes) -> Headers:
    return Headers(
        raw=[
            (name.replace("_", "-").encode(), v if isinstance(v, bytes) else v.encode())
            for name, v in values.items()
        ]
    )


async def refusal(keyring: Keyring, text: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await keyring.verify(text)
    return caught.value


async def opens(keyring: Keyring, text: str) -> bool:
    try:
        await keyring.verify(text)
    except ApiError:
        return False
    return True


async def settle(keyring: Keyring) -> None:
    """Until nothing is read in the background any more."""
    while keyring._lookups:
        await asyncio.gather(*keyring._lookups.values())
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "given",
    [
        headers(authorization="Bearer ask-right"),
        headers(authorization="bearer   ask-right "),
        headers(authorization="BEARER ask-right"),
        headers(x_api_key="ask-right"),
        headers(api_key="ask-right"),
        headers(authorization="Basic eDp5", x_api_key="ask-right"),
        headers(authorization="Bearer ", api_key="ask-right"),
        headers(authorization="Bearer ask-right", x_api_key="ask-other"),
        headers(x_api_key="ask-right", api_key="ask-other"),
        headers(x_api_key="", api_key="ask-right"),
    ],
)
def test_a_key_is_read_from_each_of_three_headers(given: Headers) -> None:
    assert presented(given) == "ask-right"


@pytest.mark.parametrize(
    "given",
    [
        headers(),
        headers(authorization=""),
        headers(authorization="Bearer"),
        headers(authorization="Bearer  "),
        headers(authorization="ask-right"),
        headers(authorization="Basic ask-right"),
        headers(x_api_key="", api_key=""),
    ],
)
async def test_without_a_key_the_answer_says_how_to_send_one(
    keyring: Keyring, given: Headers
) -> None:
    with pytest.raises(ApiError) as caught:
        await keyring.identify(given)
    assert caught.value.status == 401
    assert caught.value.body["error"]["code"] == "invalid_api_key"
    assert "Authorization: Bearer KEY" in str(caught.value)
    assert caught.value.headers == {"www-authenticate": "Bearer"}


async def test_the_installations_key_and_the_one_before_it_open_while_it_is_replaced() -> None:
    keyring = Keyring(None, SecretStr("ask-new"), SecretStr("ask-old"))
    for text in ("ask-new", "ask-old"):
        assert (await keyring.verify(text)).id == "installation"
    assert not await opens(keyring, "ask-older")
    await keyring.close()
    after = Keyring(None, SecretStr("ask-new"))
    assert not await opens(after, "ask-old")
    await after.close()


async def test_the_installations_key_needs_no_database() -> None:
    keyring = Keyring(None, SecretStr(OWN))
    key = await keyring.identify(headers(x_api_key=OWN))
    assert (key.id, key.limits.rpm, key.allows("anything")) == ("installation", None, True)
    assert (await refusal(keyring, NO_KEY)).status == 401
    await keyring.close()


async def test_a_created_key_opens_on_either_database(engine: sa.Engine) -> None:
    key, text = Keys(engine).create("ci", "red", ["docs"])
    keyring = Keyring(Keys(engine), None)
    assert await keyring.identify(headers(authorization=f"Bearer {text}")) == key
    await keyring.close()


@pytest.mark.parametrize(
    "given",
    [
        b"ask-wrong",
        b"ask-of-the-installation2",
        b"ASK-OF-THE-INSTALLATION",
        "schlüssel".encode(),
        b"\xff\xfe\x00",
        b"a" * 100_000,
        NO_KEY.encode(),
        NO_KEY.replace("x", "é").encode(),
        b"ask-' OR 1=1 -",
    ],
)
async def test_what_is_no_key_is_refused_and_not_repeated(keyring: Keyring, given: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        await keyring.identify(headers(x_api_key=given))
    assert caught.value.status == 401
    assert caught.value.body["error"] == {
        "message": "this API key is not valid here: check that it is complete, or ask for another",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }


async def test_an_id_with_another_secret_is_refused_like_an_unknown_one(
    store: Counted, keyring: Keyring
) -> None:
    key, text = store.create("ci")
    await keyring.verify(text)
    for wrong in (text[:-1] + ("a" if text[-1] != "a" else "b"), f"ask-{key.id}-{'x' * 43}"):
        assert str(await refusal(keyring, wrong)).startswith("this API key is not valid here")


async def test_a_key_in_use_is_told_without_waiting_and_without_the_database(
    store: Counted, keyring: Keyring
) -> None:
    _, text = store.create("ci")
    await keyring.verify(text)
    given = headers(host="x", user_agent="y", accept="*/*", authorization=f"Bearer {text}")
    for _ in range(10):
        with pytest.raises(StopIteration):  # it ends at its first step
            keyring.identify(given).send(None)
    assert len(store.asked) == 1


async def test_a_key_in_use_is_read_again_before_it_is_stale_and_nobody_waits(
    store: Counted, keyring: Keyring, later: Callable[[float], None]
) -> None:
    key, text = store.create("ci")
    await keyring.verify(text)
    later(1.5)
    assert [keyring.known(text) for _ in range(10)] == [key] * 10
    await settle(keyring)
    assert len(store.asked) == 2
    later(1.5)
    assert keyring.known(text) == key


async def test_a_revocation_is_live_within_two_seconds(
    store: Counted, keyring: Keyring, later: Callable[[float], None]
) -> None:
    key, text = store.create("ci")
    await keyring.verify(text)
    store.revoke("ci")
    steps = 0
    while await opens(keyring, text):
        steps += 1
        assert steps * 0.25 <= 2
        later(0.25)
        await settle(keyring)
    error = await refusal(keyring, text)
    assert error.status == 401
    assert str(error).startswith("this API key was revoked on 2")
    # Who has not the secret is not told.
    other = f"ask-{key.id}-{'x' * 43}"
    assert str(await refusal(keyring, other)).startswith("this API key is not valid here")


async def test_an_idle_keys_revocation_is_live_at_once(
    store: Counted, keyring: Keyring, later: Callable[[float], None]
) -> None:
    _, text = store.create("ci")
    await keyring.verify(text)
    store.revoke("ci")
    later(2.1)
    assert "was revoked on" in str(await refusal(keyring, text))


async def test_expiry_is_exact_though_the_key_is_remembered(
    store: Counted, keyring: Keyring, clock: Clock
) -> None:
    key, text = store.create("ci", expires=datetime.now(UTC) + timedelta(hours=1))
    assert key.expires
    clock.set(key.expires - timedelta(seconds=0.3))
    assert keyring.known(text) is None
    await keyring.verify(text)
    clock.set(key.expires + timedelta(seconds=0.05))
    error = await refusal(keyring, text)
    assert len(store.asked) == 1
    assert (error.status, error.body["error"]["code"]) == (401, "invalid_api_key")
    assert str(error).startswith("this API key expired on 2")


async def test_a_new_secret_opens_at_once_and_the_old_one_until_its_grace_ends(
    store: Counted, keyring: Keyring, clock: Clock
) -> None:
    key, old = store.create("ci")
    assert await keyring.verify(old) == key
    _, new = store.rotate("ci", timedelta(hours=1))
    found = store.find(key.id)
    assert found is not None
    (until,) = (secret.valid_until for secret in found.secrets if secret.valid_until)
    clock.set(until - timedelta(seconds=0.3))
    assert await keyring.verify(new) == key
    assert await keyring.verify(old) == key
    clock.set(until + timedelta(seconds=0.05))
    assert "was rotated" in str(await refusal(keyring, old))
    assert await keyring.verify(new) == key


async def test_a_new_secret_opens_even_when_an_older_reading_is_under_way(
    store: Counted, keyring: Keyring, later: Callable[[float], None]
) -> None:
    _, old = store.create("ci")
    read, held = store.find, threading.Event()

    def slow(id: str) -> StoredKey | None:
        found = read(id)
        held.wait()  # what it found grows old
        return found

    store.find = slow  # type: ignore[method-assign]
    waiting = asyncio.create_task(keyring.verify(old))
    await async_until(lambda: store.asked)
    later(0.1)
    _, new = store.rotate("ci", timedelta(hours=1))
    asking = asyncio.create_task(keyring.verify(new))
    await asyncio.sleep(0)
    held.set()
    assert await asking == await waiting


async def test_of_many_requests_with_a_new_key_one_asks_the_database(
    store: Counted, keyring: Keyring
) -> None:
    key, text = store.create("ci")
    store.answers.clear()
    asking = [asyncio.create_task(keyring.verify(text)) for _ in range(200)]
    await async_until(lambda: store.asked)
    store.answers.set()
    assert await asyncio.gather(*asking) == [key] * 200
    assert len(store.asked) == 1


async def test_an_unknown_key_is_remembered_for_two_seconds(
    store: Counted, keyring: Keyring, later: Callable[[float], None]
) -> None:
    for _ in range(10):
        await refusal(keyring, NO_KEY)
    assert len(store.asked) == 1
    later(2.1)
    await refusal(keyring, NO_KEY)
    assert len(store.asked) == 2


async def test_random_keys_do_not_fill_the_memory(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "UNKNOWN", 100)
    for number in range(300):
        assert (await refusal(keyring, f"ask-{number:010}-{'x' * 43}")).status == 401
    assert len(keyring._unknown) == 100
    assert list(keyring._unknown)[-1] == f"{299:010}"
    assert not keyring._entries
    assert not keyring._lookups


async def test_with_the_database_away_seen_keys_work_and_others_get_503(
    postgres: Postgres, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = database.open(postgres.database())
    database.migrate(engine)
    store = Keys(engine)
    key, text = store.create("ci")
    soon, expiring = store.create("soon", expires=datetime.now(UTC) + timedelta(hours=1))
    _, unseen = store.create("unseen")
    _, gone = store.create("gone")
    keyring = Keyring(store, SecretStr(OWN))
    assert await keyring.verify(text) == key
    assert await keyring.verify(expiring) == soon
    await keyring.verify(gone)
    store.revoke("gone")
    clock.later(2.1)
    assert "was revoked" in str(await refusal(keyring, gone))
    await keyring.verify(text)
    postgres.stop()
    try:
        for _ in range(30):
            assert keyring.known(text) == key  # nobody waits
            await settle(keyring)
            clock.later(0.1)
        assert (await keyring.verify(OWN)).id == "installation"
        for other in (unseen, NO_KEY, f"ask-{key.id}-{'x' * 43}"):
            error = await refusal(keyring, other)
            assert error.status == 503
            assert error.headers["retry-after"] == "1"
            assert error.body["error"]["code"] == "database_unavailable"
        assert (await refusal(keyring, "ask-nothing")).status == 401
        assert (await refusal(keyring, gone)).status == 401
        assert soon.expires
        clock.set(soon.expires)
        assert "expired on" in str(await refusal(keyring, expiring))
        said = [r for r in caplog.records if "remain valid" in r.getMessage()]
        assert len(said) == 1
    finally:
        postgres.start()
    await async_until(lambda: keyring._recovery is None)
    assert await opens(keyring, unseen)
    assert (await refusal(keyring, NO_KEY)).status == 401
    store.revoke("ci")
    clock.later(2.1)
    assert "was revoked" in str(await refusal(keyring, text))
    await keyring.close()
    engine.dispose()


async def test_while_the_database_is_away_one_look_a_second_is_all_it_gets(
    store: Counted, keyring: Keyring
) -> None:
    store.gone = True
    for number in range(100):
        assert (await refusal(keyring, f"ask-{number:010}-{'x' * 43}")).status == 503
    assert len(store.asked) == 1


async def test_keys_are_checked_again_also_after_a_failure_that_nobody_foresaw(
    store: Counted, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "PAUSE", 0.01)
    _, text = store.create("ci")
    store.gone = True
    assert (await refusal(keyring, text)).status == 503
    store.failure = ValueError("a row that cannot be read")
    looked = len(store.asked)
    await async_until(lambda: len(store.asked) > looked + 1)
    store.gone = False
    await async_until(lambda: keyring._recovery is None)
    assert await opens(keyring, text)


async def test_a_database_that_hangs_holds_nobody_longer_than_the_patience(
    store: Counted,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[float], None],
) -> None:
    monkeypatch.setattr(auth, "PATIENCE", 0.2)
    key, text = store.create("ci")
    await keyring.verify(text)
    later(2.1)
    store.answers.clear()
    assert await keyring.verify(text) == key
    assert (await refusal(keyring, NO_KEY)).status == 503


async def test_a_client_that_leaves_does_not_end_the_reading_for_others(
    store: Counted, keyring: Keyring
) -> None:
    key, text = store.create("ci")
    store.answers.clear()
    leaving = asyncio.create_task(keyring.verify(text))
    staying = asyncio.create_task(keyring.verify(text))
    await async_until(lambda: store.asked)
    leaving.cancel()
    store.answers.set()
    assert await staying == key


def test_a_key_allows_its_models_or_all() -> None:
    key = Key("id", "ci", "", datetime.now(UTC))
    assert key.allows("docs")
    assert not Key("id", "ci", "", datetime.now(UTC), models=("docs",)).allows("base")


def test_groups_that_come_twice_are_refused() -> None:
    key = Key("k", "k", "", datetime.now(UTC), groups=("*",), for_people=True)
    line = (auth.GROUPS_HEADER.encode(), b'["docs"]')
    assert auth.reader(key, Headers(raw=[line])).groups == {"docs"}
    with pytest.raises(ApiError, match="came twice"):
        auth.reader(key, Headers(raw=[line, (line[0], b"*")]))
