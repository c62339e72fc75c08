"""Slow and half-open: what does not answer, and has not gone either."""

import asyncio

import pytest

from tests.chaos.conftest import Team, bad_day, failures
from tests.chaos.report import Report, rounds

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

each_round = pytest.mark.parametrize("number", range(rounds()))
HALF = 20.0  # seconds; longer than the database has for an answer, and silence is taken for death


@each_round
async def test_a_slow_engine_fails_no_request(team: Team, days: Report, number: int) -> None:
    name = "engine 50 times slower for 10 s"
    async with bad_day(days, name, team.target) as day:
        day.begins()
        await asyncio.to_thread(team.upstream.control, wait=1.0, pause=0.5)
        await asyncio.sleep(10)
        await asyncio.to_thread(team.upstream.control, wait=0.02, pause=0.02)
    assert failures(days, name) == {}


@each_round
async def test_a_half_open_way_to_the_engine_heals(team: Team, days: Report, number: int) -> None:
    name = f"half-open connections to the engine for {HALF:.0f} s"
    async with bad_day(days, name, team.target) as day:
        day.begins()
        team.to_upstream.freeze()
        await asyncio.sleep(HALF)
        team.to_upstream.thaw()


@each_round
async def test_a_half_open_way_to_postgresql_heals(team: Team, days: Report, number: int) -> None:
    name = f"half-open connections to PostgreSQL for {HALF:.0f} s"
    async with bad_day(days, name, team.target) as day:
        day.begins()
        team.to_postgres.freeze()
        await asyncio.sleep(HALF)
        team.to_postgres.thaw()


@each_round
async def test_a_half_open_way_to_redis_fails_no_request(
    team: Team, days: Report, number: int
) -> None:
    name = f"half-open connections to Redis for {HALF:.0f} s"
    async with bad_day(days, name, team.target) as day:
        day.begins()
        team.to_redis.freeze()
        await asyncio.sleep(HALF)
        team.to_redis.thaw()
    assert failures(days, name) == {}
