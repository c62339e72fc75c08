"""How each system answers a question."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.openai_client import RequestRefused
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.running.run import Run
from eval.scoring.words import is_refusal
from eval.systems.client import Client, GatewayReply
from eval.systems.recorded import Recorded
from eval.systems.systems import RECORDED, System
from eval.systems.trivial import Reader, always_refuse, best_overlap, first_sentence
from eval.systems.wiki import Wiki
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.neutral import neutral
from gateway.answering.grounding.prompt import REFUSAL
from gateway.answering.grounding.wording import without_doubt

if TYPE_CHECKING:
    from eval.systems.rag.own import OwnRetriever
    from eval.systems.rag.pipeline import Rag

_READERS = {
    "first-sentence": first_sentence,
    "best-overlap": best_overlap,
    "always-refuse": always_refuse,
}


_NONE = Recorded(None)


class Asker:
    """Answers questions on behalf of systems."""

    def __init__(
        self,
        run: Run,
        client: Client,
        wiki: Wiki,
        rag: "Rag | OwnRetriever | None",
        recorded: Recorded = _NONE,
    ) -> None:
        """`rag` is required by systems that use it for retrieval."""
        self._run = run
        self._recorded = recorded
        self._client = client
        self._wiki = wiki
        self._rag = rag

    def includes(self, system: System, question: Question) -> bool:
        """Is the question asked of this system?"""
        return system.method != RECORDED or self._recorded.has(system.name, question)

    async def answer(self, system: System, question: Question) -> Answer:
        """The answer, or the error.

        Raises:
            AskdocsError: the gateway is unavailable, or answers from another wiki.
        """
        began = time.monotonic()
        try:
            if reader := _READERS.get(system.method):
                fields = await self._trivial(reader, question, began)
            elif system.method == "closed":
                fields = await self._closed(system, question)
            elif system.method == RECORDED:
                paths = (page.path for page in self._wiki.pages)
                fields = self._recorded.answer(system.name, question, paths)
            elif system.method == "pages":
                fields = await self._pages(system, question)
            else:
                fields = await self._read(system, question, began)
        except RequestRefused as error:
            fields = {"error": str(error), "total_s": time.monotonic() - began}
        return Answer(system=system.name, question=question.id, **fields)

    async def _closed(self, system: System, question: Question) -> dict[str, object]:
        """The question alone, as in closed-book training examples."""
        messages = [{"role": "user", "content": neutral(question.text)}]
        reply = await self._client.ask(self._model(system), messages, {})
        return _common_facts(reply, 0.0)

    async def _pages(self, system: System, question: Question) -> dict[str, object]:
        """The product: search, whole pages, and its processing of the model's output."""
        messages = [{"role": "user", "content": question.text}]
        headers = {"x-askdocs-model": self._model(system), "x-askdocs-progress": "on"}
        reply = await self._client.ask(self._run.alias, messages, headers, logprobs=False)
        facts = reply.facts
        read, best = self._wiki.paths(reply.reading), self._wiki.paths(facts.get("pages", ()))
        return {
            **_common_facts(reply, 0.0),
            "text": _answered(reply),
            "refused": facts.get("refused"),
            "confidence": facts.get("confidence"),
            "retrieval_s": reply.reading_s or 0.0,
            "prompt_pages": read,
            "found_pages": tuple(dict.fromkeys([*best, *read])),
            "cited_pages": self._wiki.paths(facts.get("sources", ())),
        }

    async def _read(self, system: System, question: Question, began: float) -> dict[str, object]:
        """Chunks or the gold page in the prompt, and the model alone."""
        more: dict[str, object] = {}
        excerpts: Sequence[Excerpt]
        if system.method == "rag":
            assert self._rag is not None
            got = await self._rag.retrieve(question.text)
            began = time.monotonic() - got.seconds  # without failed requests
            excerpts, found_pages = got.excerpts, got.pages
            more = {
                "extra_prompt_tokens": got.extra_prompt_tokens,
                "extra_completion_tokens": got.extra_completion_tokens,
            }
        else:
            excerpts = await self._right(question)
            found_pages = _paths(excerpts)
        if not excerpts:
            took = time.monotonic() - began
            more |= {"text": REFUSAL, "first_token_s": took}
            return {**more, "found_pages": found_pages, "retrieval_s": took, "total_s": took}
        messages = self._wiki.prompt(excerpts, question.text)
        before = time.monotonic() - began
        reply = await self._client.ask(self._model(system), messages, {})
        fields = _common_facts(reply, before)
        if not is_refusal(reply.text):
            more["cited_pages"] = self._wiki.cited(excerpts, question.text, reply.text)
        return {**fields, **more, "prompt_pages": _paths(excerpts), "found_pages": found_pages}

    async def _right(self, question: Question) -> Sequence[Excerpt]:
        """The gold page; for unanswerable questions, the product's search results: otherwise a
        model that refuses only without pages would pass."""
        room = self._run.page_budget
        if question.pages:
            return await self._wiki.whole(question.pages[0], question.text, room)
        return (await self._wiki.grounds(question.text, room)).excerpts

    async def _trivial(self, reader: Reader, question: Question, began: float) -> dict[str, object]:
        """Reads the pages that the product finds, the best first."""
        run = self._run
        grounds = await self._wiki.grounds(question.text, run.page_budget)
        best = [page.path for page in grounds.best]
        ranked = tuple(dict.fromkeys([*best, *_paths(grounds.excerpts)]))
        excerpts = sorted(grounds.excerpts, key=lambda excerpt: ranked.index(excerpt.page.path))
        text = reader([excerpt.text for excerpt in excerpts], question.text) or REFUSAL
        took = time.monotonic() - began
        return {
            "text": text,
            "prompt_pages": _paths(excerpts),
            "found_pages": ranked,
            "cited_pages": ()
            if text == REFUSAL
            else self._wiki.cited(excerpts, question.text, text),
            "retrieval_s": took,
            "first_token_s": took,
            "total_s": took,
        }

    def _model(self, system: System) -> str:
        assert system.role is not None
        return self._run.models[system.role].name


def _common_facts(reply: GatewayReply, before: float) -> dict[str, object]:
    """Fields of every answer; `before`: seconds before the request."""
    logprob = reply.logprob
    first = reply.first_token_s
    return {
        "text": reply.text.strip(),
        "confidence": None if logprob is None else math.exp(logprob),
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "retrieval_s": before,
        "first_token_s": None if first is None else before + first,
        "total_s": before + reply.total_s,
    }


def _answered(reply: GatewayReply) -> str:
    """The product's answer; for quotations, the quoted text without its links."""
    facts = reply.facts
    quotes = [source["quote"] for source in facts.get("sources", ()) if source.get("quote")]
    if facts.get("mode") == "extractive" and not facts.get("refused") and quotes:
        return "\n\n".join(quotes)
    return without_doubt(reply.text).strip()


def _paths(excerpts: Sequence[Excerpt]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(excerpt.page.path for excerpt in excerpts))
