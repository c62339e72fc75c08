"""Requests with random arrival times, whether or not earlier questions are answered.

    python -m askdocs.capacity.arrivals --url http://127.0.0.1:4000/v1 --model docs --rate 5 \
        --seconds 20 --questions FILE.json [--box http://127.0.0.1:8080] [--first 1]

Arrivals are a Poisson process. Times count from when a question was due, even if this program was
late: otherwise a stalling system would get fewer questions meanwhile
(https://github.com/giltene/wrk2#acknowledgements, "coordinated omission"). The key comes from the
environment variable BENCH_KEY. With `--box` questions go through the widget as from its page: the
form, then the stream of events. Every question uses its own connection, as readers do, and ends
with its number, `(4711)`. Prints one line of JSON, and every ten seconds a line on stderr.
"""

import argparse
import asyncio
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlencode, urlsplit

import httptools
import uvloop

PATIENCE_S = 60.0  # for one answer
MOST_OPEN = 4000  # unfinished questions at which asking more is pointless
TOLD_S = 10.0
RENEWED_S = 60.0  # a box fetches a new token well before the old one expires

State = Literal["answered", "refused", "failed"]

# Of an OpenAI stream, and of the box.
_WORDS = re.compile(rb'"content":\s?"[^"]|^event: answer', re.MULTILINE)
_EVENTS = re.compile(rb"asks/([\w-]+)/events")


class QuestionFailed(Exception):
    """A question without a complete answer."""


class Call(asyncio.Protocol):
    """A reader's connection: one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[int] | None = None
        self._heard: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def request(self, data: bytes, heard: Callable[[bytes], None]) -> int:
        """Send a request; `heard` receives the parts of the body. Returns the status.

        Raises QuestionFailed.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._heard = heard
        self._waiting = self._loop.create_future()
        self.transport.write(data)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._waiting
        except TimeoutError:
            raise QuestionFailed(f"not finished after {PATIENCE_S:.0f} s") from None
        finally:
            self._waiting = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def on_body(self, body: bytes) -> None:
        if self._heard:
            self._heard(body)

    def on_message_complete(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was closed: {exc!r}")

    def _fail(self, why: str) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(QuestionFailed(why))


@dataclass
class Heard:
    """The received part of an answer."""

    keep: int = 4096
    tail: bytes = b""
    """The last bytes, at most `keep`."""
    status: int = 0
    first: float | None = None
    """Clock reading at the first token."""
    ended: bool = False
    refused: bool = False

    def part(self, data: bytes) -> None:
        seen = self.tail[-32:] + data  # a marker may be split
        if self.first is None and _WORDS.search(seen):
            self.first = time.perf_counter()
        self.ended = self.ended or b"[DONE]" in seen or b"event: done" in seen
        self.refused = (
            self.refused or b'"refused":true' in seen or b'<div class="note refusal">' in seen
        )
        self.tail = (self.tail + data)[-self.keep :]

    @property
    def state(self) -> State:
        """Raises QuestionFailed: the answer is incomplete."""
        if self.status != 200 or not self.ended:
            raise QuestionFailed(f"{self.status}: {self.tail[-400:]!r}")
        return "refused" if self.refused else "answered"


@dataclass
class QuestionTally:
    """The outcomes of all questions."""

    answers: list[tuple[int, State, float, float]] = field(default_factory=list)
    """Number, state, and seconds until the first token and the end."""
    late: list[float] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    error: str = ""


class Api:
    """Asks an OpenAI-compatible endpoint."""

    def __init__(self, url: str, model: str, key: str, tokens: int | None = None) -> None:
        """`tokens`: the length of every answer; otherwise slow answers are mostly long ones."""
        parts = urlsplit(url)
        self.place = (parts.hostname or "", parts.port or 80)
        self._body = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({} if tokens is None else {"max_tokens": tokens, "ignore_eos": True}),
        }
        self._head = (
            f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        )

    async def ask(self, call: Call, question: str, number: int, heard: Heard) -> State:
        """Raises QuestionFailed."""
        body = {**self._body, "messages": [{"role": "user", "content": question}]}
        heard.status = await call.request(_posted(self._head, json.dumps(body)), heard.part)
        return heard.state


