"""Rewrites answers that their pages do not support, with a model that sees the pages.

A teacher answers the prompt that the gateway would send. Its answer replaces a person's only if it
passes the check, which is stricter than in serving, and shares its subject with the person's
question and answer. Each answer of the teacher is appended to a journal at once, so that a killed
run never repeats a request. Verdicts are not stored: a resumed run with another check applies that
check.
"""

import asyncio
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx

from core.errors import AskdocsError, together
from core.openai_client import EndpointAway, RequestRefused, patiently, post
from eval.questions.rows import Problem, Row, lines, parse_object, parse_row
from gateway.answering.check import Check, Scorer
from gateway.answering.claims import drafts, refuses
from gateway.answering.evidence import Evidence, Idf
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import Message, render
from gateway.settings import RULES
from training import journal
from training.data.support import Support, support, uncited
from wiki.pages.page import Page
from wiki.search.paths import Paths
from wiki.sources.sync import Progress

SYNTHETIC = "synthetic"
"""Prefix of the `source` of a rewritten row."""
# All three numbers were chosen on labelled answers
# (research/notebook.md#answers-that-dataset-ground-keeps).
# Minimum score for each sentence; in serving it is `claims.THRESHOLD`.
STRICT = {RULES: 0.75}
# Minimum agreement of an answer with the person's, see `agreement`.
AGREES = 0.12
# Minimum share of the person's words on the pages; below it, they do not answer the question.
ABOUT = 0.1
# Sampling temperature of each attempt at an answer.
ATTEMPTS = (0.0, 0.7)
# Seconds for which the teacher may be busy or gone.
PATIENCE = 8.0
TIMEOUT = httpx.Timeout(300, connect=10)

TASK = """{question}

Somebody answered:
{answer}

Answer the question again, from the sections alone and as the person would. Leave out what no\
 section says."""

Outcome = Literal["rewritten", "not on the page", "unsupported", "disagrees", "refused", "too long"]
# Messages of vLLM, llama.cpp and OpenAI for a prompt that is too long.
_TOO_LONG = re.compile(r"context|too (?:long|large)|maximum|max_model_len", re.IGNORECASE)


class TooLong(AskdocsError):
    """The pages exceed the teacher's context."""


@dataclass(frozen=True)
class Teacher:
    """A model behind an OpenAI-compatible endpoint."""

    url: str
    """Its base URL, with /v1."""
    model: str
    key: str | None = None
    max_tokens: int = 700
    at_once: int = 4


@dataclass(frozen=True)
class Work:
    """The rows of a file, and which of them to rewrite."""

    rows: Sequence[tuple[Row, dict[str, Any]]]
    """Each row with its fields as in the file."""
    asked: Sequence[int]
    """Indices of the rows to send to the teacher."""
    supports: Mapping[int, Support]
    """Support by index, for rows with an answer and a page."""
    excerpts: Mapping[int, Sequence[Excerpt]]
    idf: Idf

    def counts(self) -> dict[str, int]:
        """Counts of rows before rewriting."""
        supports = Counter(self.supports.values())
        synthetic = [row for row, _ in self.rows if row.source.startswith(SYNTHETIC)]
        return {
            "rows": len(self.rows),
            "supported": supports["supported"],
            "unsupported": supports["unsupported"],
            "claims_nothing": supports["nothing"],
            "without_page_or_answer": len(self.rows) - len(self.supports),
            "synthetic": len(synthetic),
            "synthetic_confirmed": sum(bool(row.validated_by) for row in synthetic),
        }


async def look(
    file: Path, pages: Sequence[Page], idf: Idf, limit: int | None, progress: Progress
) -> Work:
    """Read the rows and find unsupported answers; select at most `limit` of them.

    Raises AskdocsError: a row is invalid, with file and line.
    """
    rows = list(_read(file))
    by_path = {page.path: page for page in pages}
    known = Paths(by_path)
    supports: dict[int, Support] = {}
    excerpts: dict[int, Sequence[Excerpt]] = {}
    for place, (row, _) in enumerate(rows):
        progress("checking answers", place, len(rows))
        named = (path for name in row.pages if (path := known.find(name)))
        of_row = [by_path[path] for path in dict.fromkeys(named)]
        if row.answerable and of_row:
            of_row.sort(key=lambda page: page.path)
            excerpts[place] = [Excerpt(page, page.sections, 0) for page in of_row]
            check = Check(excerpts[place], idf, asked=row.question)
            supports[place] = support(await check.claims(uncited(row.answer)))
    asked = [place for place, verdict in supports.items() if verdict == "unsupported"]
    return Work(rows, asked[:limit], supports, excerpts, idf)


