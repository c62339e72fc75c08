"""Distinguishes a hung engine from a busy one.

A busy engine may be silent, too: while a dozen requests wait for llama.cpp's model, it does not
answer /health. But its threads then run, or wait for a core; a hung engine's threads do neither.
Measured with the small model while two other engines used both cores: at a niceness of 19, prefill
ran for 0.05 s of each second and waited for a core for longer; a stopped engine did 0.0000 s of
either.
"""

import asyncio
import re
import time
from pathlib import Path

import httpx
import psutil

LOOK = 3.0  # seconds between two checks
PATIENCE = 2.0  # seconds that a check waits for the answer; the request itself stays pending
STILL = 15.0  # seconds without an answer and without work
SILENT = 600.0  # seconds without an answer, working or not: the gateway's own limit
LEAST = 0.01  # share of the time that counts as work
_WORKING = re.compile(
    r"^(?:llamacpp:requests_(?:processing|deferred)|vllm:num_requests_(?:running|waiting))"
    r"(?:\{.*\})? (\S+)$",
    re.MULTILINE,
)
_DONE = re.compile(
    r"^(?:llamacpp:n_decode_total|vllm:(?:prompt|generation)_tokens_total)(?:\{.*\})? \S+$",
    re.MULTILINE,
)


async def hung(url: str, pid: int) -> str:
    """Return a description once the engine at `url`, whose process is `pid`, hangs.

    It hangs if it does not answer or makes no progress, and its processes are idle for STILL
    seconds; or, working or not, after SILENT seconds.
    """
    now = heard = moved = time.monotonic()
    done: str | None = ""
    worked: dict[str, int] = {}
    asking: asyncio.Task[str | None] | None = None
    async with httpx.AsyncClient(timeout=SILENT, trust_env=False) as http:
        try:
            while True:
                await asyncio.sleep(LOOK)
                asking = asking or asyncio.create_task(_ask(http, url.removesuffix("/v1")))
                answered, _ = await asyncio.wait({asking}, timeout=PATIENCE)
                last, now = now, time.monotonic()
                if answered:
                    before, done = done, asking.result()
                    asking = None
                    if done is not None and (not done or done != before):
                        heard, worked = now, {}
                        continue
                was, worked = worked, _worked(pid)
                grown = sum(max(0, ns - was.get(thread, 0)) for thread, ns in worked.items())
                if not was or grown > LEAST * (now - last) * 1e9:
                    moved = now
                if now - moved >= STILL:
                    return f"no answer and no activity for {now - moved:.0f} s"
                if now - heard >= SILENT:
                    return f"no answer for {now - heard:.0f} s"
        finally:
            if asking:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)


async def _ask(http: httpx.AsyncClient, root: str) -> str | None:
    """Progress counters if requests are pending; empty: none pending; None: no answer."""
    try:
        health = await http.get(f"{root}/health")
        if health.status_code >= 500:
            return None
        metrics = (await http.get(f"{root}/metrics")).text
    except httpx.HTTPError:
        return None
    return "\n".join(_DONE.findall(metrics)) if has_work(metrics) else ""


def has_work(metrics: str) -> bool:
    """Do these metrics show unfinished requests?"""
    return any(float(value) for value in _WORKING.findall(metrics))


def _worked(pid: int) -> dict[str, int]:
    """Nanoseconds that each thread of a process and its descendants ran or waited for a core. Empty
    if the kernel does not report it.

    https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
    """
    worked = {}
    try:
        pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return {}
    for process in pids:
        for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
            try:
                ran, waited, _ = file.read_text().split()
            except OSError:  # it just ended
                continue
            worked[file.parent.name] = int(ran) + int(waited)
    return worked
