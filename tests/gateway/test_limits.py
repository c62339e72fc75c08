"""Limits of keys, counted in memory; and what clients see of them."""

import asyncio
import copy
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from openai import AsyncOpenAI, RateLimitError
from starlette.types import Receive, Scope, Send

from core.tasks import Tasks
from gateway.access.keys import Key, Limits
from gateway.access.limits import month, shared
from gateway.access.limits.grant import UNLIMITED, Counts, Grant, LimitReached, duration
from gateway.access.limits.limiter import Limiter, connect
from gateway.access.limits.memory import IDLE, NS, LocalLimits
from gateway.http.asgi import ApiError, send_json
from research.bench.systems import free_port
from tests.waiting import async_until

Test = TypeVar("Test", bound=Callable[..., None])
MS = 1_000_000
SECOND = 1000 * MS


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


def key(
    name: str = "ci",
    *,
    rpm: int | None = None,
    tpm: int | None = None,
    max_parallel: int | None = None,
    monthly_tokens: int | None = None,
) -> Key:
    limits = Limits(rpm, tpm, max_parallel, monthly_tokens)
    return Key(f"id-{name}", name, "team", datetime.now(UTC), limits=limits)


async def nothing(key_id: str) -> int:
    return 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limiter(clock: Clock) -> AsyncIterator[Limiter]:
    limiter = await connect(None, nothing, clock=clock)
    yield limiter
    await limiter.close()


def refusal(memory: LocalLimits, key: Key, tokens: int = 1) -> LimitReached | None:
    """What an admission would say, without one."""
    try:
        copy.deepcopy(memory).admit(key, tokens)
    except LimitReached as error:
        return error
    return None


# Against a log of everything


@dataclass
class Event:
    at: int
    tokens: int
    grant: Grant


# Milliseconds: within a bucket, about a window, any.
PASS = st.integers(0, 1500) | st.integers(58_000, 61_500) | st.integers(0, 70_000)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), PASS),
        st.tuples(st.just("ask"), st.integers(0, 60)),
        st.tuples(st.just("end"), st.integers(0, 100)),
    ),
    max_size=60,
)
SOME = st.none() | st.integers(0, 5)
TOKENS = st.none() | st.integers(0, 150)


# What chance seldom finds: where buckets and windows end, and two limits that refuse alike.
EDGES: list[tuple[list[tuple[str, int]], int | None, int | None]] = [
    ([("ask", 1), ("pass", 900), ("ask", 1), ("pass", 59_200), ("ask", 1), ("ask", 1)], 2, None),
    ([("ask", 1), ("pass", 1100), ("ask", 1), ("pass", 58_900), ("ask", 1), ("ask", 1)], 2, None),
    ([("ask", 1), ("pass", 59_999), ("ask", 1), ("pass", 1), ("ask", 1), ("ask", 1)], 1, None),
    ([("ask", 9), ("pass", 60_000), ("ask", 9), ("ask", 9)], 1, 10),
]


def edges(**more: Any) -> Callable[[Test], Test]:
    def added(test: Test) -> Test:
        for steps, rpm, tpm in EDGES:
            test = example(steps=steps, rpm=rpm, tpm=tpm, max_parallel=None, **more)(test)
        return test

    return added


@given(steps=STEPS, rpm=SOME, tpm=TOKENS, max_parallel=SOME)
@edges()
def test_limits_hold_in_every_window_and_no_request_is_refused_without_need(
    steps: list[tuple[str, int]], rpm: int | None, tpm: int | None, max_parallel: int | None
) -> None:
    clock = Clock()
    memory = LocalLimits(60, clock)
    asking = key(rpm=rpm, tpm=tpm, max_parallel=max_parallel)
    log: list[Event] = []
    running: list[Event] = []

    def used(seconds: float) -> tuple[int, int]:
        recent = [event for event in log if event.at > clock.now - seconds * SECOND]
        return len(recent), sum(event.tokens for event in recent)

    for step, number in steps:
        if step == "pass":
            clock.now += number * MS
        elif step == "end" and running:
            event = running.pop(number % len(running))
            if event.grant.counters is not None:
                memory.settle(event.grant, number)
                event.tokens = number
        elif step == "ask":
            requests, tokens = used(60)
            least = (
                (rpm is not None and requests + 1 > rpm)
                or (tpm is not None and tokens + number > tpm)
                or (max_parallel is not None and len(running) >= max_parallel)
            )
            # A bucket leaves with the last of its requests, which is up to a second late.
            requests, tokens = used(61)
            most = (
                (rpm is not None and requests + 1 > rpm)
                or (tpm is not None and tokens + number > tpm)
                or (max_parallel is not None and len(running) >= max_parallel)
            )
            try:
                grant = memory.admit(asking, number)
            except LimitReached as error:
                assert most
                promise_holds(memory, clock, asking, number, error, len(running))
            else:
                assert not least
                event = Event(clock.now, number, grant)
                log.append(event)
                running.append(event)


