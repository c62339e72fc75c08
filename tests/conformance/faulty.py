"""An engine that answers, refuses, is slow, breaks off, or says nothing or nonsense, by model.

It speaks HTTP on a real socket, in a thread. A real engine cannot be made to fail on demand.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from tests.speaking import Handler, serving

MODELS = ("fine", "refusing", "busy", "slow", "breaking", "silent", "endless", "odd")


class _Handler(Handler):
    def do_GET(self) -> None:
        if self.path == "/v1/models":
            models = [{"id": name, "max_model_len": 8192} for name in MODELS]
            self.json(200, {"object": "list", "data": models})
        else:
            self.json(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.startswith("/v1/"):
            self.json(404, {})
            return
        model = body["model"]
        asked: list[str] = self.server.asked  # type: ignore[attr-defined]
        asked.append(model)
        if model == "refusing":
            self.json(500, {"error": {"message": "out of memory", "type": "server_error"}})
        elif model == "busy":
            self.json(429, {"error": {"message": "queue full", "type": "server_error"}})
        elif model == "silent":
            self.close_connection = True
        elif model == "odd":
            self.send(200, self.server.odd, "application/json")  # type: ignore[attr-defined]
        elif body.get("stream"):
            self._stream(model)
        else:
            if model == "slow":
                time.sleep(5)
            message = {"role": "assistant", "content": "Hello."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.json(200, {**self._head(model, "chat.completion"), "choices": [choice]})

    def _stream(self, model: str) -> None:
        self.stream()
        if model == "slow":
            time.sleep(5)
        for part in ("Hel",) * 10_000 if model == "endless" else ("Hel", "lo."):
            delta = {"index": 0, "delta": {"content": part}, "finish_reason": None}
            self.event({**self._head(model, "chat.completion.chunk"), "choices": [delta]})
            if model == "endless":
                time.sleep(0.1)
            if model == "breaking":
                time.sleep(0.1)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        head = self._head(model, "chat.completion.chunk")
        self.event({**head, "choices": [last]})
        self.event({**head, "choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def _head(self, model: str, kind: str) -> dict[str, object]:
        return {"id": "x", "object": kind, "created": 1, "model": model}


class Faulty(ThreadingHTTPServer):
    """`asked` lists the models that were asked, in order."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.odd = b""
        """The answer of the model of this name."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: object) -> None:
        pass  # a client that leaves is part of the tests


@contextmanager
def faulty() -> Iterator[Faulty]:
    with serving(Faulty()) as server:
        yield server


@contextmanager
def black_hole() -> Iterator[str]:
    """A base URL whose host takes no connection and refuses none, like one that lost its power."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(address)
        try:
            yield f"http://127.0.0.1:{address[1]}/v1"
        finally:
            for one in fill:
                one.close()
