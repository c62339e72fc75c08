"""A worker process with a limiter of its own, for tests of several.

    python -m tests.gateway.limits_worker REDIS_URL LIMITS REQUESTS RESERVE USE LEASE PATIENCE

It says `ready`, waits for a line, sends REQUESTS at once (0: one that runs until it is killed),
each reserving RESERVE tokens and settling USE, and prints what came of it as JSON.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime

import uvloop

from gateway.access.keys import Key, Limits
from gateway.access.limits import shared
from gateway.access.limits.grant import LimitReached
from gateway.access.limits.limiter import Limiter, connect


async def nothing(key_id: str) -> int:
    return 0


async def main() -> None:
    url, limits, requests, reserve, use, lease, patience = sys.argv[1:]
    shared.PATIENCE = float(patience)
    key = Key("shared", "ci", "team", datetime.now(UTC), limits=Limits(**json.loads(limits)))
    limiter = await connect(url, nothing, lease=float(lease))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if requests == "0":
        await hold(limiter, key, int(reserve))
    results = await asyncio.gather(
        *(ask(limiter, key, int(reserve), int(use)) for _ in range(int(requests)))
    )
    print(json.dumps({"admitted": sum(results), "alone": limiter.local_decisions}), flush=True)
    await limiter.close()


async def hold(limiter: Limiter, key: Key, reserve: int) -> None:
    try:
        await limiter.admit(key, reserve)
        print("holding", flush=True)
    except LimitReached:
        print("refused", flush=True)
    await asyncio.Event().wait()


async def ask(limiter: Limiter, key: Key, reserve: int, use: int) -> bool:
    try:
        grant = await limiter.admit(key, reserve)
    except LimitReached:
        return False
    await asyncio.sleep(0.001)
    limiter.settle(grant, use)
    return True


if __name__ == "__main__":
    uvloop.run(main())
