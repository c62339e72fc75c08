"""Warming, against the real engine: its own counts of cached tokens are the proof."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from core.tasks import Traffic
from gateway.answering.grounding import prompt
from gateway.answering.grounding.ground import Grounding
from gateway.upstream.engine import Engine
from gateway.upstream.engines import llamacpp
from gateway.upstream.prefill.popularity import PagePopularity
from gateway.upstream.prefill.snapshots import Snapshots
from gateway.upstream.prefill.warmer import Warmer
from tests import starting
from tests.gateway.conftest import page
from wiki.index import index
from wiki.index.index import Index
from wiki.pages.page import Page

pytestmark = pytest.mark.slow

TEXT = "The {0} is on floor {1}. Ask at the desk of floor {1} for the key of the {0}. "
NAMES = ("kitchen", "printer", "garden", "archive")
QUESTION = "Where is the key?"


def wiki(*names: str, floor: int = 2) -> list[Page]:
    return [
        page(f"{name}.md", f"# {name}\n\n## Where?\n\n{TEXT.format(name, floor) * 8}\n")
        for name in names
    ]


@dataclass
class Warming:
    """A wiki in front of an engine."""

    file: Path
    engine: Engine
    heat: PagePopularity
    traffic: Traffic
    grounding: Grounding
    warmer: Warmer

    async def warm(self) -> dict[str, str]:
        """What is done about each page, in the order in which it is done."""
        await self.warmer.look_at(self.engine)
        return dict(await self.warmer.prefill(self.engine))

    async def cached(self, name: str) -> float:
        """The share of a question's prompt that the engine has read before."""
        one = self.grounding.index.by_path(f"{name}.md")
        assert one is not None
        grounds = await self.grounding.ground(f"{QUESTION} {name}", 600, one.url)
        assert [part.page.path for part in grounds.excerpts] == [one.path]
        read = await self.engine.read(
            prompt.render(grounds.excerpts, QUESTION, (), "Answer in English.")
        )
        return read.cached / read.tokens


Make = Callable[..., AbstractAsyncContextManager[Warming]]


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, shallow: Path) -> Path:
    return llamacpp.states_folder(tmp_path_factory.mktemp("states"), shallow)


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory, shallow: Path, states: Path) -> Iterator[str]:
    """A new engine, up in a second."""
    folder = tmp_path_factory.mktemp("engine")
    with starting.engine(folder, gguf=shallow, context=1024, states=states) as engine:
        yield engine.url


@pytest.fixture
def warming(tmp_path: Path, stored: sa.Engine) -> Make:
    @asynccontextmanager
    async def make(
        url: str, *pages: Page, kept: Path | None = None, told: Callable[[], str] = str
    ) -> AsyncIterator[Warming]:
        file = tmp_path / "index.db"
        index.build(file, pages)
        opened = Index(file)
        engine = Engine(url)

        async def find() -> Engine:
            return engine

        grounding, heat, traffic = (
            Grounding(opened, engine.counts),
            PagePopularity(stored),
            Traffic(),
        )
        keeping = Snapshots(kept) if kept else None
        warmer = Warmer(grounding, traffic, heat, find, 600, lambda _: keeping, told)
        try:
            yield Warming(file, engine, heat, traffic, grounding, warmer)
        finally:
            await engine.close()
            opened.close()

    return make


async def test_what_is_warmed_is_what_a_question_sends_hottest_page_first(
    url: str, warming: Make
) -> None:
    async with warming(url, *wiki("kitchen", "printer", "garden")) as it:
        printer = it.grounding.index.by_path("printer.md")
        assert printer is not None
        it.heat.stood_on([printer.url])
        done = await it.warm()
        assert list(done) == ["printer.md", "garden.md", "kitchen.md"]
        assert set(done.values()) == {"read"}
        # All but the question itself, the client's own instructions and the template's end.
        for name in ("kitchen", "printer", "garden"):
            assert await it.cached(name) > 0.8
        assert set((await it.warm()).values()) == {"warm"}
        before = await it.engine.prefix_cache()
        assert before is not None
        assert 0.3 < before.found / before.asked < 1


