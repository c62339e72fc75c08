"""Drafts questions and answers from the wiki's pages with a model, for teams that have none.

A teacher writes a question and its answer for each section, for each pair of linked pages, and a
near miss that the page does not answer. A draft stays only if the product's own search finds its
page, every sentence passes the strict check of `dataset ground`, it resembles no known question,
and it is about a section that has none yet. Of a near miss, the teacher itself must refuse what
the search finds. Each reply is journaled, so that a killed run never repeats a request.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urldefrag, urljoin

import httpx

from core.errors import AskdocsError
from eval.questions.rows import Row
from gateway.answering.check import Check, Scorer
from gateway.answering.claims import drafts, refuses
from gateway.answering.evidence import Idf
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import Message, render
from training.data.ground import STRICT, SYNTHETIC, TIMEOUT, Journal, Teacher
from training.data.support import support, uncited
from wiki.pages.page import Page
from wiki.pages.words import stems
from wiki.search.search import Search
from wiki.sources.sync import Progress

Kind = Literal["answerable", "two pages", "near miss"]
Outcome = Literal[
    "drafted", "unreadable", "not found", "unsupported", "near copy", "adds nothing", "answered"
]

WORDS = 25
"""Minimum words of a section that gets a question."""
FOUND = 5
"""Pages that the search may find before a draft's page."""
ALIKE = 0.8
"""Share of two questions' stems in common from which they are near copies."""
EXAMPLES = 5
TEMPERATURE = 0.7
# Characters per token, for the estimate of a run's cost.
CHARACTERS = 4

TASKS: dict[Kind, str] = {
    "answerable": "Write a question that a reader may ask and that this section answers, and its"
    " complete answer from the section alone.",
    "two pages": "Write a question whose complete answer needs both pages, and that answer, from"
    " the pages alone.",
    "near miss": "Write a question that a reader of this page may ask and that sounds as if it"
    ' were answered, but is not. "answer" is empty.',
}
PROMPT = """{pages}

{task} Write as readers do: {style}
Do not mention the page or the section. Reply with JSON alone: {{"question": "...", "answer":\
 "..."}}"""
STYLE = "short, in their own words, often not a whole sentence."
_LINK = re.compile(r"\]\(([^)\s]+)")


class Task(NamedTuple):
    """A draft to ask the teacher for."""

    kind: Kind
    excerpts: tuple[Excerpt, ...]

    def messages(self, examples: Sequence[str]) -> list[Message]:
        pages = "\n\n".join(f"# {e.page.title}\n\n{e.text}" for e in self.excerpts)
        like = "".join(f"\n- {example}" for example in examples)
        style = f"as these real questions do:{like}\n" if examples else STYLE
        prompt = PROMPT.format(pages=pages, task=TASKS[self.kind], style=style)
        return [{"role": "user", "content": prompt}]


class Draft(NamedTuple):
    """A task's outcome."""

    task: Task
    outcome: Outcome
    question: str = ""
    answer: str = ""

    def row(self, teacher: str) -> dict[str, Any]:
        """The row for the dataset. Synthetic rows are never in test."""
        first, *others = [excerpt.page.path for excerpt in self.task.excerpts]
        answerable = self.task.kind != "near miss"
        pages = {"context_doc": first, **({"context_docs": others} if others else {})}
        return {
            "question": self.question,
            "answer": self.answer,
            "answerable": answerable,
            **(pages if answerable else {}),
            "split": "train",
            "source": f"{SYNTHETIC}: {teacher}",
            "draft": self.task.kind,
        }


def tasks(pages: Sequence[Page]) -> Iterator[Task]:
    """A task for each section with text, each page and each pair of linked pages; the pages take
    turns, so that a limit covers the wiki."""
    by_url = {page.url: page for page in pages}
    by_page = [list(_tasks(page, by_url)) for page in pages]
    for turn in range(max(map(len, by_page), default=0)):
        yield from (of_page[turn] for of_page in by_page if turn < len(of_page))


def _tasks(page: Page, by_url: dict[str, Page]) -> Iterator[Task]:
    sections = [section for section in page.sections if len(section.text.split()) >= WORDS]
    for section in sections:
        yield Task("answerable", (Excerpt(page, (section,), 0),))
    if not sections:
        return
    whole = Excerpt(page, page.sections, 0)
    for other in _linked(page, by_url):
        yield Task("two pages", (whole, Excerpt(other, other.sections, 0)))
    yield Task("near miss", (whole,))


