"""A recorded writer: an engine that answers from a file, as a capable model wrote the answers.

    python -m research.bench.writer ANSWERS.jsonl --port 9000 [--gap 0.02]

It serves `/v1/models` and `/v1/chat/completions`, streamed or whole. The answer comes from the row
whose `question` is the user's last message, or whose `id` the message contains; unknown questions
get 404. With a `response_format` the answer is the row's `json`. Each word is a token. `--gap` is
the time between two tokens, in seconds.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvloop

from research.bench.wire import Connection, chunk, whole

MODEL = "writer"
CONTEXT = 16_384
_COMMON = {"id": "chatcmpl-recorded", "created": 1700000000, "model": MODEL}
_TOKEN = re.compile(r"\s*\S+|\s+$")


class Recorded:
    """The answers of a file, by question and by id."""

    def __init__(self, file: Path) -> None:
        self._by_question: dict[str, dict[str, Any]] = {}
        self._by_id: dict[str, dict[str, Any]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            self._by_question.setdefault(row["question"].strip(), row)
            if "id" in row:
                self._by_id[row["id"]] = row

    def answer(self, request: Mapping[str, Any]) -> str | None:
        """The recorded answer to the request's question."""
        messages = request.get("messages") or [{}]
        question = str(messages[-1].get("content", "")).strip()
        named = re.search(r"\[([\w-]+)\]$", question)
        row = self._by_id.get(named[1]) if named else None
        row = row or self._by_question.get(question)
        if row is None:
            return None
        kind = (request.get("response_format") or {}).get("type", "text")
        return str(row["answer"] if kind == "text" else row["json"])


def tokens(text: str) -> list[str]:
    """The text in words, each with its preceding white space."""
    return _TOKEN.findall(text)


class Writer(Connection):
    """A connection to the writer."""

    def __init__(self, recorded: Recorded, gap: float) -> None:
        super().__init__()
        self._recorded = recorded
        self._gap = gap

    def answer(self, url: bytes, body: bytes) -> None:
        if b"/chat/completions" not in url:
            model = {"id": MODEL, "object": "model", "created": 0, "max_model_len": CONTEXT}
            self.end(whole({"object": "list", "data": [model]}))
            return
        request = json.loads(body)
        text = self._recorded.answer(request)
        if text is None:
            error = {"message": "no recorded answer to this question", "type": "not_found"}
            reply = whole({"error": error})
            self.end(reply.replace(b"200 OK", b"404 Not Found", 1))
            return
        answer_tokens = tokens(text)
        usage = {
            "prompt_tokens": len(body) // 4,
            "completion_tokens": len(answer_tokens),
            "total_tokens": len(body) // 4 + len(answer_tokens),
        }
        if request.get("stream"):
            self.begin()
            wanted = (request.get("stream_options") or {}).get("include_usage")
            self._step(_events(answer_tokens, usage if wanted else None))
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.end(
                whole({**_COMMON, "object": "chat.completion", "choices": [choice], "usage": usage})
            )

    def _step(self, events: Iterator[bytes]) -> None:
        """Write an event, and schedule the next."""
        if not self.is_open:
            return
        event = next(events, None)
        if event is None:
            self.last(b"")
            return
        self.write(chunk(event))
        if self._gap:
            self.loop.call_later(self._gap, self._step, events)
        else:
            self.loop.call_soon(self._step, events)


def _events(answer_tokens: list[str], usage: dict[str, int] | None) -> Iterator[bytes]:
    yield _event([_choice({"role": "assistant", "content": ""})])
    for token in answer_tokens:
        yield _event([_choice({"content": token})])
    yield _event([_choice({}, "stop")])
    if usage:
        yield _event([], usage=usage)
    yield b"data: [DONE]\n\n"


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    data = {**_COMMON, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="rows with question and answer")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gap", type=float, default=0.0, help="seconds between tokens")
    options = parser.parse_args()
    recorded = Recorded(options.file)
    server = await asyncio.get_running_loop().create_server(
        lambda: Writer(recorded, options.gap), "127.0.0.1", options.port, backlog=2048
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
