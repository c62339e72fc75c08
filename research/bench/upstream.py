"""The fake engine of the benchmark: fixed answers of 20 chunks, as fast as Python can.

    python -m research.bench.upstream --port 9000 [--gap 0.02] [--chunks 20] [--apart]

Without `--gap`, the chunks of a stream follow each other at once, each in its own system call; a
busy proxy may read several together. `--apart` serves other connections between two chunks. With
`--gap`, chunks are that many seconds apart, and each contains the clock reading at its writing, in
nanoseconds.
"""

import argparse
import asyncio
import json
import time

import uvloop

from research.bench.wire import Connection, chunk, whole

MODEL = "bench"
CONTENT = " token"
_COMMON = {"id": "chatcmpl-bench", "created": 1700000000, "model": MODEL}


def _event(choices: list[object], **more: object) -> bytes:
    data = {**_COMMON, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


class Answers:
    """The engine's answers, rendered once."""

    def __init__(self, chunks: int) -> None:
        usage = {"prompt_tokens": 12, "completion_tokens": chunks, "total_tokens": 12 + chunks}
        message = {"role": "assistant", "content": CONTENT * chunks}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.plain = whole(
            {**_COMMON, "object": "chat.completion", "choices": [choice], "usage": usage}
        )
        first = chunk(_delta({"role": "assistant", "content": CONTENT}))
        middle = chunk(_delta({"content": CONTENT}))
        last = chunk(_delta({"content": CONTENT}, "stop"))
        self.chunks = [first, *[middle] * (chunks - 2), last]
        self.usage = chunk(_event([], usage=usage))
        self.end = chunk(b"data: [DONE]\n\n")
        model = {"id": MODEL, "object": "model", "created": 0, "max_model_len": 8192}
        self.models = whole({"object": "list", "data": [model]})
        before, after = _delta({"content": "@"}).split(b"@")
        self.stamped = (before, after)


class Engine(Connection):
    """A connection to the fake engine."""

    def __init__(self, answers: Answers, gap: float, apart: bool) -> None:
        super().__init__()
        self._answers = answers
        self._gap = gap
        self._apart = apart

    def answer(self, url: bytes, body: bytes) -> None:
        usage = b'"include_usage"' in body
        if b"/completions" not in url:
            self.end(self._answers.models)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self.end(self._answers.plain)
        else:
            self.begin()
            if self._gap or self._apart:
                self._step(0, self.loop.time(), usage)
                return
            for data in self._answers.chunks:
                self.write(data)
            self._last(usage)

    def _last(self, usage: bool) -> None:
        if usage:
            self.write(self._answers.usage)
        self.last(self._answers.end)

    def _step(self, index: int, began: float, usage: bool) -> None:
        """Write a chunk, and schedule the next."""
        if not self.is_open:
            return
        if index == len(self._answers.chunks):
            self._last(usage)
            return
        if self._gap:
            before, after = self._answers.stamped
            data = chunk(b"%b%d%b" % (before, time.monotonic_ns(), after))
            due = began + (index + 1) * self._gap
            self.loop.call_at(due, self._step, index + 1, began, usage)
        else:
            data = self._answers.chunks[index]
            self.loop.call_soon(self._step, index + 1, began, usage)
        self.write(data)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between chunks")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--apart", action="store_true", help="one chunk per turn of the event loop")
    options = parser.parse_args()
    answers = Answers(options.chunks)
    server = await asyncio.get_running_loop().create_server(
        lambda: Engine(answers, options.gap, options.apart), "127.0.0.1", options.port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
