"""An engine that dies in the middle of its answer at a signal, and goes on with begun ones.

It speaks as llama.cpp or as vLLM does, on a real socket. A real engine cannot be made to die at a
certain byte.
"""

import json
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any, Literal

from tests.speaking import Handler, serving

ANSWER = "Ça va: 🙂\n\n- one\n- two words\n\nThat is all."
LONG = " ".join(f"word{number}" for number in range(900))
PROMPT = 10  # tokens, whatever is asked
AWAY = 1.5  # seconds
Way = Literal["cut", "end", "error", "odd", "away"]


def tokens(text: str) -> list[str]:
    return re.findall(r"\s+|\S+", text)


class Dying(ThreadingHTTPServer):
    """`deaths` says, for one request after the other, after how many tokens it dies and how."""

    daemon_threads = True

    def __init__(self, kind: str, trims: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = kind
        self.trims = trims
        """Does its chat template trim messages?"""
        self.deaths: list[tuple[int, Way]] = []
        self.asked: list[dict[str, Any]] = []
        self.away = 0.0
        """Until then no connection gets an answer."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: object) -> None:
        pass  # its own deaths


class _Handler(Handler):
    server: Dying

    def handle(self) -> None:
        if time.monotonic() > self.server.away:
            super().handle()

    def do_GET(self) -> None:
        model = {"id": "base", "max_model_len": 8192}
        self.json(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/tokenize":
            self._tokenize(body)
            return
        self.server.asked.append(body)
        said, answer = self._begun(body)
        assert answer.startswith(said), said
        rest = tokens(answer[len(said) :])
        self._answer(body, len(tokens(said)), rest)

    def _tokenize(self, body: dict[str, Any]) -> None:
        if self.server.kind == "llama.cpp" and "content" in body:
            self.json(200, {"tokens": [1] * len(tokens(body["content"]))})
        elif self.server.kind == "vllm" and "prompt" in body:
            self.json(200, {"count": len(tokens(body["prompt"]))})
        else:
            self.json(400, {})

    def _begun(self, body: dict[str, Any]) -> tuple[str, str]:
        """What it is given of its answer, and all of that."""
        if "prompt" in body:
            return body["prompt"].removeprefix("Say:"), ANSWER
        *_, asked = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = ""
        if body["messages"][-1]["role"] == "assistant":
            said = body["messages"][-1]["content"]
            assert said.strip()
            is_vllm = self.server.kind == "vllm"
            assert body.get("continue_final_message", False) is is_vllm
            assert body.get("add_generation_prompt", True) is not is_vllm
        return said.strip() if self.server.trims else said, LONG if asked.endswith(
            "long"
        ) else ANSWER

    def _answer(self, body: dict[str, Any], before: int, rest: list[str]) -> None:
        after, way = self.server.deaths.pop(0) if self.server.deaths else (len(rest) + 9, "end")
        is_chat = "messages" in body
        number = len(self.server.asked)
        kind = "chat.completion.chunk" if is_chat else "text_completion"
        head = {"id": f"{self.server.server_port}-{number}", "object": kind, "created": number}
        head["model"] = "base"
        reason = "stop" if len(rest) <= body["max_tokens"] else "length"
        rest = rest[: body["max_tokens"]]
        told: list[Any] = [{"role": "assistant", "content": ""}] if is_chat else []
        told += [{"content": token} for token in rest] if is_chat else rest
        events: list[dict[str, Any]] = []
        for one in [*told, {} if is_chat else ""]:
            choice = {"index": 0, "delta" if is_chat else "text": one, "finish_reason": None}
            events.append({**head, "choices": [choice]})
        events[-1]["choices"][0]["finish_reason"] = reason
        usage = {"prompt_tokens": PROMPT + before, "completion_tokens": len(rest)}
        usage["total_tokens"] = sum(usage.values())
        events.append({**head, "choices": [], "usage": usage})
        self.stream()
        # The role is told before the first token, and the end after the last.
        for event in events[: after + 1]:
            self.chunk(_bytes(event))
        if after + 1 >= len(events):
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        elif way in ("cut", "away"):
            # In the middle of a character, where there is one of several bytes.
            data = _bytes(events[after + 1])
            odd = next((place for place, byte in enumerate(data) if byte > 127), len(data) // 2)
            self.chunk(data[: odd + 1])
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.server.away = time.monotonic() + AWAY * (way == "away")
        elif way == "odd":  # no OpenAI event, and the answer goes on
            self.event({**head, "choices": None})
            for event in events[after + 1 :]:
                self.chunk(_bytes(event))
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        elif way == "error":
            self.event({"error": {"message": "EngineCore is dead", "code": 500}})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        else:
            self.chunk(b"")


def _bytes(event: dict[str, Any]) -> bytes:
    said = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + said.encode() + b"\n\n"


@contextmanager
def dying(kind: str, *, trims: bool = False) -> Iterator[Dying]:
    with serving(Dying(kind, trims)) as server:
        yield server
