"""What one answer costs the widget: milliseconds of CPU for a question.

    python research/timings/box_cpu.py --questions 96

Readers ask the box one after the other, eight at a time, and follow the events. A stand-in for the
gateway answers each from a page of its own: 200 words of `docs/`, a sentence every 0.15 s, then the
outcome with a source. CPU time counts, not time, so that a busy machine changes little; and the
first eight questions do not, with which the widget warms up. What the review does with the
questions when nobody asks any more is counted apart.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from askdocs.capacity.arrivals import Box, QuestionTally, ask_question
from askdocs.supervision.checks import free_port
from gateway.answering.grounding.sentences import first
from tests.widget.stand_in import chunk, cited, reading
from widget.review.keeper import LOOK

DOCS = Path(__file__).parents[2] / "docs"
WORDS = 200
PAUSE = 0.15  # seconds between two sentences; the box draws a growing answer every 0.1 s
AT_ONCE = 8
SORTING = 5.0  # seconds that all of the questions may take, with the loading of the embedder


def answers() -> Iterator[list[bytes]]:
    """A stream from each page that is long enough, and from the first one again after the last."""
    pages = sorted(DOCS.rglob("*.md"))
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        words = [match[0] for match in re.finditer(r"\s*\S+", text)]
        if len(words) > WORDS:
            found.append(_stream(page.stem, text, "".join(words[:WORDS])))
    while True:
        yield from found


def _stream(name: str, page: str, text: str) -> list[bytes]:
    address = f"http://127.0.0.1:8000/{name}/"
    sentences, rest = [], text
    while sentence := first(rest):
        sentences.append(sentence)
        rest = rest.removeprefix(sentence)
    sentences.append(rest)
    said = [part.strip() for part in sentences if part.strip()]
    source = {"title": name, "section": "First", "url": f"{address}#first", "quote": page[:2000]}
    outcome: dict[str, Any] = {
        "model": "Qwen3-4B",
        "refused": False,
        "confidence": 0.2,  # so that the review takes it up
        "sources": [source],
        "pages": [{"title": name, "url": address}],
    }
    rests_on = [(part, source["url"]) for part in (said[0], said[-1])]
    return [
        reading({"title": name, "url": address, "tokens": 900}),
        *(chunk(sentence) for sentence in sentences),
        chunk(None, finish_reason="stop", askdocs=outcome, annotations=cited(text, rests_on)),
        b"data: [DONE]\n\n",
    ]


def gateway() -> Starlette:
    """Answers from one page after the other."""
    pages = answers()

    async def events() -> AsyncIterator[bytes]:
        for event in next(pages):
            yield event
            await asyncio.sleep(PAUSE)

    async def complete(request: Request) -> Response:
        await request.body()
        return StreamingResponse(events(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


async def ask(box: Box, numbers: list[int], tally: QuestionTally) -> None:
    """Ask these questions, so many at a time."""
    waiting = iter(numbers)

    async def reader() -> None:
        for number in waiting:
            await ask_question(
                box, f"How is it done? ({number})", number, time.perf_counter(), tally
            )

    await asyncio.gather(*(reader() for _ in range(AT_ONCE)))


async def measure(questions: int, port: int, url: str, widget: psutil.Process) -> None:
    """Serve the stand-in, ask, and print what a question costs."""
    server = uvicorn.Server(uvicorn.Config(gateway(), port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with httpx.AsyncClient() as client:
        for _ in range(300):
            await asyncio.sleep(0.1)
            with suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health")).status_code == 200:
                    break
    box, tally = Box(url), QuestionTally()
    await ask(box, [0], tally)  # fetches the token that all of them send
    await ask(box, list(range(1, AT_ONCE)), tally)
    before = sum(widget.cpu_times()[:2])
    await ask(box, list(range(AT_ONCE, AT_ONCE + questions)), tally)
    answered = sum(widget.cpu_times()[:2])
    await asyncio.sleep(LOOK + SORTING)
    cost, later = (answered - before) / questions, sum(widget.cpu_times()[:2]) - answered
    whole = sum(state == "answered" for _, state, _, _ in tally.answers)
    print(f"questions {questions}, whole answers {whole - AT_ONCE} {tally.error}".rstrip())
    print(f"CPU of the widget: {cost * 1e3:.1f} ms a question")
    print(f"and {later * 1e3 / questions:.1f} ms afterwards, to sort it for the review")
    server.should_exit = True
    await serving


def main() -> None:
    """Start the widget, measure, stop it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=96)
    options = parser.parse_args()
    ports = free_port(), free_port()
    url = f"http://127.0.0.1:{ports[1]}"
    with tempfile.TemporaryDirectory() as home:
        env = {
            **os.environ,
            "ASKDOCS_HOME": home,
            "ASKDOCS_DATABASE_URL": f"sqlite:///{home}/askdocs.db",
            "ASKDOCS_WIDGET_PORT": str(ports[1]),
            "ASKDOCS_WIDGET_GATEWAY_URL": f"http://127.0.0.1:{ports[0]}/v1",
        }
        command = [sys.executable, "-m", "widget"]
        with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as widget:
            try:
                process = psutil.Process(widget.pid)
                asyncio.run(measure(options.questions, ports[0], url, process))
            finally:
                widget.terminate()


if __name__ == "__main__":
    main()
