"""Asks the unanswered questions of a run, in the environment `eval`.

    PYTHON -I eval/running/ask.py JOB.json < KEY

Standard input is the gateway's key. JOB is an object:

    run           folder of the run, with run.json and questions.jsonl
    gateway       base URL of the gateway's API, with /v1
    index         file of the search index
    source        the wiki's name in it
    instructions  the alias's instructions
    sources       the wikis that the alias answers from; none: the whole index
    engine        base URL of the engine that counts tokens, or null: they are estimated
    weights       the embedder's weights, and
    tokenizer     its tokenizer, or null: keyword search only
    rag           folder of vector stores
    recorded      file of recorded answers, or null

It appends to answers.jsonl, and stores the similarity of answers to reference answers in
similar.jsonl. Standard output has one JSON object per line, and nothing else:

    {"event": "step", "name": "embedding chunks", "done": 32, "total": 901}
    {"event": "system", "name": "base-rag", "done": 120, "total": 200}
    {"event": "answered", "name": "base-rag", "error": ""}
    {"event": "over", "name": "base-rag", "questions": 80, "wall_s": 91.2, "engine_s": 90.4}
    {"event": "index", "name": "rag", "bytes": 4123000}
    {"event": "problem", "message": "..."}
    {"event": "done"}
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Last, because in an installation the libraries of another environment are in the same folder.
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from eval.questions import question
from eval.running import answer, run
from eval.running.answer import Answer
from eval.running.worker import Teller, work
from eval.systems.asker import Asker
from eval.systems.client import Client
from eval.systems.rag.settings import BUNDLED
from eval.systems.recorded import Recorded
from eval.systems.systems import System, parse
from eval.systems.wiki import Wiki
from wiki.index.embed import MODEL, InputFormat, Onnx

if TYPE_CHECKING:
    from eval.scoring.meanings import Meanings
    from eval.systems.rag.own import OwnRetriever
    from eval.systems.rag.pipeline import Rag


async def ask(job: dict[str, Any], key: str, teller: Teller) -> None:
    """Raises AskdocsError: the run cannot go on."""
    folder = Path(job["run"])
    of = run.read(folder)
    async with AsyncExitStack() as stack:
        client = Client(job["gateway"], key, of.max_tokens, of.at_once)
        await stack.enter_async_context(client)
        weights, tokenizer = job["weights"], job["tokenizer"]
        embedder = None
        if weights and tokenizer:
            embedder = Onnx(MODEL, Path(weights), Path(tokenizer), InputFormat())
        wiki = Wiki(
            Path(job["index"]),
            job["source"],
            embedder,
            job["engine"],
            job["instructions"],
            job["sources"],
        )
        stack.push_async_callback(wiki.close)
        rag: Rag | OwnRetriever | None = None
        if of.rag:
            from eval.systems.rag import own, pipeline

            place = Path(job["rag"])
            arguments = (wiki.pages, place, job["gateway"], key, Path(job["tokenizer"]))
            if of.rag.retriever == BUNDLED:
                bundled = await pipeline.Rag.open(of.rag, *arguments, teller.step)
                rag = await stack.enter_async_context(bundled)
                teller.tell("index", name="rag", bytes=_size(bundled.stored.folder))
            else:
                retriever = own.OwnRetriever(of.rag, wiki.pages, Path(job["tokenizer"]))
                rag = await stack.enter_async_context(retriever)
        meanings = None
        if embedder is not None:
            from eval.scoring.meanings import Meanings

            progress = partial(teller.step, "comparing meanings")
            meanings = await stack.enter_async_context(Meanings(folder, embedder, progress))
        recorded = Recorded(Path(job["recorded"]) if job["recorded"] else None)
        asker = Asker(of, client, wiki, rag, recorded)
        evaluation = Evaluation(folder, of.at_once, client, asker, teller, meanings)
        for system in parse(of.systems):
            await evaluation.hold(system)


class Evaluation:
    """Asks one system after another, and stores every answer at once."""

    def __init__(
        self,
        folder: Path,
        at_once: int,
        client: Client,
        asker: Asker,
        teller: Teller,
        meanings: "Meanings | None",
    ) -> None:
        self._folder = folder
        self._at_once = at_once
        self._client = client
        self._asker = asker
        self._teller = teller
        self._meanings = meanings
        self._questions = question.read(folder)
        self._stored_answers = answer.latest(folder)

    async def hold(self, system: System) -> None:
        """Ask a system its unanswered questions. Raises AskdocsError."""
        name = system.name
        by_id = {row.id: row for row in self._questions if self._asker.includes(system, row)}
        answers = {
            id: self._stored_answers[name, id] for id in by_id if (name, id) in self._stored_answers
        }
        answers = {
            id: recorded_answer
            for id, recorded_answer in answers.items()
            if not recorded_answer.error
        }
        facts = {"done": len(answers), "total": len(by_id)}
        self._teller.tell("system", name=name, **facts)
        if len(answers) == len(by_id):
            await self._compare(name)
            return
        free = asyncio.Semaphore(self._at_once)
        fresh: dict[str, Answer] = {}

        with answer.appending(self._folder) as append:

            async def answering(id: str) -> None:
                async with free:
                    given = await self._asker.answer(system, by_id[id])
                append(given)
                self._teller.tell("answered", name=name, error=given.error)
                fresh[id] = given
                if self._meanings and self._meanings.is_idle:
                    some = fresh.copy()
                    fresh.clear()
                    await self._meanings.compare(name, self._questions, some)

            began, busy = time.monotonic(), self._client.busy_s
            try:
                async with asyncio.TaskGroup() as group:
                    for id in (id for id in by_id if id not in answers):
                        group.create_task(answering(id))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None  # the others follow from it
        self._teller.tell(
            "over",
            name=name,
            questions=len(by_id) - len(answers),
            wall_s=time.monotonic() - began,
            engine_s=(self._client.busy_s - busy) / self._at_once,
        )
        await self._compare(name)

    async def _compare(self, name: str) -> None:
        if self._meanings:
            answers = {
                id: given for (of, id), given in answer.latest(self._folder).items() if of == name
            }
            await self._meanings.compare(name, self._questions, answers)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(work("eval/running/ask.py", ask))
