"""Rewrite answers that their pages do not support, by a model that sees the pages.

A teacher writes from the prompt that the gateway would send. Its answer takes the place of a
person's only where two agree with it: the check, which is stricter than in service, and the
person's question and answer, whose subject it shares. Each answer of the teacher is written to a
journal at once, so that a killed run asks for none again. Verdicts are not kept: a run that goes on
with another check judges by that one.
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
from pathlib import Path
from typing import Any, Literal

import httpx

from eval.questions.rows import Problem, Row, lines, parse_object, parse_row
from gateway.answering.check import Check, Scorer
from gateway.answering.claims import drafts, refuses
from gateway.answering.evidence import Evidence, Idf
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import Message, render
from gateway.core.errors import AskdocsError, together
from gateway.core.gateway_settings import RULES
from gateway.knowledge.search.answered import Paths
from gateway.knowledge.sources.sync import Progress
from gateway.knowledge.wiki.page import Page
from gateway.knowledge.wiki.words import stem_set
from training import journal
from training.data.support import Support, support, uncited

SYNTHETIC = "synthetic"
"""What the `source` of a rewritten row begins with."""
# All three numbers were chosen on labelled answers
# (docs/results/notebook.md#answers-that-dataset-ground-keeps).
# Each sentence is supported with at least this score; in service it is `claims.THRESHOLD`.
STRICT = {RULES: 0.75}
# How much of its subject an answer shares with the person, see `agreement`.
AGREES = 0.12
# The pages have at least this share of what the person said, or they do not answer the question.
ABOUT = 0.1
# Temperatures of the attempts at an answer.
ATTEMPTS = (0.0, 0.7)
# Attempts at a request that a busy or broken teacher refused, and seconds before the second one.
TRIES, WAIT = 4, 1.0
TIMEOUT = httpx.Timeout(300, connect=10)

TASK = """{question}

Somebody answered:
{answer}

Answer the question again, from the sections alone and as the person would. Leave out what no\
 section says."""

Outcome = Literal["rewritten", "not on the page", "unsupported", "disagrees", "refused", "too long"]
# How vLLM, llama.cpp and OpenAI say that a prompt does not fit.
_TOO_LONG = re.compile(r"context|too (?:long|large)|maximum|max_model_len", re.IGNORECASE)


class TooLong(AskdocsError):
    """The pages are more than the teacher reads."""


@dataclass(frozen=True)
class Teacher:
    """A model behind an OpenAI endpoint."""

    url: str
    """Its base URL, with /v1."""
    model: str
    key: str | None = None
    max_tokens: int = 700
    at_once: int = 4


@dataclass(frozen=True)
class Work:
    """The rows of a file, and what is to become of them."""

    rows: Sequence[tuple[Row, dict[str, Any]]]
    """Each with the fields that it has in the file."""
    asked: Sequence[int]
    """Places of the rows that the teacher is asked about."""
    supports: Mapping[int, Support]
    """By place: of rows with an answer and a page."""
    excerpts: Mapping[int, Sequence[Excerpt]]
    idf: Idf

    def counts(self) -> dict[str, int]:
        """The rows before anything is rewritten."""
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
    """Read the rows, and find those that their pages do not support; at most `limit` are asked.

    Raises AskdocsError: rows are broken, with file and line.
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
    """What became of each row that was asked about, and its new answer; by place.

    Args:
        work: see `look`.
        teacher: writes the answers.
        scorer: a model that checks them beside the rules.
        journal: file of the teacher's answers so far; it grows by a line for each.
        progress: see `Progress`.

    Raises:
        AskdocsError: the teacher does not answer. What was written until then is kept.
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
    """The rows as they are to be written: rewritten ones in the place of a person's.

    Args:
        teacher: named as their source.
        keep: rows that no page supports stay, as they were.
    """
    rows = []
    for place, (_, fields) in enumerate(work.rows):
        outcome, answer = done.get(place, (None, ""))
        if outcome == "rewritten":
            new = {**fields, "answer": answer, "source": f"{SYNTHETIC}: {teacher}"}
            new |= {"human_answer": fields["answer"], "human_source": fields.get("source", "")}
            new.pop("validated_by", None)  # somebody confirmed another answer
            rows.append(new)
        elif keep or work.supports.get(place) != "unsupported":
            rows.append(fields)
    return rows


def about(original: str, evidence: Evidence) -> float:
    """The share of a person's words that the pages have, each weighed by how rare it is; 0 to 1."""
    weights = evidence.weights(stem_set(original))
    return sum(weights[s] for s in weights.keys() & evidence.stems) / (sum(weights.values()) or 1.0)


def agreement(original: str, answer: str, evidence: Evidence) -> float:
    """How much of its subject an answer shares with a person's question and answer; 0: nothing.

    Words count by how rare they are. What the person said and no page has is not missed. The
    question is part of it, as a person often answers with a link and a sentence.
    """
    person, mine = stem_set(original) | evidence.asked_stems, stem_set(answer)
    weights = evidence.weights(person | mine)

    def weight(stems: Iterable[str]) -> float:
        return sum(weights[stem] for stem in stems)

    return weight(person & mine) / ((weight(person & evidence.stems) * weight(mine)) ** 0.5 or 1.0)


async def _answered(
    work: Work, teacher: Teacher, scorer: Scorer | None, answer_journal: "Journal"
) -> AsyncGenerator[tuple[int, tuple[Outcome, str]], None]:
    """The outcomes, as they come; at most `teacher.at_once` at the same time."""
    headers = {"Authorization": f"Bearer {teacher.key}"} if teacher.key else {}
    headers["Connection"] = "close"  # llama.cpp announces keep-alive and closes all the same
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
    why = ""
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(WAIT * 2 ** (attempt - 1))
        try:
            reply = await http.post(url, json=body)
        except httpx.InvalidURL as error:
            why = f"is no address ({error})"
            break
        except httpx.HTTPError as error:
            why = f"does not answer ({type(error).__name__}: {error})"
            continue
        if reply.status_code == 200:
            try:
                return str(reply.json()["choices"][0]["message"]["content"] or "")
            except (ValueError, KeyError, IndexError, TypeError):
                raise AskdocsError(f"{url}: answers with no chat completion") from None
        why = f"answers {reply.status_code}: {reply.text[:200]}"
        if reply.status_code in (400, 413) and _TOO_LONG.search(reply.text[:2000]):
            raise TooLong(why)
        if reply.status_code not in (408, 409, 429) and reply.status_code < 500:
            break
    raise AskdocsError(f"{url}: {why}: mend it, and run the command again; it goes on from here")


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
    """The teacher's answers, in a file that a killed run leaves whole but for its last line."""

    def __init__(self, file: Path) -> None:
        """Raises AskdocsError: the file is another one."""
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
        """As it is known, or as the teacher gives it now; None: the prompt is too long for it.

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
    """The answers of a file by key. A truncated last line, of a killed run, is cut away."""
    try:
        rows = [json.loads(line) for line in journal.whole(file)]
        if any("outcome" in row for row in rows):
            raise AskdocsError(
                f"{file}: is a journal in an older format, without the teacher's answers: delete"
                " it, and run the command again; its rows are asked for again"
            )
        return {row["key"]: row["said"] for row in rows}
    except (ValueError, KeyError, TypeError):
        raise AskdocsError(f"{file}: is no journal of `dataset ground`: move it away") from None
