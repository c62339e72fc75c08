"""`python -m research.bench writing`: the time that the gateway adds to a capable model's answers.

The recorded writer (writer.py) answers at once, so the difference is the gateway's: search, reading
pages, counting tokens, forwarding, and the check after the last token.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import httpx

from core.errors import AskdocsError
from core.sse import EventReader
from research.bench import systems
from research.bench.systems import SYSTEMS, Started


class WritingTimes(NamedTuple):
    """Seconds of an answer."""

    first: float
    """Until its first token."""
    check: float
    """From its last token to its last chunk, which has the claims."""


@dataclass(frozen=True)
class WritingReport:
    """Medians in milliseconds."""

    answers: int
    writer_first_ms: float
    gateway_first_ms: float
    check_ms: float

    @property
    def added_ms(self) -> float:
        return self.gateway_first_ms - self.writer_first_ms

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "added_ms": self.added_ms}, indent=2)


def run(file: Path, docs: Path, rounds: int, say: Callable[[str], None]) -> WritingReport:
    """Ask the questions of `file` to the writer directly and through the gateway, alternately.

    Raises:
        AskdocsError: the file has no answers, the gateway does not start, or refuses all questions.
    """
    questions = _questions(file)
    gateway = replace(
        next(system for system in SYSTEMS if system.name == "askdocs"),
        model="docs",
        variables={"ASKDOCS_GATEWAY_DOCS": str(docs.absolute())},
    )
    alone: list[WritingTimes] = []
    through: list[WritingTimes] = []
    with systems.engine(str(file.absolute()), module="research.bench.writer") as url:
        writer = Started(url, "writer", "none", None)
        say("starting a gateway before the recorded writer")
        with (
            systems.running(gateway, url, Path()) as started,
            httpx.Client(timeout=60) as http,
        ):
            for number in range(rounds + 1):  # the first round is a warm-up
                say(f"round {number} of {rounds}")
                for question in questions:
                    direct, proxied = ask(http, writer, question), ask(http, started, question)
                    if direct and proxied and number:
                        alone.append(direct)
                        through.append(proxied)
    if not through:
        raise AskdocsError(f"the pages of {docs} answer none of the questions of {file}")
    return WritingReport(
        len(through),
        1000 * statistics.median(times.first for times in alone),
        1000 * statistics.median(times.first for times in through),
        1000 * statistics.median(times.check for times in through),
    )


def table(report: WritingReport) -> str:
    """The report as a table."""
    return (
        f"{report.answers} answers; first token p50: writer {report.writer_first_ms:.1f} ms,"
        f" gateway {report.gateway_first_ms:.1f} ms, added {report.added_ms:.1f} ms;"
        f" last token to last chunk p50 {report.check_ms:.1f} ms"
    )


def ask(http: httpx.Client, of: Started, question: str) -> WritingTimes | None:
    """None: no page answers it. Raises AskdocsError."""
    body = {"model": of.model, "stream": True, "messages": [{"role": "user", "content": question}]}
    headers = {"authorization": f"Bearer {of.key}"}
    began = time.perf_counter()
    first = last = 0.0
    with http.stream("POST", f"{of.url}/chat/completions", json=body, headers=headers) as reply:
        if reply.status_code != 200:
            raise AskdocsError(f"{of.url} answers {reply.status_code}: {reply.read()[:200]!r}")
        reader = EventReader()
        for data in chain.from_iterable(map(reader.feed, reply.iter_bytes())):
            if data == b"[DONE]":
                continue
            chunk = json.loads(data)
            if chunk.get("askdocs", {}).get("reason") == "no_page":
                return None
            if any(choice["delta"].get("content") for choice in chunk.get("choices", [])):
                last = time.perf_counter()
                first = first or last
    return WritingTimes(first - began, time.perf_counter() - last) if first else None


def _questions(file: Path) -> list[str]:
    """The distinct questions. Raises AskdocsError."""
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        questions = list(dict.fromkeys(str(row["question"]) for row in rows if row["answer"]))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise AskdocsError(
            f"{file}: is not a file of answers (JSON lines with question and answer): {error!r}"
        ) from None
    if not questions:
        raise AskdocsError(f"{file}: has no answers")
    return questions
