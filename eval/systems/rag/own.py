"""A team's own retriever behind an address: the same prompt and model, other chunks.

It gets `POST {"question": TEXT, "k": NUMBER}`, and answers with the chunks, best first:
`{"chunks": [{"text": TEXT, "page": PATH OR ADDRESS}, ...]}`. `page` may be left out. Chunks beyond
`keep`, or that exceed `budget`, are left out.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from core.openai_client import RequestRefused
from eval.systems.rag.chunks import Cutter
from eval.systems.rag.pipeline import Retrieved
from eval.systems.rag.settings import RagSettings
from gateway.answering.grounding.excerpt import Excerpt
from wiki.pages.page import Page, Section

TIMEOUT = httpx.Timeout(60, connect=10)


class OwnRetriever:
    """Retrieval by `settings.retriever`. Supports concurrent questions."""

    def __init__(self, settings: RagSettings, pages: Sequence[Page], tokenizer: Path) -> None:
        """`tokenizer`: a tokenizer.json that counts the chunks' tokens, see `Cutter`."""
        self._settings = settings
        self._pages = {name: page for page in pages for name in (page.path, page.url)}
        self._count = Cutter(tokenizer).count
        self._http = httpx.AsyncClient(timeout=TIMEOUT)

    async def retrieve(self, question: str) -> Retrieved:
        """Raises RequestRefused: it does not answer this question, or not as it must."""
        began = time.perf_counter()
        chunks = await self._chunks(question)
        seconds = time.perf_counter() - began
        excerpts: list[Excerpt] = []
        left = self._settings.budget
        for text, page in chunks:
            tokens = self._count(text)
            if len(excerpts) < self._settings.keep and tokens <= left:
                excerpts.append(Excerpt(page, (Section("", "", (), text),), tokens))
                left -= tokens
        found = tuple(dict.fromkeys(page.path for _, page in chunks))
        return Retrieved(tuple(excerpts), found, seconds, 0, 0)

    async def _chunks(self, question: str) -> list[tuple[str, Page]]:
        url, body = self._settings.retriever, {"question": question, "k": self._settings.k}
        try:
            answer = await self._http.post(url, json=body)
            answer.raise_for_status()
            return [self._chunk(chunk) for chunk in answer.json()["chunks"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise RequestRefused(f"{url}: {type(error).__name__}: {error}") from None

    def _chunk(self, chunk: dict[str, Any]) -> tuple[str, Page]:
        text, name = chunk["text"], chunk.get("page") or ""
        if not isinstance(text, str) or not isinstance(name, str):
            raise TypeError("text and page must be texts")
        return text.strip(), self._pages.get(name) or Page(name, name, name, ())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()