async def ground(
    work: Work, teacher: Teacher, scorer: Scorer | None, journal: Path, progress: Progress
) -> dict[int, tuple[Outcome, str]]:
    """The outcome and the new answer of each selected row, by index.

    Args:
        work: see `look`.
        teacher: writes the answers.
        scorer: a model that checks them in addition to the rules.
        journal: file of the teacher's answers; each is appended as a line.
        progress: see `Progress`.

    Raises:
        AskdocsError: the teacher does not answer; the journal keeps its answers so far.
    """
    done: dict[int, tuple[Outcome, str]] = {}
    with Journal(journal) as answer_journal:
        async with aclosing(_answered(work, teacher, scorer, answer_journal)) as answered:
            async for place, outcome in answered:
                done[place] = outcome
                progress("rewriting answers", len(done), len(work.asked))
    return done


def written(
    work: Work, done: Mapping[int, tuple[Outcome, str]], teacher: str, keep: bool
) -> list[dict[str, Any]]:
    """The output rows, with rewritten answers in place of a person's.

    Args:
        teacher: recorded as the source of rewritten answers.
        keep: keep unsupported rows that were not rewritten.
    """
    rows = []
    for place, (_, fields) in enumerate(work.rows):
        outcome, answer = done.get(place, (None, ""))
        if outcome == "rewritten":
            new = {**fields, "answer": answer, "source": f"{SYNTHETIC}: {teacher}"}
            new |= {"human_answer": fields["answer"], "human_source": fields.get("source", "")}
            new.pop("validated_by", None)  # it confirmed the old answer
            rows.append(new)
        elif keep or work.supports.get(place) != "unsupported":
            rows.append(fields)
    return rows


def about(original: str, evidence: Evidence) -> float:
    """The share of a person's words found on the pages, weighted by rarity; 0 to 1."""
    weights = evidence.weights(evidence.stems_of(original))
    return sum(weights[s] for s in weights.keys() & evidence.stems) / (sum(weights.values()) or 1.0)


def agreement(original: str, answer: str, evidence: Evidence) -> float:
    """How much of its subject an answer shares with a person's question and answer; 0: nothing.

    Words are weighted by rarity. The person's words that no page has are ignored. The question
    counts, since people often answer with a link and a sentence.
    """
    person, mine = evidence.stems_of(original) | evidence.asked_stems, evidence.stems_of(answer)
    weights = evidence.weights(person | mine)

    def weight(stems: Iterable[str]) -> float:
        return sum(weights[stem] for stem in stems)

    return weight(person & mine) / ((weight(person & evidence.stems) * weight(mine)) ** 0.5 or 1.0)