def promise_holds(
    memory: LocalLimits, clock: Clock, asking: Key, tokens: int, error: LimitReached, running: int
) -> None:
    """After Retry-After it passes, and a millisecond earlier it does not."""
    if "retry-after-ms" not in error.headers:
        assert error.headers["x-should-retry"] == "false"
        assert error.limit == "too_large" or asking.limits.rpm == 0
        return
    wait = int(error.headers["retry-after-ms"])
    assert 0 < wait <= 60_000
    assert int(error.headers["retry-after"]) * 1000 >= wait
    if asking.limits.max_parallel is not None and running >= asking.limits.max_parallel:
        assert wait >= 1000
        return
    # The copy has a clock of its own.
    later = copy.deepcopy(memory)
    later._clock = lambda: clock.now + (wait - 1) * MS
    with pytest.raises(LimitReached):
        later.admit(asking, tokens)
    later._clock = lambda: clock.now + wait * MS
    later.admit(asking, tokens)


# Requests


async def test_a_key_without_limits_is_always_admitted_and_counts_nothing(limiter: Limiter) -> None:
    for _ in range(1000):
        grant = await limiter.admit(key(), 10**9)
    assert grant is UNLIMITED
    assert grant.headers == {}
    limiter.settle(grant, 5)
    assert len(limiter._memory) == 0


async def test_rpm_admits_its_number_and_names_limit_use_and_time(
    limiter: Limiter, clock: Clock
) -> None:
    for left in (1, 0):
        grant = await limiter.admit(key(rpm=2), 1)
        assert grant.headers == {
            "x-ratelimit-limit-requests": "2",
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": "1m0s",
        }
        clock.now += 10 * SECOND + MS
    with pytest.raises(LimitReached) as caught:
        await limiter.admit(key(rpm=2), 1)
    assert caught.value.status == 429
    assert caught.value.limit == "rpm"
    assert caught.value.body["error"] == {
        "message": "Rate limit of key 'ci' reached: requests per minute: limit 2, used 2."
        " Try again in 39.998s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert caught.value.headers == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "49.999s",
        "retry-after": "40",
        "retry-after-ms": "39998",
    }


async def test_a_client_that_keeps_the_pace_of_its_limit_is_never_refused(
    limiter: Limiter, clock: Clock
) -> None:
    for _ in range(300):
        await limiter.admit(key(rpm=60), 1)
        clock.now += SECOND


async def test_keys_do_not_share_their_limits(limiter: Limiter) -> None:
    await limiter.admit(key("a", rpm=1), 1)
    await limiter.admit(key("b", rpm=1), 1)


async def test_a_key_with_rpm_alone_has_nothing_to_settle(limiter: Limiter) -> None:
    grant = await limiter.admit(key(rpm=1), 1)
    assert grant.counters is None


async def test_a_lowered_limit_holds_at_once(limiter: Limiter, clock: Clock) -> None:
    for _ in range(4):
        await limiter.admit(key(rpm=4), 1)
        clock.now += 2 * SECOND
    with pytest.raises(LimitReached) as caught:
        await limiter.admit(key(rpm=2), 1)
    assert caught.value.headers["retry-after"] == "56"  # three of four have to leave


# Tokens


async def test_tokens_are_reserved_and_settled(limiter: Limiter) -> None:
    asking = key(tpm=100)
    first = await limiter.admit(asking, 60)
    assert first.headers["x-ratelimit-remaining-tokens"] == "40"
    with pytest.raises(LimitReached, match="limit 100, used 60, requested 50") as caught:
        await limiter.admit(asking, 50)
    assert caught.value.body["error"]["type"] == "tokens"
    assert caught.value.body["error"]["code"] == "rate_limit_exceeded"
    limiter.settle(first, 10)
    second = await limiter.admit(asking, 90)
    assert second.headers["x-ratelimit-remaining-tokens"] == "0"
    limiter.settle(second, 200)  # the estimate was wrong
    with pytest.raises(LimitReached, match="used 210"):
        await limiter.admit(asking, 1)


async def test_settling_twice_counts_once(limiter: Limiter) -> None:
    grant = await limiter.admit(key(tpm=100, max_parallel=1), 60)
    limiter.settle(grant, 10)
    limiter.settle(grant, 10)
    again = await limiter.admit(key(tpm=100, max_parallel=1), 90)
    assert again.counts.tokens == 100
    assert again.counts.parallel == 1