async def test_pages_that_the_engine_has_from_questions_are_reported_as_prefilled(
    url: str, warming: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    async with warming(url, *wiki("kitchen")) as it:
        await it.warm()
        capfd.readouterr()
        it.grounding.warm.clear()  # as after a start, when questions came before this
        assert await it.warm() == {"kitchen.md": "warm"}
        assert "1 of 1 pages prefilled" in "".join(capfd.readouterr())
        await it.warm()
        assert "prefilled" not in "".join(capfd.readouterr())


async def test_a_page_that_a_sync_has_changed_is_warmed_again(url: str, warming: Make) -> None:
    async with warming(url, *wiki("kitchen", "printer")) as it:
        running = asyncio.create_task(it.warmer.run())
        try:
            await until(it, "kitchen", "printer")
            index.build(it.file, [*wiki("kitchen"), *wiki("printer", floor=3), *wiki("garden")])
            await until(it, "printer", "garden")
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def until(it: Warming, *names: str) -> None:
    """Until the engine has read the pages as they are now; asking reads nothing of them."""
    async with asyncio.timeout(60):
        for name in names:
            one = it.grounding.index.by_path(f"{name}.md")
            assert one is not None
            while it.grounding.index.number(one) not in it.grounding.warm:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert await it.cached(name) > 0.8


async def test_pages_are_read_again_behind_other_instructions(url: str, warming: Make) -> None:
    told = "Answer for the people team."
    async with warming(url, *wiki("kitchen"), told=lambda: told) as it:
        assert await it.warm() == {"kitchen.md": "read"}
        assert await it.warm() == {"kitchen.md": "warm"}
        told = "Answer for everybody."
        assert await it.warm() == {"kitchen.md": "read"}


async def test_pages_are_warm_after_a_restart_of_the_engine_and_a_broken_file_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    shallow: Path,
    states: Path,
    warming: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = wiki(*NAMES)
    folder = tmp_path_factory.mktemp("engines")
    with starting.engine(folder, gguf=shallow, context=1024, states=states) as first:
        async with warming(first.url, *pages, kept=states) as it:
            assert set((await it.warm()).values()) == {"read"}
    kept = files(states)
    assert len(kept) == len(NAMES)
    damage(kept[0])  # in the middle of the values, where the engine itself would notice nothing
    with starting.engine(folder, gguf=shallow, context=1024, states=states) as second:
        async with warming(second.url, *pages, kept=states) as it:
            with caplog.at_level(logging.WARNING):
                done = await it.warm()
            assert sorted(done.values()) == ["read", "restored", "restored", "restored"]
            assert f"{kept[0]} is not used" in caplog.text
            for name in NAMES:
                assert await it.cached(name) > 0.8
            assert files(states) == kept
        # A gateway that is started again finds the engine as it was.
        async with warming(second.url, *pages) as it:
            assert set((await it.warm()).values()) == {"warm"}


def files(states: Path) -> list[Path]:
    return sorted(states.glob("*.state"))


def damage(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        old = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([old[0] ^ 255]))


async def test_warming_stands_back_for_questions_and_tells_what_is_too_large(
    url: str, warming: Make
) -> None:
    large = page("large.md", "# Large\n\n" + "Words about large things and more. " * 200)
    async with warming(url, large, *wiki("kitchen")) as it:
        with it.traffic.request():
            working = asyncio.create_task(it.warm())
            await asyncio.sleep(1)
            assert not working.done()
            cache = await it.engine.prefix_cache()
            assert cache is not None
            assert cache.asked == 0
        assert await asyncio.wait_for(working, 60) == {
            "kitchen.md": "read",
            "large.md": "too large",
        }


async def test_an_engine_that_is_away_is_an_error_of_who_asks(
    warming: Make,
) -> None:
    async with warming("http://127.0.0.1:9/v1", *wiki("kitchen")) as it:
        assert await it.engine.prefix_cache() is None
        with pytest.raises(httpx.HTTPError):
            await it.warm()
