"""Many readers at one widget process: how late do words reach them, and what does that cost?

    python research/timings/streams.py --readers 200 --seconds 20

A stand-in for the gateway sends ten words a second to each reader, each word the time at which it
was sent. Printed is how old the newest word is when it arrives (the widget collects what comes
within a tenth of a second), how many streams failed, and CPU and memory of the widget.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from askdocs.supervision.checks import free_port

PAUSE = 0.1  # seconds between two words


def gateway(seconds: float) -> Starlette:
    """Sends the time as words, for so long."""

    async def words() -> AsyncIterator[bytes]:
        for _ in range(round(seconds / PAUSE)):
            delta = {"content": f"{time.time():.3f} "}
            yield b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"
            await asyncio.sleep(PAUSE)
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        yield b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n"

    async def complete(request: Request) -> Response:
        await request.body()
        return StreamingResponse(words(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


async def reader(client: httpx.AsyncClient, ages: list[float]) -> bool:
    """Ask and read; whether the answer came to its end."""
    token = (await client.post("/token")).json()["token"]
    form = {"question": "How?", "token": token}
    asked = await client.post("/asks", data=form, headers={"hx-request": "true"})
    id = re.findall(r"asks/([\w-]+)/events", asked.text)[0]
    done = False
    async with client.stream("GET", f"/asks/{id}/events") as response:
        async for line in response.aiter_lines():
            done = done or line == "event: done"
            if not done and (found := re.findall(r"(\d+\.\d{3})", line)):
                ages.append(time.time() - float(found[-1]))
    return done


async def measure(readers: int, seconds: float, box: str, widget: psutil.Process) -> None:
    """Print what happens."""
    ages: list[float] = []
    before = sum(widget.cpu_times()[:2])
    # Shorter than the server's five seconds, else it may hang up as the next request goes out.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1)
    async with httpx.AsyncClient(base_url=box, timeout=60, limits=limits) as client:
        began = time.monotonic()
        ended = await asyncio.gather(*(reader(client, ages) for _ in range(readers)))
        took = time.monotonic() - began
    cpu = sum(widget.cpu_times()[:2]) - before
    ages.sort()
    print(f"readers {readers}, whole answers {sum(ended)}, {took:.1f} s for {seconds:g} s of words")
    print(
        f"age of the newest word: p50 {statistics.median(ages) * 1000:.0f} ms,"
        f" p99 {ages[int(len(ages) * 0.99)] * 1000:.0f} ms ({len(ages):,} renderings)"
    )
    print(f"widget: {cpu / took:.2f} cores, {widget.memory_info().rss / 2**20:.0f} MiB")


async def run(options: argparse.Namespace, port: int, widget: psutil.Process, box: str) -> None:
    """Serve the stand-in and measure."""
    server = uvicorn.Server(uvicorn.Config(gateway(options.seconds), port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            await asyncio.sleep(0.1)
            with suppress(httpx.HTTPError):
                if (await client.get(f"{box}/health")).status_code == 200:
                    break
    await measure(options.readers, options.seconds, box, widget)
    server.should_exit = True
    await serving


def main() -> None:
    """Start the widget, measure, stop it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    ports = free_port(), free_port()
    env = {
        **os.environ,
        "ASKDOCS_WIDGET_PORT": str(ports[1]),
        "ASKDOCS_WIDGET_GATEWAY_URL": f"http://127.0.0.1:{ports[0]}/v1",
        "ASKDOCS_WIDGET_ASKS_PER_MINUTE": "10000",
    }
    command = [sys.executable, "-m", "widget"]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as widget:
        box = f"http://127.0.0.1:{ports[1]}"
        try:
            asyncio.run(run(options, ports[0], psutil.Process(widget.pid), box))
        finally:
            widget.terminate()


if __name__ == "__main__":
    main()