async def test_settling_after_the_window_changes_nothing(limiter: Limiter, clock: Clock) -> None:
    grant = await limiter.admit(key(tpm=100), 60)
    clock.now += 61 * SECOND
    assert (await limiter.admit(key(tpm=100), 0)).counts.tokens == 0
    limiter.settle(grant, 50)
    assert (await limiter.admit(key(tpm=100), 0)).counts.tokens == 0


async def test_a_request_larger_than_tpm_is_told_that_waiting_does_not_help(
    limiter: Limiter,
) -> None:
    with pytest.raises(LimitReached, match="Request too large") as caught:
        await limiter.admit(key(tpm=100), 101)
    assert caught.value.status == 429
    assert caught.value.body["error"]["type"] == "tokens"
    assert caught.value.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.headers


# At the same time


async def test_max_parallel_holds_while_requests_run_and_is_given_back(limiter: Limiter) -> None:
    asking = key(max_parallel=2)
    first = await limiter.admit(asking, 1)
    await limiter.admit(asking, 1)
    with pytest.raises(LimitReached, match="limit 2, running 2") as caught:
        await limiter.admit(asking, 1)
    assert caught.value.headers == {"retry-after": "1", "retry-after-ms": "1000"}
    assert caught.value.body["error"]["type"] == "requests"
    limiter.settle(first, 0)
    await limiter.admit(asking, 1)


# The month


async def test_the_budget_of_the_month_starts_from_the_database_and_is_never_passed(
    clock: Clock,
) -> None:
    asked: list[str] = []

    async def read(key_id: str) -> int:
        asked.append(key_id)
        await asyncio.sleep(0.01)
        return 700

    limiter = await connect(None, read, clock=clock)
    asking = key(monthly_tokens=1000)
    results = await asyncio.gather(
        *(limiter.admit(asking, 100) for _ in range(10)), return_exceptions=True
    )
    grants = [result for result in results if isinstance(result, Grant)]
    errors = [result for result in results if isinstance(result, LimitReached)]
    assert (len(grants), len(errors)) == (3, 7)
    assert asked == ["id-ci"]
    error = errors[0]
    assert error.body["error"]["code"] == error.body["error"]["type"] == "insufficient_quota"
    assert error.headers == {"x-should-retry": "false"}
    assert "limit 1000 tokens, used or reserved 1000." in str(error)
    limiter.settle(grants[0], 0)
    await limiter.admit(asking, 100)
    await limiter.close()


