"""An engine whose models have a given quality, to see whether an evaluation measures it.

It speaks HTTP on a real socket, in a thread. What a model knows is decided by the question alone,
whatever stands in the prompt.
"""

import hashlib
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

from gateway.answering.grounding.prompt import REFUSAL
from tests.eval.facts import EVERYWHERE
from tests.speaking import Handler, serving

# No page says so.
WRONG = "Nobody could possibly know, so please look elsewhere tomorrow."


@dataclass(frozen=True)
class Script:
    """What a model says."""

    right: frozenset[str]
    """Questions that it answers as they were answered."""
    refused: frozenset[str] = frozenset()
    """Questions that it refuses."""
    misread: frozenset[str] = frozenset()
    """Questions to which it says what every page says; to all others what no page says."""


def dealt(questions: Sequence[str], seed: str, *shares: float) -> list[frozenset[str]]:
    """Parts of the questions, of exactly these shares, drawn by a seed."""
    ranked = sorted(questions, key=lambda q: hashlib.sha256(f"{seed}:{q}".encode()).digest())
    ends = [round(end * len(ranked)) for end in itertools.accumulate(shares, initial=0)]
    return [frozenset(ranked[start:end]) for start, end in itertools.pairwise(ends)]


class _Handler(Handler):
    server: "Scripted"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            told = self.server.told
            names = dict.fromkeys([*self.server.models, *told])
            models = [{"id": n, "max_model_len": 8192, **told.get(n, {})} for n in names]
            self.json(200, {"object": "list", "data": models})
        else:
            self.json(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            self.json(404, {})
            return
        text = self.server.answer(body["model"], body["messages"])
        head = {"id": "x", "created": 1, "model": body["model"]}
        read = sum(len(str(message["content"]).split()) for message in body["messages"])
        usage = {"prompt_tokens": read, "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            self.json(200, whole)
            return
        self.stream()
        chunk = {**head, "object": "chat.completion.chunk"}
        for word in text.split(" "):
            delta = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
            self.event({**chunk, "choices": [delta]})
        self.event({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.event({**chunk, "choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")


class Scripted(ThreadingHTTPServer):
    """The engine. `counts` says how often each model was asked each question."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, scripts: Mapping[str, Script], answers: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts, self.answers = scripts, answers
        self.models = list(scripts)
        self.told: dict[str, dict[str, Any]] = {}
        """What it lists of models beside their names, as a gateway does."""
        self.counts: dict[tuple[str, str], int] = {}
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: object) -> None:
        pass  # a client that leaves

    def answer(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        last = str(messages[-1]["content"])
        # Longest first, so that no question is taken for another one that it contains.
        asked = next((q for q in sorted(self.answers, key=len, reverse=True) if q in last), None)
        if asked is None:
            return WRONG
        with self._counting:
            self.counts[model, asked] = self.counts.get((model, asked), 0) + 1
        known = self.answers[asked]
        script = self.scripts[model]
        if asked in script.right:
            return known
        if asked in script.refused:
            return REFUSAL
        return EVERYWHERE if asked in script.misread else WRONG


@contextmanager
def scripted(scripts: Mapping[str, Script], answers: Mapping[str, str]) -> Iterator[Scripted]:
    """Served until the end. `answers`: of every question, empty where there is none."""
    with serving(Scripted(scripts, answers)) as server:
        yield server
