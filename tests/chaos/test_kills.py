"""kill -9 under load: of each process in turn."""

import asyncio
import signal

import psutil
import pytest

from tests.chaos.conftest import Team, bad_day
from tests.chaos.report import Report, rounds

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))


@each_round
async def test_a_killed_gateway_worker_loses_nothing(team: Team, days: Report, number: int) -> None:
    async with bad_day(days, "kill -9 of a gateway worker", team.target) as day:
        victim = (await asyncio.to_thread(team.workers))[0]
        day.begins()
        victim.kill()
        await asyncio.sleep(1)


@each_round
async def test_a_killed_gateway_loses_nothing(team: Team, days: Report, number: int) -> None:
    """The process above the workers, and the workers with it."""
    async with bad_day(days, "kill -9 of the whole gateway", team.target) as day:
        pid = await asyncio.to_thread(team.pid, "gateway")
        workers = await asyncio.to_thread(team.workers)
        day.begins()
        psutil.Process(pid).send_signal(signal.SIGKILL)
        for worker in workers:
            worker.kill()
        await asyncio.sleep(1)


@each_round
async def test_a_killed_widget_loses_nothing(team: Team, days: Report, number: int) -> None:
    async with bad_day(days, "kill -9 of the widget", team.target, readers=4) as day:
        pid = await asyncio.to_thread(team.pid, "widget")
        day.begins()
        psutil.Process(pid).kill()
        await asyncio.sleep(1)


@each_round
async def test_a_killed_postgresql_loses_nothing(team: Team, days: Report, number: int) -> None:
    async with bad_day(days, "kill -9 of PostgreSQL, back after 8 s", team.target) as day:
        day.begins()
        await asyncio.to_thread(team.postgres.kill)
        await asyncio.sleep(8)
        await asyncio.to_thread(team.postgres.start)


@each_round
async def test_a_killed_redis_loses_nothing(team: Team, days: Report, number: int) -> None:
    async with bad_day(days, "kill -9 of Redis, back after 5 s", team.target) as day:
        day.begins()
        team.redis.kill()
        await asyncio.sleep(5)
        await asyncio.to_thread(team.redis.start)
