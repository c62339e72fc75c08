"""Prefills wiki pages in the engine ahead of questions.

Engines cache the beginning of prompts. Once a page has been prefilled, another question about it
takes 2 to 12 % of the first one's time. Popular pages, which most answers use, come first; changed
pages are prefilled again. Prefilling gives way to every real request.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import httpx
import orjson

from core import threads
from core.errors import AskdocsError
from core.tasks import Traffic
from gateway.answering.chat import say
from gateway.answering.grounding import prompt
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.ground import Grounding
from gateway.upstream.engine import Engine, PrefixCache, PromptRead
from gateway.upstream.prefill.popularity import PagePopularity
from gateway.upstream.prefill.snapshots import Snapshots
from wiki.pages.page import Page

log = logging.getLogger("askdocs.gateway")

# A number of tokens that the engine's cache holds for certain: 2 GiB at 23 KB per token (a 135M
# model) are 90,000; larger models have their own cache, of unknown size.
MOST_TOKENS = 60_000
# In larger wikis, only popular pages are prefilled: others are unlikely to be asked about next.
SMALL_WIKI = 1000
HOT = 500  # pages; some 60,000 tokens of short ones
LOOK = 2.0  # seconds between checks for a changed wiki or engine
# The cached share above which a page counts as known: the template's end and the question differ.
KNOWN = 0.9

How = Literal["read", "restored", "warm", "too large"]
"""What was done about a page. `warm`: the engine had it; `restored`: from disk; `too large`: for
the budget, so that the question decides which of its sections are read."""


class Warmer:
    """Prefills the pages of one wiki in one engine. Use one per process."""

    def __init__(
        self,
        grounding: Grounding,
        traffic: Traffic,
        popularity: PagePopularity,
        engine: Callable[[], Awaitable[Engine | None]],
        budget: int,
        snapshots: Callable[[Engine], Snapshots | None],
        instructions: Callable[[], str],
    ) -> None:
        """`engine` finds the engine that answers now; `budget` is the token budget for pages in a
        prompt.

        `grounding` is updated with the prefilled pages. `snapshots` finds the snapshots of an
        engine, as those of another model must not be used. `instructions` returns the current text
        before the pages, see `prompt.render`.
        """
        self._grounding = grounding
        self._index = grounding.index
        self._traffic = traffic
        self._popularity = popularity
        self._find = engine
        self._budget = budget
        self._snapshots = snapshots
        self._turn = asyncio.Lock()
        self._engine: Engine | None = None
        self._seen: PrefixCache | None = None
        self._instructions = instructions
        self._warmed_instructions = ""

    async def run(self) -> None:
        """Prefill popular pages, then changed ones, and everything again in a new engine; runs
        forever."""
        done: int | None = None
        while True:
            try:
                engine = await self._find()
                if engine is not None:
                    if await self.look_at(engine):
                        done = None
                    generation = await threads.search(lambda: self._index.generation)
                    if generation != done:
                        await self.prefill(engine)
                        done = generation
            except (httpx.HTTPError, AskdocsError):
                pass  # the engine is unavailable; questions report that, and nothing waits for this
            await asyncio.sleep(LOOK)

    async def order(self) -> list[Page]:
        """The pages in prefill order: most popular first, then by depth."""
        urls = await self._popularity.hottest(HOT)
        return await threads.search(self._order, urls)

    async def look_at(self, engine: Engine) -> bool:
        """Is it a different or restarted engine, or are the instructions different?

        Then no page is prefilled.
        """
        seen, before = await engine.prefix_cache(), self._seen
        if seen is not None:
            self._seen = seen
        instructions = self._instructions()
        changed = engine is not self._engine or instructions != self._warmed_instructions
        self._engine, self._warmed_instructions = engine, instructions
        # Its counts only grow, unless it has restarted.
        if seen is not None and before is not None and seen.asked < before.asked:
            changed = True
        if changed:
            self._grounding.warm.clear()
        return changed

    async def prefill(self, engine: Engine) -> dict[str, How]:
        """Prefill the pages in order, up to `MOST_TOKENS`; returns what was done, by path.

        Raises httpx.HTTPError: the engine is unavailable.
        """
        done: dict[str, How] = {}
        tokens, asked = 0, False
        for page in await self.order():
            cost = sum(await self._grounding.counts(page))
            if cost > self._budget:
                done[page.path] = "too large"
                continue
            if tokens + cost > MOST_TOKENS:
                break  # it would evict the pages prefilled first
            tokens += cost
            done[page.path] = "warm"
            if await threads.search(self._index.number, page) not in self._grounding.warm:
                done[page.path] = await self._warm_page(engine, page, cost)
                asked = True
        if asked:  # also where the engine had all pages from questions before
            warm = sum(how != "too large" for how in done.values())
            say(
                f"{warm} of {self._index.size} pages prefilled: first questions about them are fast"
            )
        return done

    def _order(self, urls: Sequence[str]) -> list[Page]:
        with self._index.snapshot():
            hot = [page for url in urls if (page := self._index.by_url(url))]
            if self._index.size > SMALL_WIKI:
                return hot
            rest = sorted(self._index.pages(), key=lambda page: (page.path.count("/"), page.path))
        known = {page.url for page in hot}
        return hot + [page for page in rest if page.url not in known]

    async def _warm_page(self, engine: Engine, page: Page, tokens: int) -> How:
        excerpts: Sequence[Excerpt] = [Excerpt(page, page.sections, tokens)]
        messages = prompt.render(excerpts, "?", instructions=self._warmed_instructions)
        number = await threads.search(self._index.number, page)
        async with self._turn:
            await self._traffic.until_idle()
            snapshots = await self._snapshots_of(engine)
            key = hashlib.sha256(orjson.dumps(messages)).hexdigest()[:32]
            restored = (
                snapshots is not None
                and number not in self._grounding.warm
                and key in snapshots
                and await _restore(engine, snapshots, key)
            )
            read = await self._read(engine, messages)
            if number is not None:
                self._grounding.warm.add(number)
            known = read.cached >= KNOWN * read.tokens
            if snapshots is not None and (key not in snapshots or (restored and not known)):
                await _save(engine, snapshots, key, read.tokens)
            if not known:
                return "read"
            return "restored" if restored else "warm"

    async def _snapshots_of(self, engine: Engine) -> Snapshots | None:
        """This engine's snapshots on disk; None for engines other than our own llama.cpp."""
        snapshots = self._snapshots(engine)
        return snapshots if snapshots and await engine.kind() == "llama.cpp" else None

    async def _read(self, engine: Engine, messages: list[prompt.Message]) -> PromptRead:
        while True:
            await self._traffic.until_idle()
            reading = asyncio.ensure_future(engine.read(messages))
            busy = asyncio.ensure_future(self._traffic.until_busy())
            try:
                await asyncio.wait({reading, busy}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    return reading.result()
            finally:
                for task in (reading, busy):
                    task.cancel()
                await asyncio.gather(reading, busy, return_exceptions=True)


async def _restore(engine: Engine, snapshots: Snapshots, key: str) -> bool:
    """Let the engine restore the snapshot of a prompt. Raises httpx.HTTPError: it is
    unavailable."""
    if not await threads.files(snapshots.is_whole, key):
        return False
    slots = await engine.slots()
    if len(slots) < 2:
        return False
    try:
        # When a task starts in a slot, the engine saves the other slots' content to its memory; the
        # last slot's content is nowhere else.
        await engine.restore(slots[0].id, snapshots.name(key))
    except httpx.HTTPStatusError as error:
        snapshots.drop(key, error.response.text)
        return False
    return True


async def _save(engine: Engine, snapshots: Snapshots, key: str, tokens: int) -> None:
    """Let the engine save a snapshot of the last prompt. Raises httpx.HTTPError: it is
    unavailable."""
    try:
        slot = (await engine.slots())[-1]
        # A question in between has replaced the slot's content, which must not be saved.
        if slot.tokens == tokens and await engine.save(slot.id, snapshots.part(key)) == tokens:
            await threads.files(snapshots.settle, key)
        else:
            snapshots.discard(key)
    except (httpx.HTTPStatusError, OSError) as error:
        log.warning("no KV cache snapshot of a page: %s", error)
        snapshots.discard(key)