async def _answered(
    work: Work, teacher: Teacher, scorer: Scorer | None, answer_journal: "Journal"
) -> AsyncGenerator[tuple[int, tuple[Outcome, str]], None]:
    """Yields outcomes as they complete, at most `teacher.at_once` in parallel."""
    headers = {"Authorization": f"Bearer {teacher.key}"} if teacher.key else {}
    headers["Connection"] = "close"  # llama.cpp announces keep-alive but closes the connection
    waiting = iter(work.asked)
    tasks: dict[asyncio.Task[tuple[Outcome, str]], int] = {}
    async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT) as http:
        try:
            while True:
                while len(tasks) < teacher.at_once and (place := next(waiting, None)) is not None:
                    rewriting = _rewritten(work, place, teacher, scorer, answer_journal, http)
                    tasks[asyncio.create_task(rewriting)] = place
                if not tasks:
                    return
                ready, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in ready:
                    yield tasks.pop(task), task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _rewritten(
    work: Work,
    place: int,
    teacher: Teacher,
    scorer: Scorer | None,
    answer_journal: "Journal",
    http: httpx.AsyncClient,
) -> tuple[Outcome, str]:
    row, excerpts = work.rows[place][0], work.excerpts[place]
    evidence = Evidence(excerpts, work.idf, row.question)
    if about(row.answer, evidence) < ABOUT:
        return "not on the page", ""
    task = TASK.format(question=row.question, answer=row.answer)
    messages = render(excerpts, task)
    outcome: Outcome = "unsupported"
    for temperature in ATTEMPTS:
        reply = await answer_journal.answer(teacher, messages, temperature, http)
        if reply is None:
            return "too long", ""
        answer = uncited(reply.strip())
        if not answer or refuses(drafts(answer)):
            return "refused", ""
        check = Check(
            excerpts, work.idf, scorer, messages[:1], asked=row.question, thresholds=STRICT
        )
        if support(await check.claims(answer)) != "supported":
            outcome = "unsupported"
        elif agreement(row.answer, answer, evidence) < AGREES:
            outcome = "disagrees"
        else:
            return "rewritten", answer
    return outcome, ""


async def _asked(
    teacher: Teacher, messages: Sequence[Message], temperature: float, http: httpx.AsyncClient
) -> str:
    """The teacher's answer. Raises AskdocsError, TooLong."""
    url = f"{teacher.url.rstrip('/')}/chat/completions"
    body = {
        "model": teacher.model,
        "messages": list(messages),
        "temperature": temperature,
        "max_tokens": teacher.max_tokens,
    }
    try:
        reply = await patiently(url, partial(post, http, url, body), PATIENCE)
        return str(reply["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        raise AskdocsError(f"{url}: does not answer with a chat completion") from None
    except httpx.InvalidURL as error:
        why = f"{url}: is no address ({error})"
    except EndpointAway as error:
        why = str(error)
    except RequestRefused as error:
        why = f"{url}: {error}"
        if _TOO_LONG.search(why):
            raise TooLong(why) from None
    raise AskdocsError(f"{why}: fix this and run the command again to continue")


def _read(file: Path) -> list[tuple[Row, dict[str, Any]]]:
    rows, problems = [], []
    for number, line in lines(file):
        fields = parse_object(number, line)
        row = fields if isinstance(fields, Problem) else parse_row(number, fields)
        if isinstance(fields, Problem) or isinstance(row, Problem):
            problem = row if isinstance(row, Problem) else fields
            assert isinstance(problem, Problem)
            problems.append(f"{file}:{number}: {problem.fix}")
        else:
            rows.append((row, fields))
    if problems:
        raise together(problems, "more like that; `askdocs dataset check` lists them")
    return rows


class Journal:
    """The teacher's answers in a file, of which a killed run can truncate only the last line."""

    def __init__(self, file: Path) -> None:
        """Raises AskdocsError: the file is not a journal."""
        self._answers = _answers(file)
        self._file = file.open("ab")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    async def answer(
        self,
        teacher: Teacher,
        messages: Sequence[Message],
        temperature: float,
        http: httpx.AsyncClient,
    ) -> str | None:
        """The answer, from the journal or the teacher; None: the prompt is too long for it.

        Raises AskdocsError: the teacher does not answer.
        """
        request = [teacher.model, teacher.max_tokens, messages, temperature]
        key = hashlib.sha256(json.dumps(request).encode()).hexdigest()
        if key not in self._answers:
            try:
                reply = await _asked(teacher, messages, temperature, http)
            except TooLong:
                reply = None
            self._file.write(json.dumps({"key": key, "said": reply}).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._answers[key] = reply
        return self._answers[key]


def _answers(file: Path) -> dict[str, str | None]:
    """The answers of a file by key. Cuts away a truncated last line."""
    try:
        rows = [json.loads(line) for line in journal.whole(file)]
        if any("outcome" in row for row in rows):
            raise AskdocsError(
                f"{file}: is a journal of an older format, without the teacher's answers: delete "
                "it and run the command again, which asks for its rows again"
            )
        return {row["key"]: row["said"] for row in rows}
    except (ValueError, KeyError, TypeError):
        raise AskdocsError(f"{file}: is not a journal of `dataset ground`: move it") from None
