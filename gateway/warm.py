"""Lets the engine read the wiki's pages ahead of questions, so that it need not read them then.

An engine keeps what it has read of a prompt's beginning. A page that was read once costs the second
question 2 to 12 % of the first one's time. Warming stands back for every real request.
"""

import asyncio
from collections.abc import Sequence

import httpx

from gateway.chat import say
from gateway.engine import Engine
from gateway.grounding import prompt
from gateway.grounding.excerpt import Excerpt
from gateway.grounding.ground import Grounding
from gateway.traffic import Traffic
from gateway.wiki.page import Page

# As many tokens of pages as the engine's cache surely holds: 2 GiB at 23 KB a token (a 135M model)
# are 90,000; a larger model has its own cache, whose size is not ours to know.
MOST_TOKENS = 60_000


async def warm(engine: Engine, grounding: Grounding, traffic: Traffic, budget: int) -> None:
    """Read the pages that fit `budget` whole, shortest path first, until `MOST_TOKENS`."""
    read = tokens = 0
    pages = sorted(grounding.index.pages(), key=lambda page: (page.path.count("/"), page.path))
    for page in pages:
        try:
            cost = sum(await grounding.counts(page))
            if cost > budget or tokens + cost > MOST_TOKENS:
                continue
            await _read(engine, page, cost, traffic)
        except httpx.HTTPError:
            return  # the engine is away; questions say so, and nobody waits for this
        read += 1
        tokens += cost
    if read:
        say(f"{read} of {len(pages)} pages are warm: first questions about them are fast")


async def _read(engine: Engine, page: Page, tokens: int, traffic: Traffic) -> None:
    excerpts: Sequence[Excerpt] = [Excerpt(page, page.sections, tokens)]
    messages = prompt.render(excerpts, "?")
    while True:
        await traffic.until_idle()
        reading = asyncio.ensure_future(engine.read(messages))
        busy = asyncio.ensure_future(traffic.until_busy())
        try:
            await asyncio.wait({reading, busy}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                return
        finally:
            for task in (reading, busy):
                task.cancel()
            await asyncio.gather(reading, busy, return_exceptions=True)
