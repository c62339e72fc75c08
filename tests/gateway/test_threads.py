"""What hangs holds up its own kind alone."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from core import threads
from tests import starting
from tests.gateway.postgres import Postgres

ACCEPT = "application/json, text/event-stream"


@pytest.mark.slow
async def test_searches_go_on_while_postgresql_hangs(
    tmp_path: Path, wiki: Path, engine_url: str, postgres: Postgres
) -> None:
    settings = {
        "gateway_engine_url": engine_url,
        "gateway_engine_model": "small",
        "gateway_docs": str(wiki),
        "database_url": postgres.database(),
    }
    headers = {"authorization": f"Bearer {starting.KEY}", "accept": ACCEPT}
    call = {"name": "search_docs", "arguments": {"query": "Where is the coffee machine?"}}
    search = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    vote = {"alias": "docs", "model": "base", "vote": "up"}
    with starting.gateway(tmp_path, **settings) as gateway:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=gateway.root, headers=headers, timeout=60, limits=limits, trust_env=False
        ) as http:
            first = await http.post("/mcp", json=search)
            assert "floor 3" in first.text
            assert (await http.post("/askdocs/vote", json=vote)).status_code == 200
            with hanging(postgres):
                # More than there are threads, by far.
                votes = [
                    asyncio.create_task(http.post("/askdocs/vote", json=vote)) for _ in range(60)
                ]
                await asyncio.sleep(0.5)
                assert sum(not vote.done() for vote in votes) > 30
                searches = [asyncio.create_task(http.post("/mcp", json=search)) for _ in range(10)]
                ready = await http.get("/ready")
                answers = await asyncio.gather(*searches)
                assert all("floor 3" in answer.text for answer in answers)
                assert ready.json() == {"status": "waiting", "for": "database"}
            counted = [answer.status_code for answer in await asyncio.gather(*votes)]
            assert set(counted) <= {200, 503}


@contextmanager
def hanging(postgres: Postgres) -> Iterator[None]:
    """It keeps its connections, and does nothing any more."""
    first, *_ = postgres.processes()
    first.suspend()  # before its children are listed: from here on it starts none and reaps none
    family = [first]
    try:
        for child in first.children(recursive=True):
            child.suspend()
            family.append(child)
        yield
    finally:
        for process in family:
            process.resume()


async def test_calls_above_the_size_of_a_pool_wait_for_their_turn() -> None:
    pool = threads.Pool("few", 2)
    running = most = 0

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        event.wait(60)
        running -= 1
        return number

    event = threading.Event()
    calls = [asyncio.create_task(pool(work, number)) for number in range(5)]
    await asyncio.sleep(0.1)
    event.set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert most == 2
