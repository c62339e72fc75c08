"""Tries RAG settings on questions with known pages, in the environment `eval`.

    PYTHON -I eval/systems/rag/sweep.py JOB.json < KEY

Standard input is the gateway's key. JOB is an object:

    out         folder of the sweep, with earlier results
    questions   objects with id, text, and pages (paths of gold pages)
    settings    settings common to all trials, see settings.py
    grid        lists of chunk_tokens, overlap, k, mmr_lambda, mmr_after, rerank, expand, decompose,
                hyde, budget, keep
    gateway     base URL of its API, with /v1
    index       file of the search index
    source      the wiki's name in it
    tokenizer   a tokenizer.json, see chunks.py
    stores      folder of vector stores

The order of trials: the given settings; all chunk sizes with all overlaps, without reranking; with
the best of these, all k and lambdas of MMR, with and without reranking, MMR before and after it; if
requested, query expansion, decomposition and HyDE; all token budgets with all numbers of chunks in
the prompt. Each result is appended to results.jsonl. Standard output has one event per line: step
(name, done, total), problem (message), done.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Last, because in an installation the libraries of another environment are in the same folder.
    sys.path.append(str(Path(__file__).resolve().parents[3]))

import numpy as np
from pydantic import ValidationError

from eval.running import lines
from eval.running.worker import Teller, work
from eval.systems.patience import RequestRefused
from eval.systems.rag import measure
from eval.systems.rag.endpoints import Endpoints
from eval.systems.rag.fusion import Vectors
from eval.systems.rag.measure import RetrievalResult, RetrievedPages
from eval.systems.rag.pipeline import Rag, Retrieved
from eval.systems.rag.settings import RagSettings
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.index import Index
from gateway.knowledge.wiki.page import Page

# Questions in parallel: the slow part, embedding, is sequential.
AT_ONCE = 4
Grid = dict[str, list[Any]]


@dataclass(frozen=True)
class Remembering(Endpoints):
    """Caches requests: most settings need the same vectors of the same questions."""

    memory: dict[Any, Any] = field(default_factory=dict)

    async def rerank(self, question: str, documents: Sequence[str]) -> list[int]:
        request = (self.settings.rerank_model, question, *documents)
        key = hashlib.sha256(repr(request).encode()).digest()
        if key not in self.memory:
            self.memory[key] = await super().rerank(question, documents)
        order: list[int] = self.memory[key]
        return order

    async def embed(self, texts: Sequence[str], input_type: str) -> Vectors:
        if input_type != "search_query":
            return await super().embed(texts, input_type)
        for text in texts:
            if text not in self.memory:
                self.memory[text] = (await super().embed([text], input_type))[0]
        return np.stack([self.memory[text] for text in texts])


def began(base: RagSettings, _: Grid) -> list[RagSettings]:
    """The settings that all others are compared with."""
    return [base]


def first(base: RagSettings, grid: Grid) -> list[RagSettings]:
    """Chunks of every size with every overlap of at most half."""
    return [
        _with(base, chunk_tokens=size, overlap=overlap, rerank=False)
        for size, overlap in product(grid["chunk_tokens"], grid["overlap"])
        if 2 * overlap <= size
    ]


def second(best: RagSettings, grid: Grid) -> list[RagSettings]:
    """Every k of at least `keep`, with every lambda, with and without reranking, and with MMR
    before and after it."""
    return [
        _with(best, k=k, mmr_lambda=weight, rerank=rerank, mmr_after=after)
        for k, weight, rerank, after in product(
            *(grid[name] for name in ("k", "mmr_lambda", "rerank", "mmr_after"))
        )
        if k >= best.keep and not (after and (weight == 1 or not rerank))
    ]


def third(best: RagSettings, grid: Grid) -> list[RagSettings]:
    """With and without query expansion, decomposition, and HyDE."""
    return [
        _with(best, expand=expand, decompose=decompose, hyde=hyde)
        for expand, decompose, hyde in product(grid["expand"], grid["decompose"], grid["hyde"])
    ]


def fourth(best: RagSettings, grid: Grid) -> list[RagSettings]:
    """Every budget with every number of chunks in the prompt."""
    return [
        _with(best, budget=budget, keep=keep)
        for budget, keep in product(grid["budget"], grid["keep"])
        if keep <= best.k
    ]


async def sweep(job: dict[str, Any], key: str, teller: Teller) -> None:
    """Raises AskdocsError: the gateway does not answer."""
    folder = Path(job["out"])
    with closing(Index(Path(job["index"]))) as index:
        pages = [index.page(number) for number in sorted(index.of([job["source"]]))]
    gold = [question["pages"] for question in job["questions"]]
    memory: dict[Any, Any] = {}
    best = RagSettings.model_validate(job["settings"])
    for stage in (began, first, second, third, fourth):
        results = []
        for settings in stage(best, job["grid"]):
            measured_before = (
                result_before
                for result_before in measure.read(folder)
                if result_before.settings == settings
            )
            result = next(measured_before, None)
            if result is None:
                result = await _measured(settings, job, pages, key, memory, teller)
                _append(folder / measure.FILE, result)
            results.append(result)
        if results:
            best = max(results, key=lambda result: result.rank(gold)).settings


async def _measured(
    settings: RagSettings,
    job: dict[str, Any],
    pages: Sequence[Page],
    key: str,
    memory: dict[Any, Any],
    teller: Teller,
) -> RetrievalResult:
    place = (Path(job["stores"]), job["gateway"], key, Path(job["tokenizer"]))
    name = f"chunks of {settings.chunk_tokens}, overlap {settings.overlap}"
    results: list[RetrievedPages] = []
    turn = asyncio.Semaphore(AT_ONCE)

    def step(what: str, done: int, total: int | None) -> None:
        teller.step(f"{name}: {what}", done, total)

    async def ask(rag: Rag, question: dict[str, Any]) -> RetrievedPages:
        async with turn:
            try:
                got = await rag.retrieve(question["text"])
            except RequestRefused:  # too long for a model, for example: nothing is found
                got = Retrieved((), (), 0.0, 0, 0)
        step(f"k {settings.k}{', rerank' if settings.rerank else ''}", len(results) + 1, total)
        paths = tuple(dict.fromkeys(excerpt.page.path for excerpt in got.excerpts))
        tokens = sum(excerpt.tokens for excerpt in got.excerpts)
        results.append(
            RetrievedPages(question=question["id"], pages=paths, tokens=tokens, seconds=got.seconds)
        )
        return results[-1]

    total = len(job["questions"])
    async with await Rag.open(settings, pages, *place, step) as opened:
        remembering = Remembering(settings, opened.endpoints.url, opened.endpoints.http, memory)
        rag = Rag(settings, remembering, opened.chunks, opened.stored)
        in_order = await asyncio.gather(*(ask(rag, question) for question in job["questions"]))
    return RetrievalResult(settings=settings, found=tuple(in_order))


def _with(settings: RagSettings, **changed: object) -> RagSettings:
    """Raises AskdocsError: the settings are invalid."""
    try:
        return RagSettings.model_validate({**settings.model_dump(), **changed})
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        raise AskdocsError(
            f"{name} = {problem['input']} cannot be tried: {problem['msg']}"
        ) from None


def _append(file: Path, result: RetrievalResult) -> None:
    with lines.appending(file) as results:
        results.write(result.model_dump_json().encode() + b"\n")
        results.flush()
        os.fsync(results.fileno())


if __name__ == "__main__":
    sys.exit(work("eval/systems/rag/sweep.py", sweep))
