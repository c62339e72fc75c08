"""Limits of keys, counted in a real Redis: exact over processes, and what happens without it."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from gateway.access.keys import Key, Limits
from gateway.access.limits import shared
from gateway.access.limits.grant import Grant, LimitReached
from gateway.access.limits.limiter import Limiter, connect
from tests.gateway.redis_server import RedisServer, need_redis, redis
from tests.gateway.slow_redis import slowed
from tests.gateway.test_limits import MS, SOME, STEPS, TOKENS, Clock, edges, key, nothing
from tests.waiting import async_until

# Real servers, which take their time.
pytestmark = pytest.mark.slow

__all__ = ["redis"]

ROOT = Path(__file__).parents[2]
Connect = Callable[..., Awaitable[Limiter]]


LONG = 60.0  # seconds, of which no test takes half
SHORT = shared.PATIENCE


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets for how long Redis is waited for: at first longer than any machine is busy."""

    def set(seconds: float) -> None:
        monkeypatch.setattr(shared, "PATIENCE", seconds)
        monkeypatch.setattr(shared, "SILENCE", max(seconds, 1.0))

    set(LONG)
    return set


@pytest.fixture
async def limiters(redis: RedisServer) -> AsyncIterator[Connect]:
    """Makes limiters on the Redis of the test, and closes them."""
    made: list[Limiter] = []

    async def make(
        month: Callable[[str], Awaitable[int]] = nothing, url: str = redis.url, **options: float
    ) -> Limiter:
        made.append(await connect(url, month, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for limiter in made:
        await limiter.close()


async def admitted(limiter: Limiter, key: Key, tokens: int = 1) -> Grant | None:
    try:
        return await limiter.admit(key, tokens)
    except LimitReached:
        return None


# The same rules in Lua as in Python


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, rpm=SOME, tpm=TOKENS, max_parallel=SOME, monthly_tokens=st.none() | TOKENS)
@edges(monthly_tokens=None)
def test_redis_and_memory_decide_alike(
    redis: RedisServer,
    steps: list[tuple[str, int]],
    rpm: int | None,
    tpm: int | None,
    max_parallel: int | None,
    monthly_tokens: int | None,
) -> None:
    asking = key(rpm=rpm, tpm=tpm, max_parallel=max_parallel, monthly_tokens=monthly_tokens)
    with pytest.MonkeyPatch.context() as patch:
        # The script as it is, but for a clock that the test sets.
        for name in ("ADMIT", "SETTLE"):
            script = getattr(shared, name)
            timed = script.replace("redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)")
            patch.setattr(shared, name, timed)
        uvloop.run(compare(redis, asking, steps))


async def compare(redis: RedisServer, asking: Key, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    with redis.client() as client:
        client.flushall()
        memory = await connect(None, nothing, clock=clock)
        far = await connect(redis.url, nothing, lease=1e6)
        try:
            await take(steps, clock, client, memory, far, asking)
            assert far.local_decisions == 0
        finally:
            await far.close()
            await memory.close()


async def take(
    steps: list[tuple[str, int]],
    clock: Clock,
    client: Redis,
    memory: Limiter,
    far: Limiter,
    asking: Key,
) -> None:
    running: list[tuple[Grant, Grant]] = []
    for step, number in steps:
        if step == "pass":
            clock.now += number * MS
        elif step == "end" and running:
            one, other = running.pop(number % len(running))
            memory.settle(one, number)
            far.settle(other, number)
        elif step == "ask":
            client.delete("clock")
            client.rpush("clock", clock.now // 10**9, clock.now % 10**9 // 1000)
            results: list[Grant | LimitReached] = []
            for limiter in (memory, far):
                try:
                    results.append(await limiter.admit(asking, number))
                except LimitReached as error:
                    results.append(error)
            here, there = results
            assert type(here) is type(there)
            assert here.headers == there.headers
            if isinstance(here, Grant) and isinstance(there, Grant):
                running.append((here, there))
            else:
                assert str(here) == str(there)


# Several processes


class Worker:
    def __init__(
        self, url: str, limits: Limits, requests: int, reserve: int, use: int, lease: float
    ) -> None:
        words = (url, json.dumps(asdict(limits)), requests, reserve, use, lease, shared.PATIENCE)
        command = [sys.executable, "-W", "error", "-m", "tests.gateway.limits_worker"]
        self.process = subprocess.Popen(
            [*command, *map(str, words)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()


@contextmanager
def started(
    url: str,
    limits: Limits,
    number: int = 4,
    requests: int = 250,
    reserve: int = 1,
    use: int = 1,
    lease: float = 30,
) -> Iterator[list[Worker]]:
    """Workers that wait for `go`."""
    found = [Worker(url, limits, requests, reserve, use, lease) for _ in range(number)]
    try:
        yield found
    finally:
        for worker in found:
            worker.process.kill()
            worker.process.communicate()


@contextmanager
def workers(url: str, limits: Limits, number: int = 4, **given: Any) -> Iterator[list[Worker]]:
    """As `started`, and under way."""
    with started(url, limits, number, **given) as found:
        assert [worker.says() for worker in found] == ["ready"] * number
        for worker in found:
            worker.go()
        yield found


def results(found: list[Worker]) -> list[dict[str, int]]:
    answers = [json.loads(worker.says()) for worker in found]
    for worker in found:
        assert worker.process.wait(60) == 0
        assert worker.process.stderr is not None
        assert worker.process.stderr.read() == ""
    return answers


def test_four_workers_admit_exactly_60_of_1000_concurrent_requests(redis: RedisServer) -> None:
    with workers(redis.url, Limits(rpm=60)) as found:
        answers = results(found)
    assert sum(answer["admitted"] for answer in answers) == 60
    assert sum(answer["alone"] for answer in answers) == 0


@pytest.mark.slow
def test_four_workers_use_a_budget_of_tokens_to_its_last_reservation(redis: RedisServer) -> None:
    with workers(redis.url, Limits(tpm=10_000), requests=100, reserve=70, use=70) as found:
        answers = results(found)
    assert sum(answer["admitted"] for answer in answers) == 10_000 // 70


@pytest.mark.slow
def test_four_workers_never_run_more_than_max_parallel(redis: RedisServer) -> None:
    with (
        workers(redis.url, Limits(max_parallel=3), requests=0, number=5) as found,
        redis.client() as client,
    ):
        lines = sorted(worker.says() for worker in found)
        assert lines == ["holding", "holding", "holding", "refused", "refused"]
        assert client.zcard("askdocs:limits:shared:leases") == 3


@pytest.mark.slow
async def test_what_a_killed_worker_ran_comes_back_when_its_lease_ends(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters(lease=3)
    asking = Key("shared", "ci", "team", key().created, limits=Limits(max_parallel=1))
    with (
        workers(redis.url, asking.limits, 1, requests=0, lease=3) as (worker,),
        redis.client() as client,
    ):
        assert await asyncio.to_thread(worker.says) == "holding"

        def ends() -> float:
            ((_, moment),) = client.zrange("askdocs:limits:shared:leases", 0, -1, withscores=True)
            return float(moment)

        first = ends()
        await async_until(lambda: ends() > first)  # renewed while it lives
        worker.process.kill()
        assert await admitted(limiter, asking) is None
        while await admitted(limiter, asking) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


# One process


async def test_tokens_never_pass_the_limit_while_answers_end_smaller(limiters: Connect) -> None:
    limiter = await limiters()
    asking = key(tpm=10_000)
    running = ended = 0

    async def client() -> None:
        nonlocal running, ended
        while grant := await admitted(limiter, asking, 500):
            running += 500
            assert running + ended <= 10_000
            await asyncio.sleep(0.001)
            limiter.settle(grant, 90)
            running -= 500
            ended += 90

    await asyncio.gather(*(client() for _ in range(50)))
    while grant := await admitted(limiter, asking, 500):
        limiter.settle(grant, 90)
        ended += 90
    assert 9_500 < ended <= 10_000


async def test_tokens_pass_the_limit_by_no_more_than_what_was_underestimated(
    limiters: Connect,
) -> None:
    limiter = await limiters()
    asking = key(tpm=10_000)
    used = 0
    while grant := await admitted(limiter, asking, 100):
        limiter.settle(grant, 150)
        used += 150
    assert 9_900 < used <= 10_050


async def test_a_client_that_leaves_while_redis_decides_leaves_nothing_behind(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    asking = key(rpm=1000, tpm=1000, max_parallel=100, monthly_tokens=1000)
    limiter.settle(await limiter.admit(asking, 50), 0)  # from now on the month is known
    # Before it is sent, while Redis has it, when the reply has just come, and after.
    for wait in (*range(12), 0.0001, 0.0002, 0.0003, 0.0005, 0.001):
        task = asyncio.create_task(limiter.admit(asking, 50))
        if isinstance(wait, float):
            await asyncio.sleep(wait)
        for _ in range(wait if isinstance(wait, int) else 0):
            await asyncio.sleep(0)
        task.cancel()
        for result in await asyncio.gather(task, return_exceptions=True):
            if isinstance(result, Grant):
                limiter.settle(result, 0)
    await asyncio.sleep(0.05)
    grant = await limiter.admit(asking, 0)
    assert (grant.counts.tokens, grant.counts.parallel, grant.counts.month) == (0, 1, 0)


async def test_the_month_is_read_once_for_all_workers(limiters: Connect) -> None:
    asked = 0

    async def read(key_id: str) -> int:
        nonlocal asked
        asked += 1
        return 700

    first, second = await limiters(read), await limiters(read)
    asking = key(monthly_tokens=1000)
    grant = await first.admit(asking, 200)
    assert await admitted(second, asking, 200) is None
    first.settle(grant, 100)
    await async_until(lambda: first._shared._sender.done())  # type: ignore[union-attr]
    assert (await second.admit(asking, 200)).counts.month == 1000
    assert asked == 1


async def test_concurrent_requests_share_a_month_that_nobody_knew(limiters: Connect) -> None:
    async def read(key_id: str) -> int:
        await asyncio.sleep(0.02)
        return 500

    both = [await limiters(read), await limiters(read)]
    asking = key(monthly_tokens=1000)
    grants = await asyncio.gather(*(admitted(both[n % 2], asking, 100) for n in range(40)))
    assert sum(grant is not None for grant in grants) == 5


async def test_a_month_that_redis_lost_is_read_again_and_settled_rightly(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    asking = key(monthly_tokens=1000)
    grant = await limiter.admit(asking, 300)
    with redis.client() as client:
        client.flushall()
    assert (await limiter.admit(asking, 10)).counts.month == 10
    limiter.settle(grant, 200)
    assert (await limiter.admit(asking, 0)).counts.month == 210


async def test_idle_keys_leave_nothing_in_redis(redis: RedisServer, limiters: Connect) -> None:
    limiter = await limiters(window=3, lease=3)
    for number in range(10):
        limiter.settle(await limiter.admit(key(str(number), rpm=9, tpm=9, max_parallel=9), 1), 1)
    await limiter.admit(key("killed", max_parallel=1), 1)
    limiter._shared._leases.clear()  # type: ignore[union-attr]
    with redis.client() as client:
        assert client.keys("askdocs:limits:id-*")
        await async_until(lambda: client.keys("askdocs:limits:id-*") == [])


async def test_a_key_without_limits_does_not_ask_redis(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    with redis.client() as client:
        before = commands(client)
        await limiter.admit(key(), 5)
        assert commands(client) == before + 1  # this INFO itself


def commands(client: Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])


async def test_scripts_that_redis_forgot_are_sent_again(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    asking = key(rpm=9, tpm=90, max_parallel=1)
    grant = await limiter.admit(asking, 9)
    with redis.client() as client:
        client.script_flush()
        limiter.settle(grant, 5)
        await async_until(lambda: client.zcard("askdocs:limits:id-ci:leases") == 0)
        client.script_flush()
    assert (await limiter.admit(asking, 9)).counts.tokens == 14
    assert limiter.local_decisions == 0


# Redis away


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_redis_that_is_away_holds_up_nobody_and_comes_back_by_itself(
    redis: RedisServer,
    limiters: Connect,
    patience: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    caplog.set_level(logging.INFO, "askdocs.gateway")
    limiter = await limiters()
    asking = key(rpm=100, tpm=10_000, max_parallel=100)
    shared_grant = await limiter.admit(asking, 10)
    patience(SHORT)  # 90 ms
    redis.freeze() if how == "frozen" else redis.kill()
    first = await asyncio.gather(*(admitted(limiter, asking, 10) for _ in range(50)))
    assert limiter.is_local
    later: list[Grant | None] = []
    for _ in range(60):
        asked = admitted(limiter, asking, 10)
        with pytest.raises(StopIteration) as ended:  # it ends at its first step, and waits for none
            asked.send(None)
        later.append(ended.value.value)
    # This worker's own 100: the limits hold, alone.
    local = [grant for grant in first + later if grant is not None]
    assert len(local) == 100
    assert limiter.local_decisions == 110
    limiter.settle(shared_grant, 5)

    patience(LONG)
    redis.thaw() if how == "frozen" else redis.start()
    await async_until(lambda: not limiter.is_local)
    for grant in local:
        limiter.settle(grant, 10)
    grant = await limiter.admit(asking, 10)
    assert grant.counts.requests < 100
    assert limiter.local_decisions == 110
    away, back = (record.getMessage() for record in caplog.records)
    assert away.startswith(f"Redis at 127.0.0.1:{redis.port} database 0 is unavailable (")
    assert back.endswith("is back: limits hold across all workers")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["out of memory", "read-only"],
)
async def test_a_redis_that_takes_no_writes_counts_as_away(
    redis: RedisServer, limiters: Connect, breaks: tuple[str, ...], mends: tuple[str, ...]
) -> None:
    limiter = await limiters()
    asking = key(rpm=100, tpm=100)
    with redis.client() as client:
        client.execute_command(*breaks)
        grant = await limiter.admit(asking, 1)
        assert limiter.is_local
        await asyncio.sleep(1.2)  # the probe does not take it for well
        assert limiter.is_local
        client.execute_command(*mends)
    await async_until(lambda: not limiter.is_local)
    limiter.settle(grant, 50)
    assert (await limiter.admit(asking, 1)).counts.tokens == 1


async def test_a_connection_that_redis_closes_is_made_again_at_once(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    asking = key(rpm=2)
    assert await admitted(limiter, asking) is not None
    with redis.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)  # until the loop sees that it is closed
    assert await admitted(limiter, asking) is not None
    assert await admitted(limiter, asking) is None
    assert limiter.local_decisions == 0


async def test_requests_that_run_keep_their_place_when_redis_restarts_empty(
    redis: RedisServer, limiters: Connect
) -> None:
    limiter = await limiters()
    asking = key(max_parallel=2)
    grants = [await limiter.admit(asking, 1), await limiter.admit(asking, 1)]
    redis.kill()
    await async_until(lambda: limiter.is_local)
    redis.start()
    await async_until(lambda: not limiter.is_local)
    assert await admitted(limiter, asking) is None
    limiter.settle(grants[0], 1)
    assert await admitted(limiter, asking) is not None


async def test_a_gateway_that_starts_without_its_redis_finds_it_later(
    tmp_path: Path, limiters: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    limiter = await limiters(url=server.url)
    assert limiter.is_local
    assert "is unavailable" in caplog.text
    assert await admitted(limiter, key(rpm=1)) is not None
    assert await admitted(limiter, key(rpm=1)) is None
    server.start()
    try:
        await async_until(lambda: not limiter.is_local)
        assert await admitted(limiter, key(rpm=1)) is not None
    finally:
        server.kill()


async def test_what_is_not_redis_counts_as_away(
    limiters: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port := free_port())
    async with server:
        limiter = await limiters(url=f"redis://127.0.0.1:{port}/0")
        assert limiter.is_local
        assert "is unavailable" in caplog.text


# Addresses


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://host:many/0"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(AskdocsError, match="is not a Redis address"):
        await connect(url, nothing)


@pytest.mark.parametrize("rest", "/#?[")
async def test_an_address_that_is_none_is_not_repeated(rest: str) -> None:
    with pytest.raises(AskdocsError, match="%2F") as caught:
        await connect(f"redis://:hunter2{rest}x@127.0.0.1:6379/0", nothing)
    assert "hunter2" not in str(caught.value)


async def test_password_and_database_are_taken_from_the_address_and_never_shown(
    tmp_path: Path, limiters: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    need_redis()
    server = RedisServer(tmp_path, "--requirepass", "s3:cret")
    server.start()
    try:
        place = f"127.0.0.1:{server.port}"
        limiter = await limiters(url=f"redis://:s3%3Acret@{place}/3")
        await limiter.admit(key(rpm=1), 1)
        assert not limiter.is_local
        for wrong in (f"redis://:wr0ng@{place}/0", f"redis://{place}/0"):
            with pytest.raises(AskdocsError, match="check user, password and database") as caught:
                await connect(wrong, nothing)
            assert "wr0ng" not in str(caught.value)
        with pytest.raises(AskdocsError, match="DB index"):
            await connect(f"redis://:s3%3Acret@{place}/999", nothing)
    finally:
        server.kill()
    await async_until(lambda: limiter.is_local)
    assert f"Redis at {place} database 3 is unavailable" in caplog.text
    assert "cret" not in caplog.text


async def test_redis_is_reached_through_a_unix_socket(tmp_path: Path, limiters: Connect) -> None:
    need_redis()
    server = RedisServer(tmp_path, "--unixsocket", "s")
    server.start()
    try:
        limiter = await limiters(url=f"unix://{tmp_path}/s?db=1")
        await limiter.admit(key(rpm=1), 1)
        assert await admitted(limiter, key(rpm=1)) is None
        assert limiter.local_decisions == 0
    finally:
        server.kill()


async def test_redis_is_reached_over_tls(tmp_path: Path, limiters: Connect) -> None:
    need_redis()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", "key.pem", "-out", "cert.pem")
    openssl = await asyncio.create_subprocess_exec(
        *command.split(), *names, *files, cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    assert await openssl.wait() == 0
    port = free_port()
    options = ("--tls-port", port, "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem")
    server = RedisServer(tmp_path, *map(str, options), "--tls-auth-clients", "no")
    server.start()
    try:
        url = f"rediss://127.0.0.1:{port}/0"
        limiter = await limiters(url=f"{url}?ssl_ca_certs={tmp_path}/cert.pem")
        await limiter.admit(key(rpm=1), 1)
        assert await admitted(limiter, key(rpm=1)) is None
        assert limiter.local_decisions == 0
        distrustful = await limiters(url=url)
        assert distrustful.is_local
    finally:
        server.kill()


# A share of the limits while Redis is unavailable


@pytest.mark.parametrize("how", ["frozen", "slow", "killed"])
async def test_workers_without_redis_together_admit_no_more_than_the_limit(
    redis: RedisServer, limiters: Connect, patience: Callable[[float], None], how: str
) -> None:
    workers = [await limiters(lease=3) for _ in range(4)]
    asking = key("shared", rpm=12, max_parallel=8)
    await async_until(lambda: all(one._shared.workers == 4 for one in workers))  # type: ignore[union-attr]
    patience(SHORT)
    if how == "frozen":
        redis.freeze()
    elif how == "killed":
        redis.kill()
    else:
        with redis.client() as client:
            client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
    grants = [await admitted(worker, asking) for worker in workers for _ in range(10)]
    given = [grant for grant in grants if grant is not None]
    assert len(given) == 8  # two at the same time of each
    for worker, grant in zip([one for one in workers for _ in range(2)], given, strict=True):
        worker.settle(grant, 1)
    grants = [await admitted(worker, asking) for worker in workers for _ in range(10)]
    assert sum(grant is not None for grant in grants) == 4  # one more of each: 12 in all
    if how == "frozen":
        redis.thaw()


async def test_processes_with_a_slow_redis_together_admit_no_more_than_the_limit(
    redis: RedisServer, patience: Callable[[float], None]
) -> None:
    """Each reply takes 250 ms from the start, so that no process ever counts in Redis."""
    patience(SHORT)
    async with slowed(redis.port, 0.25) as url:
        with started(url, Limits(rpm=60)) as found, redis.client() as client:
            ready = [await asyncio.to_thread(worker.says) for worker in found]
            assert ready == ["ready"] * 4
            # All have looked for Redis since the last of them has started.
            await async_until(lambda: client.zcard("askdocs:limits:workers") == 4, 30)
            await async_until(lambda: client.info("commandstats")["cmdstat_eval"]["calls"] > 20, 60)
            for worker in found:
                worker.go()
            answers = [json.loads(await asyncio.to_thread(worker.says)) for worker in found]
    assert [answer["alone"] for answer in answers] == [250] * 4
    assert sum(answer["admitted"] for answer in answers) == 60


async def test_a_redis_that_is_quick_again_is_taken_back(
    redis: RedisServer, limiters: Connect, patience: Callable[[float], None]
) -> None:
    patience(SHORT)
    async with slowed(redis.port, 0.25) as url:
        limiter = await limiters(url=url)
        assert limiter.is_local
    patience(LONG)
    async with slowed(redis.port, 0, int(url.rpartition(":")[2].partition("/")[0])):
        await async_until(lambda: not limiter.is_local)
        assert await admitted(limiter, key(rpm=1)) is not None
        assert await admitted(limiter, key(rpm=1)) is None


async def test_a_request_within_the_limit_is_not_too_large_for_a_share(
    redis: RedisServer, limiters: Connect, patience: Callable[[float], None]
) -> None:
    worker = await limiters(workers=4)
    patience(SHORT)
    redis.freeze()
    asking = key("large", tpm=1000)
    assert await admitted(worker, asking, 900) is not None
    assert await admitted(worker, asking, 900) is None
    redis.thaw()
