"""RAG 2.0: from a question to the chunks in front of it.

question, its parts, other wordings ──► hybrid search ─► MMR ─► rerank ─► prompt
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import httpx
import numpy as np

from core.errors import AskdocsError
from eval.systems.rag.chunks import Chunk, Cutter
from eval.systems.rag.endpoints import Endpoints, Vectors
from eval.systems.rag.rewrite import rewrite
from eval.systems.rag.settings import RagSettings
from gateway.answering.grounding.excerpt import Excerpt
from wiki.pages.page import Page, Section

if TYPE_CHECKING:
    from eval.systems.rag.store import Progress, Store

# Multiple of k chunks to fuse from each list, so that MMR has a choice.
FETCHED = 2
# Timeout of a request: a chat model on a CPU writes a few tokens per second.
_PATIENCE = httpx.Timeout(600, connect=10)


class Retrieved(NamedTuple):
    """The retrieval result for a question."""

    excerpts: tuple[Excerpt, ...]
    """Chunks for `gateway.answering.grounding.prompt.render`, the best first; empty if nothing is
    found."""
    pages: tuple[str, ...]
    """Paths of the pages of all k chunks, the best first."""
    seconds: float
    """Without waits for an unavailable or busy gateway, which are not part of the method."""
    extra_prompt_tokens: int
    extra_completion_tokens: int


@dataclass(frozen=True)
class Rag:
    """A chunked wiki with its retrieval. Supports concurrent questions."""

    settings: RagSettings
    endpoints: Endpoints
    chunks: Sequence[Chunk]
    stored: "Store"

    @classmethod
    async def open(
        cls,
        settings: RagSettings,
        pages: Sequence[Page],
        folder: Path,
        gateway: str,
        key: str,
        tokenizer: Path,
        progress: "Progress",
    ) -> Self:
        """Chunk and embed the pages, reusing an existing store.

        Args:
            settings: the RAG settings.
            pages: the wiki's pages.
            folder: folder for vectors, created if missing; may be deleted at any time.
            gateway: base URL of its API, with /v1.
            key: the gateway's API key.
            tokenizer: a tokenizer.json, see `Cutter`.
            progress: receives the progress.

        Raises:
            AskdocsError: there are no pages, the gateway does not embed them, or a model refuses.
            ImportError: this is not the environment `eval`.
        """
        from eval.systems.rag import store  # only this environment has its library

        if not pages:
            raise AskdocsError("no pages to cut into chunks: name another --docs DIR")
        http = httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=_PATIENCE)
        try:
            endpoints = Endpoints(settings, gateway, http)
            cutter = Cutter(tokenizer)
            chunks = await asyncio.to_thread(_cut, cutter, pages, settings)
            stored = await store.opened(folder, settings, cutter, chunks, endpoints, progress)
            await endpoints.check()
        except BaseException:
            await http.aclose()
            raise
        return cls(settings, endpoints, chunks, stored)

    async def retrieve(self, question: str) -> Retrieved:
        """The best chunks for a question. Raises as `Endpoints`: a question may be refused."""
        began = time.perf_counter()
        asking = replace(self.endpoints, waited=[])
        rewritten = await rewrite(asking, question)
        chosen = await self._chosen(asking, [question, *rewritten.wordings], rewritten.passage)
        if self.settings.rerank and chosen:
            texts = [self.chunks[number].shown for number in chosen]
            order = await asking.rerank(question, texts)
            chosen = [chosen[place] for place in order]
        return Retrieved(
            excerpts=tuple(map(_excerpt, self._fitting(chosen))),
            pages=tuple(dict.fromkeys(self.chunks[number].page.path for number in chosen)),
            seconds=time.perf_counter() - began - sum(asking.waited),
            extra_prompt_tokens=rewritten.prompt_tokens,
            extra_completion_tokens=rewritten.completion_tokens,
        )

    async def close(self) -> None:
        await self.endpoints.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _chosen(self, asking: Endpoints, wordings: Sequence[str], passage: str) -> list[int]:
        """Numbers of up to k chunks, the best first."""
        texts = [*wordings, passage] if passage else wordings
        vectors = await asking.embed(texts, "search_query")
        if passage:
            # The mean of the question's and the generated passage's vectors (Gao et al. 2022,
            # equation 8).
            mean = vectors[0] + vectors[-1]
            vectors = np.concatenate([[mean / np.linalg.norm(mean)], vectors[1:-1]])
        scores: dict[int, float] = defaultdict(float)
        of_chunk: dict[int, Vectors] = {}
        for text, vector in zip(wordings, vectors, strict=True):
            search = self.stored.search
            found = await asyncio.to_thread(search, text, vector, FETCHED * self.settings.k)
            for number, hit in found.items():
                scores[number] += hit.score
                of_chunk[number] = hit.vector
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        if self.settings.mmr_lambda == 1 or not ranked:
            return ranked[: self.settings.k]
        relevance = [scores[number] / scores[ranked[0]] for number in ranked]
        near = np.stack([of_chunk[number] for number in ranked])
        places = mmr(relevance, near, self.settings.k, self.settings.mmr_lambda)
        return [ranked[place] for place in places]

    def _fitting(self, numbers: Iterable[int]) -> list[Chunk]:
        """The first chunks that fit the prompt; a chunk that is too long is skipped."""
        chunks: list[Chunk] = []
        left = self.settings.budget
        for chunk in (self.chunks[number] for number in numbers):
            if len(chunks) == self.settings.keep:
                break
            if chunk.tokens <= left:
                chunks.append(chunk)
                left -= chunk.tokens
        return chunks


def mmr(relevance: Sequence[float], vectors: Vectors, k: int, weight: float) -> list[int]:
    """Indices of up to `k` candidates that are relevant and unlike those chosen before them.

    Maximal marginal relevance (Carbonell & Goldstein 1998): the next candidate maximises weight *
    relevance - (1 - weight) * similarity to the most similar chosen candidate.

    Args:
        relevance: each candidate's relevance to the question, 0 to 1.
        vectors: the candidates' vectors, [len(relevance), size], each of length 1.
        k: maximum number.
        weight: lambda; 1 sorts by relevance alone.
    """
    left = np.asarray(relevance, dtype=float)
    alike = np.zeros(len(left))
    chosen: list[int] = []
    while len(chosen) < min(k, len(left)):
        gain = weight * left - (1 - weight) * alike
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        similarity = vectors @ vectors[best]
        alike = np.maximum(alike, similarity) if chosen else similarity
        chosen.append(best)
    return chosen


def _cut(cutter: Cutter, pages: Iterable[Page], settings: RagSettings) -> list[Chunk]:
    return [
        chunk
        for page in sorted(pages, key=lambda page: page.path)
        for chunk in cutter.cut(page, settings.chunk_tokens, settings.overlap)
    ]


def _excerpt(chunk: Chunk) -> Excerpt:
    above = f"({' › '.join(chunk.trail)})\n\n" if chunk.trail else ""
    section = Section("", "", (), f"{above}{chunk.text.strip()}")
    return Excerpt(chunk.page, (section,), chunk.tokens)
