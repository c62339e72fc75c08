"""A stand-in for vLLM on a GPU: it answers as slowly as an A10G does, and computes nothing.

    python -m research.bench.gpu --port 9000

It implements the part of vLLM's HTTP API that the gateway uses. Each request is answered at the
published rates of a busy GPU (eval/report/prices.toml): a prompt outside the prefix cache is read
at 2,400 tokens/s, then a token comes every 29 ms, which is 490 tokens/s with 14 streams. So 50
answers per second of 200 tokens each need about twenty A10Gs, and that many are simulated: with
each step a GPU writes one token of each of its answers.

The answer is the page in the prompt, word by word from its beginning, so that it passes the
gateway's check; without a page it repeats one word. The number at the end of the question,
`(4711)`, determines how long everything takes. `GET /log` returns these times by number, and clears
them.
"""

import argparse
import asyncio
import math
import random
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import cycle, islice

import orjson
import uvloop

from gateway.answering.grounding.prompt import PAGE
from research.bench.upstream import MODEL
from research.bench.wire import Connection, chunk, whole

PROMPT = 1200  # tokens: a page and the rest of the prompt
READ = 2400.0  # prompt tokens per second
BEGIN_S = 0.04  # until the first token if the whole prompt is cached
CACHED = 0.5  # share of questions whose page is cached
GAP_S = 0.029  # between two tokens
GPUS = 20
LEAST, MOST = 120, 280  # tokens of an answer: 200 on average
CONTEXT = 32_768

_NUMBER = re.compile(r"\((\d+)\)\W*$")
_TOKEN = re.compile(r"(?<!\s)\s*+\S+")


@dataclass(frozen=True)
class Timing:
    """Seconds from a request to the parts of its answer, if nothing is late."""

    token: float
    """The first token."""
    last: float

    def later(self, seconds: float) -> "Timing":
        return Timing(self.token + seconds, self.last + seconds)


@dataclass(frozen=True)
class PlannedAnswer:
    """An answer."""

    tokens: list[str]
    timing: Timing


def plan(messages: list[dict[str, str]], gap: float = GAP_S) -> tuple[int, PlannedAnswer]:
    """The number of the question, and its answer or its continuation of a given beginning."""
    beginning = ""
    if messages[-1]["role"] == "assistant":
        *messages, last = messages
        beginning = str(last["content"])
    question = str(messages[-1]["content"])
    number_match = _NUMBER.search(question)
    number = int(number_match[1]) if number_match else -1
    chance = random.Random(number)  # noqa: S311
    begin = BEGIN_S if chance.random() < CACHED else BEGIN_S + PROMPT / READ
    length = chance.randint(LEAST, MOST)
    page = PAGE.search("\n".join(str(message["content"]) for message in messages))
    # Alternate words: LiteLLM takes a token repeated a hundred times for a broken model.
    words = (match[0] for match in _TOKEN.finditer(page[1])) if page else cycle((" a", " token"))
    tokens = list(islice(words, length))
    while beginning and tokens[1:]:  # at least the last token must be written
        beginning = beginning.removeprefix(tokens.pop(0))
    timing = Timing(begin, begin + (len(tokens) - 1) * gap)
    return number, PlannedAnswer(tokens, timing)


class Card:
    """A GPU: each of its steps gives every answer its next token."""

    def __init__(self, gap: float, phase: float) -> None:
        """Steps are `gap` seconds apart, offset by `phase` seconds from those of the first GPU."""
        self.gap = gap
        self._phase = phase
        self._loop = asyncio.get_running_loop()
        self._answers: list[tuple[float, Iterator[None]]] = []

    def add(self, ready: float, tokens: Iterator[None]) -> float:
        """Begin an answer at the first step from `ready` on; returns that time."""
        if not self._answers:
            soon = self._from(self._loop.time())
            self._loop.call_at(soon, self._step, soon)
        first = self._from(ready)
        self._answers.append((first, tokens))
        return first

    def _from(self, moment: float) -> float:
        """The time of the first step from this moment on."""
        return self._phase + math.ceil((moment - self._phase) / self.gap) * self.gap

    def _step(self, moment: float) -> None:
        soon = moment + self.gap / 2
        self._answers = [
            (first, tokens)
            for first, tokens in self._answers
            if first > soon or next(tokens, self) is None
        ]
        if self._answers:
            self._loop.call_at(moment + self.gap, self._step, moment + self.gap)


