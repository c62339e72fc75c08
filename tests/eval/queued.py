"""A gateway with a queue of replies, on a real socket: each request takes the next one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.speaking import Handler, serving


class Reply(NamedTuple):
    """What a request gets."""

    chunks: Sequence[dict[str, Any]] = ()
    """Of a stream, which breaks off after them where none ends it."""
    status: int = 200
    body: str = ""
    """Where the status is no success."""


def words(*texts: str, **more: Any) -> list[dict[str, Any]]:
    """A stream that says these, the last one with the fields of `more`."""
    said = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    ended: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 40, "completion_tokens": len(texts)}
    return [*said, {"choices": [ended], **more}, {"choices": [], "usage": usage}]


class Queued(ThreadingHTTPServer):
    """The gateway."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        """Bodies and headers, in their order."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(Handler):
    server: Queued

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((body, dict(self.headers)))
        reply = self.server.replies.pop(0)
        if reply.status != 200:
            self.send(reply.status, reply.body.encode())
            return
        self.stream()
        for chunk in reply.chunks:
            self.event(chunk)
        if reply.chunks and "usage" in reply.chunks[-1]:
            self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")


@contextmanager
def queued(*replies: Reply) -> Iterator[Queued]:
    """Started, and stopped at the end."""
    with serving(Queued(replies)) as server:
        yield server