def _linked(page: Page, by_url: dict[str, Page]) -> list[Page]:
    """Pages that it links to, once each; of two that link to each other the first has the pair."""
    there = {urldefrag(urljoin(page.url, link)).url: None for link in _LINK.findall(page.text)}
    linked = (by_url[url] for url in there if url in by_url and url != page.url)
    return [other for other in linked if page.path < other.path or page.url not in _targets(other)]


def _targets(page: Page) -> set[str]:
    return {urldefrag(urljoin(page.url, link)).url for link in _LINK.findall(page.text)}


def tokens(wanted: Iterable[Task], examples: Sequence[str]) -> int:
    """Approximate tokens of the prompts."""
    texts = (task.messages(examples)[0]["content"] for task in wanted)
    return sum(len(str(text)) for text in texts) // CHARACTERS


class Filter:
    """Decides which drafts stay."""

    def __init__(
        self, search: Search, idf: Idf, scorer: Scorer | None, known: Sequence[Row]
    ) -> None:
        """`known`: existing rows, those of test included."""
        self._search, self._idf, self._scorer = search, idf, scorer
        self._asked = [frozenset(stems(row.question)) for row in known]
        self._covered: set[str] = set()

    async def outcome(self, task: Task, question: str, answer: str) -> Outcome:
        """Whether a draft stays; if it does, it is known from now on."""
        words = frozenset(stems(question))
        if not words or (not answer and task.kind != "near miss"):
            return "unreadable"
        if any(len(words & other) >= ALIKE * len(words | other) for other in self._asked):
            return "near copy"
        found = await asyncio.to_thread(self._search.find, question, None, FOUND)
        pages = {excerpt.page.path for excerpt in task.excerpts}
        if not pages <= {hit.page.path for hit in found}:
            return "not found"
        if task.kind != "near miss":
            if refuses(drafts(answer)):
                return "unsupported"
            check = Check(task.excerpts, self._idf, self._scorer, asked=question, thresholds=STRICT)
            claims = await check.claims(answer)
            if support(claims) != "supported":
                return "unsupported"
            sources = {claim.source for claim in claims if claim.verdict == "supported"}
            if sources <= self._covered and task.kind == "answerable":
                return "adds nothing"
            self._covered |= sources
        self._asked.append(words)
        return "drafted"

    def found(self, question: str) -> list[Excerpt]:
        """What the search finds for a question, as a prompt would have it."""
        hits = self._search.find(question, None, FOUND)
        return [Excerpt(hit.page, hit.page.sections, 0) for hit in hits]


async def draft(
    wanted: Sequence[Task],
    keep: Filter,
    teacher: Teacher,
    examples: Sequence[str],
    journal: Path,
    progress: Progress,
) -> list[Draft]:
    """Ask for all drafts, and filter them in order.

    Raises AskdocsError: the teacher does not answer; the journal keeps its replies so far.
    """
    headers = {"Authorization": f"Bearer {teacher.key}"} if teacher.key else {}
    headers["Connection"] = "close"  # llama.cpp announces keep-alive but closes the connection
    done: list[Draft] = []
    left = iter(wanted)
    with Journal(journal) as replies:
        async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT) as http:
            while batch := list(islice(left, teacher.at_once)):
                said = await asyncio.gather(
                    *(
                        replies.answer(teacher, task.messages(examples), TEMPERATURE, http)
                        for task in batch
                    )
                )
                for task, reply in zip(batch, said, strict=True):
                    question, answer = _read(reply or "")
                    outcome = await keep.outcome(task, question, answer)
                    if outcome == "drafted" and task.kind == "near miss":
                        prompt = render(keep.found(question), question)
                        told = await replies.answer(teacher, prompt, 0.0, http)
                        if told is None or not refuses(drafts(told.strip())):
                            outcome = "answered"
                        answer = ""
                    done.append(Draft(task, outcome, question, answer))
                    progress("drafting questions", len(done), len(wanted))
    return done


def _read(reply: str) -> tuple[str, str]:
    """Question and answer of a reply; empty if it is not the JSON that was asked for."""
    try:
        row, _ = json.JSONDecoder().raw_decode(reply, max(reply.find("{"), 0))
        question, answer = row["question"], row.get("answer") or ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
    if not isinstance(question, str) or not isinstance(answer, str):
        return "", ""
    return question.strip(), uncited(answer.strip())


def examples_of(known: Sequence[Row]) -> list[str]:
    """Real questions of the wiki, to show the teacher their style."""
    real = [row.question for row in known if not row.source.startswith(SYNTHETIC)]
    return [question for question in real if len(question) <= 200][:EXAMPLES]


def refuse_empty(wanted: Sequence[Task]) -> None:
    """Raises AskdocsError: the wiki has no section to ask about."""
    if not wanted:
        raise AskdocsError(f"the wiki has no section of {WORDS} words: name another --docs")