class Gpu(Connection):
    """A connection."""

    def __init__(self, log: dict[int, Timing], cards: list[Card]) -> None:
        super().__init__()
        self._log = log
        self._cards = cards
        self._gap = cards[0].gap

    def answer(self, url: bytes, body: bytes) -> None:
        if url == b"/log":
            self.end(whole({number: astuple(timing) for number, timing in self._log.items()}))
            self._log.clear()
        elif url == b"/tokenize":
            text = orjson.loads(body).get("prompt")
            # Counts instead of tokens: the gateway uses this to tell vLLM from llama.cpp.
            count = PROMPT if text is None else len(str(text)) // 4
            self.end(whole({"count": count, "max_model_len": CONTEXT}))
        elif not url.endswith(b"/completions"):
            model = {"id": MODEL, "object": "model", "created": 0, "max_model_len": CONTEXT}
            self.end(whole({"object": "list", "data": [model]}))
        else:
            self._complete(orjson.loads(body))

    def _complete(self, request: dict[str, object]) -> None:
        messages = request["messages"]
        assert isinstance(messages, list)
        number, planned = plan(messages, self._gap)
        if not request.get("stream"):
            if number >= 0:
                self._log[number] = planned.timing
            self.loop.call_later(planned.timing.last, self._whole, planned)
            return
        self.begin()
        wish = request.get("stream_options")
        wish = wish if isinstance(wish, dict) else {}
        how = (
            bool(request.get("logprobs")),
            bool(wish.get("include_usage")),
            bool(wish.get("continuous_usage_stats")),
        )
        began = self.loop.time()
        first = self._cards[number % len(self._cards)].add(
            began + planned.timing.token, self._tokens(planned.tokens, *how)
        )
        if number >= 0:
            self._log[number] = planned.timing.later(first - began - planned.timing.token)

    def _tokens(
        self, tokens: list[str], logprobs: bool, usage: bool, continuous: bool
    ) -> Iterator[None]:
        """Write a token whenever the next is requested."""
        for index, token in enumerate(tokens):
            if not self.is_open:
                return
            is_last = index == len(tokens) - 1
            self.write(_chunk(token, is_last, logprobs, index + 1 if continuous else None))
            if not is_last:
                yield
        if usage:
            data = {**_STREAM, "choices": [], "usage": _usage(len(tokens))}
            self.write(chunk(b"data: %b\n\n" % orjson.dumps(data)))
        self.last(_DONE)

    def _whole(self, planned: PlannedAnswer) -> None:
        if not self.is_open:
            return
        message = {"role": "assistant", "content": "".join(planned.tokens)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = _usage(len(planned.tokens))
        kind = {"object": "chat.completion"}
        self.end(whole({**_STREAM, **kind, "choices": [choice], "usage": usage}))


_STREAM = {
    "id": "chatcmpl-bench",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": MODEL,
}
_DONE = chunk(b"data: [DONE]\n\n")


def _chunk(token: str, is_last: bool, logprobs: bool, tokens: int | None) -> bytes:
    """A token in vLLM's format."""
    usage = b',"usage":%b' % orjson.dumps(_usage(tokens)) if tokens is not None else b""
    return chunk(b"data: %b%b}\n\n" % (_token_json(token, is_last, logprobs), usage))


@lru_cache(maxsize=10_000)
def _token_json(token: str, is_last: bool, logprobs: bool) -> bytes:
    """The JSON of a token without its end, which is the same in every answer."""
    logprobs_of_token = None
    if logprobs:
        entry = {"token": token, "logprob": -0.1, "bytes": list(token.encode())}
        logprobs_of_token = {"content": [{**entry, "top_logprobs": [entry]}]}
    choice = {
        "index": 0,
        "delta": {"content": token},
        "logprobs": logprobs_of_token,
        "finish_reason": "stop" if is_last else None,
        "token_ids": None,
    }
    return orjson.dumps({**_STREAM, "choices": [choice]})[:-1]


def _usage(tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT,
        "total_tokens": PROMPT + tokens,
        "completion_tokens": tokens,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gap", type=float, default=GAP_S, help="seconds between two tokens")
    options = parser.parse_args()
    log: dict[int, Timing] = {}
    cards = [Card(options.gap, number * options.gap / GPUS) for number in range(GPUS)]
    server = await asyncio.get_running_loop().create_server(
        lambda: Gpu(log, cards), "127.0.0.1", options.port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
