"""Tries RAG settings on questions with known pages, in the environment `eval`.

    PYTHON -I eval/systems/rag/sweep.py JOB.json < KEY

Standard input is the gateway's key. JOB is an object:

    out         folder of the sweep, with earlier results
    questions   objects with id, text, and pages (paths of gold pages)
    settings    settings common to all trials, see settings.py
    stages      the values to try: a stage is an object of lists by setting
    gateway     base URL of its API, with /v1
    index       file of the search index
    source      the wiki's name in it
    tokenizer   a tokenizer.json, see chunks.py
    stores      folder of vector stores

The given settings are tried first. Each stage tries all combinations of its values with the best
settings so far. Results are appended to results.jsonl, and not tried again. Standard output has
events as JSON Lines: step (name, done, total), problem (message), done.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Last, because in an installation the libraries of another environment are in the same folder.
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from pydantic import ValidationError

from core.errors import AskdocsError
from core.openai_client import RequestRefused
from eval.running import lines
from eval.running.worker import Teller, work
from eval.systems.rag import measure
from eval.systems.rag.measure import RetrievalResult, RetrievedPages
from eval.systems.rag.pipeline import Rag, Retrieved
from eval.systems.rag.settings import RagSettings
from wiki.index.index import Index
from wiki.pages.page import Page

# Questions in parallel: the slow part, embedding, is sequential.
AT_ONCE = 4
Stage = Mapping[str, Sequence[Any]]
STAGES: tuple[Stage, ...] = (
    {"chunk_tokens": (256, 512, 1024, 2048), "overlap": (0, 64, 128), "rerank": (False,)},
    {"k": (20, 100, 150), "mmr_lambda": (0.7, 1.0), "rerank": (False, True)},
    {"budget": (3000, 8000, 16000), "keep": (5, 10, 20, 40)},
)


def changed(settings: RagSettings, **values: object) -> RagSettings:
    """Raises AskdocsError: a value is invalid. Raises ValidationError: they do not fit together."""
    try:
        return RagSettings.model_validate({**settings.model_dump(), **values})
    except ValidationError as error:
        problem = error.errors()[0]
        if not problem["loc"]:
            raise
        name = ".".join(map(str, problem["loc"]))
        raise AskdocsError(
            f"{name} = {problem['input']} cannot be tried: {problem['msg']}"
        ) from None


def trials(best: RagSettings, stage: Stage) -> Iterator[RagSettings]:
    """All combinations of the stage's values that fit together. Raises AskdocsError."""
    for values in product(*stage.values()):
        try:
            yield changed(best, **dict(zip(stage, values, strict=True)))
        except ValidationError:
            continue


async def sweep(job: dict[str, Any], key: str, teller: Teller) -> None:
    """Raises AskdocsError: the gateway does not answer."""
    folder = Path(job["out"])
    with closing(Index(Path(job["index"]))) as index:
        pages = [index.page(number) for number in sorted(index.of([job["source"]]))]
    gold = [question["pages"] for question in job["questions"]]
    known = {result.settings: result for result in measure.read(folder)}
    best = RagSettings.model_validate(job["settings"])
    for stage in ({}, *job["stages"]):
        results = []
        for settings in trials(best, stage):
            if settings not in known:
                known[settings] = await _measured(settings, job, pages, key, teller)
                _append(folder / measure.FILE, known[settings])
            results.append(known[settings])
        if results:
            best = max(results, key=lambda result: result.rank(gold)).settings


async def _measured(
    settings: RagSettings, job: dict[str, Any], pages: Sequence[Page], key: str, teller: Teller
) -> RetrievalResult:
    name = f"chunks of {settings.chunk_tokens}, overlap {settings.overlap}"
    total = len(job["questions"])
    done = 0
    turn = asyncio.Semaphore(AT_ONCE)

    def step(what: str, done: int, total: int | None) -> None:
        teller.step(f"{name}: {what}", done, total)

    async def ask(question: dict[str, Any]) -> RetrievedPages:
        nonlocal done
        async with turn:
            try:
                got = await rag.retrieve(question["text"])
            except RequestRefused:  # too long for a model, for example: nothing is found
                got = Retrieved((), (), 0.0, 0, 0)
        done += 1
        step(f"k {settings.k}{', rerank' if settings.rerank else ''}", done, total)
        paths = tuple(dict.fromkeys(excerpt.page.path for excerpt in got.excerpts))
        tokens = sum(excerpt.tokens for excerpt in got.excerpts)
        return RetrievedPages(
            question=question["id"], pages=paths, tokens=tokens, seconds=got.seconds
        )

    place = (Path(job["stores"]), job["gateway"], key, Path(job["tokenizer"]))
    async with await Rag.open(settings, pages, *place, step) as rag:
        found = await asyncio.gather(*map(ask, job["questions"]))
    return RetrievalResult(settings=settings, found=tuple(found))


def _append(file: Path, result: RetrievalResult) -> None:
    with lines.appending(file) as results:
        results.write(result.model_dump_json().encode() + b"\n")
        results.flush()
        os.fsync(results.fileno())


if __name__ == "__main__":
    sys.exit(work("eval/systems/rag/sweep.py", sweep))
