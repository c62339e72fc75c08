"""The evaluation's pages with the gateway's index, search and excerpts."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

from core.errors import AskdocsError
from core.openai_client import patiently
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.ground import Grounding, Grounds
from gateway.answering.grounding.prompt import Message, render
from gateway.answering.grounding.support import Support
from gateway.upstream.engine import Engine, estimates
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.pages.page import Page


class Wiki:
    """An open index. `close` it in the event loop in which it is used."""

    def __init__(
        self,
        file: Path,
        source: str,
        embedder: Embedder | None,
        engine: str | None,
        instructions: str = "",
        sources: Sequence[str] = (),
    ) -> None:
        """
        Args:
            file: the index file.
            source: the name of the wiki in it.
            embedder: the gateway's.
            engine: base URL of the engine that counts tokens; None: they are estimated.
            instructions: those of the product's alias.
            sources: the wikis that this alias answers from; empty: the whole index.

        Raises AskdocsError: the index does not exist, or is damaged.
        """
        self._index = Index(file)
        self._source = source
        self._instructions = instructions
        self._sources = sources
        self._engine = Engine(engine) if engine else None
        count = self._counts if self._engine else estimates
        self._grounding = Grounding(self._index, count, embedder)
        pages = (self._index.page(number) for number in sorted(self._index.of([source])))
        self._by_path = {page.path: page for page in pages}

    async def close(self) -> None:
        self._index.close()
        if self._engine:
            await self._engine.close()

    async def _counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text. Raises as `patiently`."""
        assert self._engine is not None
        return await patiently("the engine", partial(self._engine.counts, texts))

    @property
    def pages(self) -> list[Page]:
        return list(self._by_path.values())

    async def grounds(self, question: str, budget: int) -> Grounds:
        """The product's excerpts for a question, within `budget` tokens."""
        grounds = await self._grounding.ground(question, budget, sources=self._sources)
        excerpts = (
            replace(excerpt, page=self._named(excerpt.page)) for excerpt in grounds.excerpts
        )
        best = map(self._named, grounds.best)
        return replace(grounds, excerpts=tuple(excerpts), best=tuple(best))

    async def whole(self, path: str, question: str, budget: int) -> list[Excerpt]:
        """A page, cut to `budget` tokens in the same way as in the product."""
        return await self._grounding.fit([self._by_path[path]], budget, question)

    async def tokens(self, path: str) -> int:
        """Tokens of the whole page."""
        return sum(await self._grounding.counts(self._by_path[path]))

    def prompt(self, excerpts: Sequence[Excerpt], question: str) -> list[Message]:
        """The product's prompt."""
        return render(excerpts, question, instructions=self._instructions)

    def cited(self, excerpts: Sequence[Excerpt], question: str, answer: str) -> tuple[str, ...]:
        """The page most used by an answer, found like the product's sources."""
        support = Support(excerpts, question, self._index.idf)
        best = support.best_section(answer)
        return (best[0].path,) if best else ()

    def paths(self, links: Iterable[dict[str, Any]]) -> tuple[str, ...]:
        """Paths of pages from the gateway's `url`s; for pages of another wiki, the URL.

        Raises:
            AskdocsError: the index has no such page.
        """
        found_paths = []
        for link in links:
            url = urldefrag(str(link.get("url"))).url
            page = self._index.by_url(url)
            if page is None:
                raise AskdocsError(
                    f"the gateway answers from {url}, which is not in {self._index.file}: it "
                    "serves another wiki; name its --home, or sync this wiki with `askdocs docs "
                    "sync`"
                )
            found_paths.append(self._named(page).path)
        return tuple(dict.fromkeys(found_paths))

    def _named(self, page: Page) -> Page:
        """Replace the path by the URL for a page of another wiki, which may have the same paths."""
        if self._index.number(page) in self._index.of([self._source]):
            return page
        return replace(page, path=page.url)
