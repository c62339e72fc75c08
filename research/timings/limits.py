"""What limits cost: an admission and its settlement, for a key with rpm, tpm and max_parallel.

    python -m research.timings.limits

Prints a table. Starts a redis-server of its own; memory is that of one key at its busiest.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from gateway.access.keys import Key, Limits
from gateway.access.limits.limiter import Limiter, connect
from tests.gateway.redis_server import RedisServer

LIMITS = Limits(rpm=10**9, tpm=10**12, max_parallel=10**6)
KEY = Key("bench", "bench", "team", datetime.now(UTC), limits=LIMITS)
ROUNDS = 5


async def nothing(key_id: str) -> int:
    return 0


async def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print("| counted in | at once | admit + settle a second | µs of CPU here | p50, µs | p99, µs |")
    print("|---|---|---|---|---|---|")
    memory = await connect(None, nothing)
    await row("memory", memory, 1, 100_000)
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            shared = await connect(server.url, nothing)
            for clients in (1, 16, 64, 500):
                await row("Redis", shared, clients, 20_000)
            assert shared.local_decisions == 0
            with server.client() as client:
                for _ in range(62):  # until every bucket of the window is there
                    shared.settle(await shared.admit(KEY, 1000), 100)
                    await asyncio.sleep(1)
                held = sum(client.memory_usage(key) or 0 for key in client.keys("*bench*"))
                print(f"\nmemory in Redis of a key that is always busy: {held} bytes")
            await away(server, shared)
            await shared.close()
        finally:
            server.kill()


async def row(where: str, limiter: Limiter, clients: int, number: int) -> None:
    rates, costs, waits = [], [], []

    async def client() -> None:
        for _ in range(number // clients):
            start = time.perf_counter()
            grant = await limiter.admit(KEY, 1000)
            waits.append(time.perf_counter() - start)
            limiter.settle(grant, 100)

    for _ in range(ROUNDS):
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client() for _ in range(clients)))
        rates.append(number / (time.perf_counter() - start))
        costs.append((time.process_time() - cpu) / number * 1e6)
    cuts = statistics.quantiles(waits, n=100)
    print(
        f"| {where} | {clients} | {statistics.median(rates):,.0f} | {statistics.median(costs):.1f}"
        f" | {cuts[49] * 1e6:.1f} | {cuts[98] * 1e6:.1f} |",
        flush=True,
    )


async def away(server: RedisServer, limiter: Limiter) -> None:
    server.freeze()
    for which in ("first", "second"):
        start = time.perf_counter()
        await limiter.admit(KEY, 1000)
        print(f"Redis frozen, {which} request: {(time.perf_counter() - start) * 1000:.2f} ms")
    server.thaw()
    start = time.perf_counter()
    while limiter.is_local:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    print(f"back after {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    uvloop.run(main())
