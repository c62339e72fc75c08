"""A judge behind a real OpenAI endpoint, whose taste is known."""

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from tests.speaking import Handler, serving

UNSUPPORTED = "Unsupported parameter: '%s' is not supported with this model."


class Endpoint(ThreadingHTTPServer):
    """A judge that takes an answer for right that holds `right`; and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.right = "F5"
        self.status = 200
        self.refusing: list[int] = []
        """The status of each of the next requests."""
        self.unsupported: tuple[str, ...] = ()
        """Parameters that it refuses, in OpenAI's words."""
        self.says: dict[str, dict[str, Any]] = {}
        """Of an answer the whole choice, in place of its own."""
        self.thinks = False
        """Its thoughts take all the tokens that a request allows."""
        self.hangs: list[threading.Event] = []
        """Each of the next requests waits for one of these."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(Endpoint()) as server:
        yield server


class _Handler(Handler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        if self.server.refusing:
            self.send_error(self.server.refusing.pop(0))
            return
        if self.server.hangs:
            self.server.hangs.pop(0).wait(30)
        for name in self.server.unsupported:
            if name in body:
                self.json(400, {"error": {"message": UNSUPPORTED % name, "param": name}})
                return
        given = json.loads(body["messages"][1]["content"])["answer"]
        if choice := self.server.says.get(given):
            self.json(200, {"choices": [choice]})
            return
        if self.server.thinks and "max_tokens" in body:
            cut = {"message": {"content": "<think>Is it?"}, "finish_reason": "length"}
            self.json(200, {"choices": [cut]})
            return
        reply = json.dumps({"correct": self.server.right in given, "reason": 'It says "so".'})
        text = "I cannot say." if "mumble" in given else f"```json\n{reply}\n```"
        self.json(self.server.status, {"choices": [{"message": {"content": text}}]})