class Box:
    """Asks the widget, like its page."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.place = (parts.hostname or "", parts.port or 80)
        self._host = parts.netloc
        self._token = ""
        self._fetched = -RENEWED_S

    async def ask(self, call: Call, question: str, number: int, heard: Heard) -> State:
        """Raises QuestionFailed."""
        form = urlencode({"question": question, "token": await self._fresh(call)})
        page = Heard(keep=65536)
        page.status = await call.request(self._post("/asks", form, number), page.part)
        match = _EVENTS.search(page.tail)
        if page.status != 200 or not match:
            raise QuestionFailed(f"{page.status}: {page.tail[-400:]!r}")
        lines = f"GET /asks/{match[1].decode()}/events HTTP/1.1\r\nhost: {self._host}\r\n\r\n"
        heard.status = await call.request(lines.encode(), heard.part)
        return heard.state

    async def _fresh(self, call: Call) -> str:
        if time.perf_counter() - self._fetched > RENEWED_S:
            self._fetched = time.perf_counter()
            got = Heard()
            await call.request(self._post("/token", "page=", 0), got.part)
            try:
                self._token = json.loads(got.tail)["token"]
            except (ValueError, KeyError):
                raise QuestionFailed(f"no token: {got.tail[-400:]!r}") from None
        return self._token

    def _post(self, path: str, form: str, number: int) -> bytes:
        # The widget limits visitors, and these are many.
        visitor = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\nhx-request: true\r\n"
            f"x-forwarded-for: {visitor}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        )
        return _posted(head, form)


def _posted(head: str, body: str) -> bytes:
    return f"{head}content-length: {len(body.encode())}\r\n\r\n{body}".encode()


async def ask_question(
    endpoint: Api | Box, question: str, number: int, due: float, tally: QuestionTally
) -> None:
    """Ask a question that was due at a clock time."""
    tally.open += 1
    tally.most_open = max(tally.most_open, tally.open)
    heard, call = Heard(), None
    try:
        _, call = await asyncio.get_running_loop().create_connection(Call, *endpoint.place)
        state = await endpoint.ask(call, question, number, heard)
    except (QuestionFailed, OSError) as error:
        tally.error = tally.error or f"question {number}: {error}"
        state = "failed"
    finally:
        tally.open -= 1
        if call is not None:
            call.transport.close()
    ended = time.perf_counter()
    tally.answers.append((number, state, (heard.first or ended) - due, ended - due))


async def run(options: argparse.Namespace, headings: list[str]) -> dict[str, object]:
    key = os.environ.get("BENCH_KEY", "none")
    endpoint = (
        Box(options.box) if options.box else Api(options.url, options.model, key, options.tokens)
    )
    chance = random.Random(options.first)  # noqa: S311
    tally = QuestionTally()
    running: set[asyncio.Task[None]] = set()
    began = due = reported = time.perf_counter()
    number = options.first
    while (due := due + chance.expovariate(options.rate)) < began + options.seconds:
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        if due > reported + TOLD_S:
            reported = due
            failed = sum(state == "failed" for _, state, _, _ in tally.answers)
            line = f"{due - began:.0f} s: {number - options.first:,} asked, {tally.open} under way"
            print(f"{line}, {failed} failed", file=sys.stderr, flush=True)
        if tally.open >= MOST_OPEN:
            tally.error = tally.error or f"{MOST_OPEN} questions wait for their answers"
            break
        tally.late.append(time.perf_counter() - due)
        question = f"{chance.choice(headings)} ({number})"
        task = asyncio.create_task(ask_question(endpoint, question, number, due, tally))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
    if running:
        await asyncio.wait(running)
    return {
        "answers": tally.answers,
        "most_open": tally.most_open,
        "late_p99_ms": percentile(tally.late, 0.99) * 1e3,
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time(),
        "error": tally.error,
    }


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie; 0.0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="base URL, with /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rate", type=float, required=True, help="questions a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--questions", required=True, help="file with a JSON list of them")
    parser.add_argument("--box", help="address of a widget, which is asked instead")
    parser.add_argument("--tokens", type=int, help="of each answer, exactly (vLLM, llama.cpp)")
    parser.add_argument("--first", type=int, default=1, help="number of the first question")
    options = parser.parse_args()
    headings = json.loads(Path(options.questions).read_text(encoding="utf-8"))
    print(json.dumps(uvloop.run(run(options, headings))))


if __name__ == "__main__":
    main()
