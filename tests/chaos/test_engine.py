"""The real engine, llama.cpp with the small model: killed, hung, and out of memory."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.chaos.conftest import bad_day, new_key
from tests.chaos.load import Target
from tests.chaos.report import Report, rounds
from tests.end_to_end.running import Askdocs, up

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))
# The model is slow beside a load of its own: few clients, and votes that do not need it.
CLIENTS = {"streams": 2, "readers": 1, "votes": 1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, wiki: Path) -> Iterator[tuple[Askdocs, Target]]:
    """`askdocs up` as a first user has it."""
    home = tmp_path_factory.mktemp("alone") / "home"
    with up(home, wiki, seconds=600, up_prefill="false", widget_asks_per_minute="10000") as askdocs:
        database = f"sqlite:///{home / 'askdocs.db'}"
        key, key_id = new_key(database)
        parts = askdocs.started["parts"]
        yield (
            askdocs,
            Target(parts["gateway"]["url"], parts["widget"]["url"], key, key_id, database),
        )


async def engine_of(askdocs: Askdocs) -> psutil.Process:
    status = await asyncio.to_thread(askdocs.status)
    return psutil.Process(status["parts"]["engine"]["pid"])


def overfeed(askdocs: Askdocs, engine: psutil.Process) -> None:
    """Let the engine read texts of 20 MB until it is dead."""
    url = json.loads((askdocs.home / "running.json").read_text())["engine_url"]
    body = {"content": "word " * 4_000_000}
    deadline = time.monotonic() + 90
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the engine has got more memory than it may"
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{url.removesuffix('/v1')}/tokenize", json=body, timeout=30)


@each_round
async def test_a_killed_engine_loses_nothing(
    alone: tuple[Askdocs, Target], days: Report, number: int
) -> None:
    askdocs, target = alone
    async with bad_day(days, "kill -9 of the engine", target, **CLIENTS) as day:
        engine = await engine_of(askdocs)
        day.begins()
        engine.send_signal(signal.SIGKILL)
        await asyncio.sleep(1)


@each_round
async def test_an_engine_that_hangs_loses_nothing(
    alone: tuple[Askdocs, Target], days: Report, number: int
) -> None:
    """It lives and keeps its connections, and does nothing any more."""
    askdocs, target = alone
    async with bad_day(days, "engine hangs", target, **CLIENTS) as day:
        engine = await engine_of(askdocs)
        day.begins()
        engine.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(engine.wait, 60)


@contextmanager
def memory_limit(process: psutil.Process, megabytes: int) -> Iterator[None]:
    """Let the kernel kill that process as soon as it wants more memory than that."""
    first = Path("/sys/fs/cgroup/memory")  # version 1 of control groups, else version 2
    where, file = (
        (first, "memory.limit_in_bytes")
        if first.is_dir()
        else (Path("/sys/fs/cgroup"), "memory.max")
    )
    group = where / f"askdocs-chaos-{process.pid}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"run it as root: it makes a control group ({error.strerror})")
    try:
        if not (group / file).exists():
            pytest.skip(f"run it where {where} has the memory controller")
        (group / file).write_text(str(megabytes * 2**20))
        (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        deadline = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        with contextlib.suppress(OSError):  # it lives: the test has failed for that
            group.rmdir()


@each_round
async def test_an_engine_out_of_memory_loses_nothing(
    alone: tuple[Askdocs, Target], days: Report, number: int
) -> None:
    """Something huge comes, and the kernel takes the process that wants more than there is."""
    askdocs, target = alone
    async with bad_day(days, "engine out of memory", target, **CLIENTS) as day:
        # Once after the other: what watches the engine must watch the new one, too.
        for _ in range(2):
            engine = await engine_of(askdocs)
            with memory_limit(engine, 32):
                day.begins()
                await asyncio.to_thread(overfeed, askdocs, engine)
            await day.load.settled(2)