async def test_a_new_month_is_a_new_budget(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month, "now", lambda: datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
    asking = key(monthly_tokens=100)
    grant = await limiter.admit(asking, 100)
    with pytest.raises(LimitReached, match="renewed at 2027-01-01 00:00 UTC"):
        await limiter.admit(asking, 1)
    monkeypatch.setattr(month, "now", lambda: datetime(2027, 1, 1, tzinfo=UTC))
    second = await limiter.admit(asking, 60)
    assert second.counts.month == 60
    limiter.settle(grant, 100)  # belongs to December
    assert (await limiter.admit(asking, 0)).counts.month == 60


async def test_the_month_is_read_again_after_ten_minutes(clock: Clock) -> None:
    total = 0

    async def read(key_id: str) -> int:
        return total

    limiter = await connect(None, read, clock=clock)
    asking = key(monthly_tokens=1000)
    running = await limiter.admit(asking, 100)
    total = 500
    assert (await limiter.admit(asking, 1)).counts.month == 101
    clock.now += 600 * NS
    assert (await limiter.admit(asking, 1)).counts.month == 501
    limiter.settle(running, 40)  # its reservation was not read from the database
    assert (await limiter.admit(asking, 0)).counts.month == 541
    await limiter.close()


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_database_that_is_away_refuses_nobody_and_is_asked_again(
    clock: Clock, hangs: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(month, "PATIENCE", 0.05)
    is_away = True

    async def read(key_id: str) -> int:
        if is_away and hangs:
            await asyncio.Event().wait()
        if is_away:
            raise ConnectionError("database is away")
        return 1000

    limiter = await connect(None, read, clock=clock)
    asking = key(monthly_tokens=1000)
    await limiter.admit(asking, 1)
    assert "the tokens that key id-ci used this month cannot be read" in caplog.text
    is_away = False
    clock.now += month.RETRY * NS
    with pytest.raises(LimitReached, match="used up"):
        await limiter.admit(asking, 1)
    await limiter.close()


def test_a_budget_that_has_some_left_is_not_used_up() -> None:
    counts = Counts(1, 0, 1, 400, 0)
    error = LimitReached(key(monthly_tokens=1000), "monthly_tokens", None, counts, 700)
    assert "has 600 of 1000 tokens left, and this request may use 700" in str(error)


# All together


async def test_the_longest_wait_is_the_one_that_is_said(limiter: Limiter, clock: Clock) -> None:
    asking = key(rpm=2, tpm=100)
    await limiter.admit(asking, 10)
    clock.now += 20 * SECOND
    await limiter.admit(asking, 90)
    with pytest.raises(LimitReached, match="tokens per minute") as caught:
        await limiter.admit(asking, 50)  # rpm: 40 s, tpm: 60 s
    assert caught.value.headers["retry-after"] == "60"
    with pytest.raises(LimitReached, match="requests per minute") as caught:
        await limiter.admit(asking, 0)
    assert caught.value.headers["retry-after"] == "40"


async def test_a_refused_request_counts_nowhere(limiter: Limiter, clock: Clock) -> None:
    asking = key(rpm=5, tpm=100, max_parallel=1, monthly_tokens=1000)
    grant = await limiter.admit(asking, 10)
    for _ in range(9):
        with pytest.raises(LimitReached):
            await limiter.admit(asking, 10)
    limiter.settle(grant, 10)
    assert (await limiter.admit(asking, 10)).counts == Counts(2, 20, 1, 20, 60_000)


def test_idle_keys_are_forgotten_and_running_ones_are_not() -> None:
    clock = Clock()
    memory = LocalLimits(60, clock)
    running = memory.admit(key("running", max_parallel=1), 1)
    for number in range(1000):
        memory.admit(key(str(number), rpm=1), 1)
    clock.now += IDLE
    memory.admit(key("new", rpm=1), 1)
    assert len(memory) == 2
    assert refusal(memory, key("running", max_parallel=1)) is not None
    memory.settle(running, 1)
    assert refusal(memory, key("running", max_parallel=1)) is None


def test_a_busy_key_has_61_buckets_at_most() -> None:
    clock = Clock()
    memory = LocalLimits(60, clock)
    for _ in range(20_000):
        memory.admit(key(rpm=10**9, tpm=10**9), 1)
        clock.now += 7 * MS
    assert len(memory._usage["id-ci"].buckets) <= 61


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        (0, "0s"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (8640, "8.64s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (61_001, "1m1.001s"),
    ],
)
def test_durations_are_written_as_openai_does(ms: int, written: str) -> None:
    assert duration(ms) == written


# The official SDK


@pytest.fixture
async def ask() -> AsyncIterator[Callable[[Key], AsyncOpenAI]]:
    """A server whose minute has 2 seconds, and begins again when a client was told to wait: a
    client of it with the given key."""
    keys: dict[str, Key] = {}
    clock = Clock()
    limiter = await connect(None, nothing, window=2, clock=clock)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        name = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        try:
            grant = await limiter.admit(keys[name], 10)
        except ApiError as error:
            clock.now += int(error.headers.get("retry-after", 0)) * SECOND
            await send_json(send, error.status, error.body, error.headers)
            return
        try:
            await send_json(send, 200, {"object": "list", "data": []}, grant.headers)
        finally:
            limiter.settle(grant, 10)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve([listener]))
    clients: list[AsyncOpenAI] = []

    def client(asking: Key) -> AsyncOpenAI:
        keys[asking.name] = asking
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        clients.append(AsyncOpenAI(api_key=asking.name, base_url=url))
        return clients[-1]

    yield client
    for one in clients:
        await one.close()
    server.should_exit = True
    await serving
    await limiter.close()


@pytest.mark.slow
@pytest.mark.parametrize("asking", [key(rpm=1), key(tpm=15)], ids=["rpm", "tpm"])
async def test_the_official_sdk_waits_as_told_and_its_own_retry_succeeds(
    ask: Callable[[Key], AsyncOpenAI], asking: Key
) -> None:
    client = ask(asking)
    first = await client.models.with_raw_response.list()
    assert first.retries_taken == 0
    start = time.monotonic()
    second = await client.models.with_raw_response.list()
    assert second.retries_taken == 1
    assert time.monotonic() - start > 1.9
    kind = "requests" if asking.limits.rpm else "tokens"
    assert first.headers[f"x-ratelimit-reset-{kind}"] == "2s"


@pytest.mark.parametrize(
    ("asking", "code"),
    [(key(monthly_tokens=9), "insufficient_quota"), (key(tpm=9), "rate_limit_exceeded")],
)
async def test_the_official_sdk_does_not_retry_what_cannot_succeed(
    ask: Callable[[Key], AsyncOpenAI], asking: Key, code: str
) -> None:
    with pytest.raises(RateLimitError) as caught:
        await ask(asking).models.list()
    assert caught.value.code == code
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


async def test_a_failure_of_the_work_for_redis_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PROBE", 0.01)
    tasks = Tasks()
    limiter = await connect(f"redis://127.0.0.1:{free_port()}", nothing, tasks=tasks)

    async def fail(_: shared.Shared) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(shared.Shared, "_revive", fail)
    await async_until(lambda: tasks.failing == ["limits"])
    await limiter.close()
