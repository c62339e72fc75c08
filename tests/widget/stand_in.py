"""A gateway with scripted replies, in the real wire format.

For what real parts cannot be made to do: errors, broken streams, hostile content. `python -m
tests.widget.stand_in PORT` runs one whose answer depends on the question, to look at the box.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp


@dataclass
class Reply:
    """What comes back: a refusal with a status, or a stream of lines with pauses between."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    chunks: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    broken: bool = False  # the connection dies instead of ending


def data(value: object) -> bytes:
    """One event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def chunk(content: str | None, **extra: Any) -> bytes:
    """One chunk of the answer."""
    delta: dict[str, Any] = {} if content is None else {"content": content}
    if annotations := extra.pop("annotations", None):
        delta["annotations"] = annotations
    choice = {"index": 0, "delta": delta, "finish_reason": extra.pop("finish_reason", None)}
    return data(
        {"object": "chat.completion.chunk", "model": "docs@v7", "choices": [choice], **extra}
    )


def reading(*pages: dict[str, Any], seconds: float | None = None) -> bytes:
    """The first chunk: what is read."""
    return data({"choices": [], "askdocs": {"reading": list(pages), "seconds": seconds}})


def answer(
    text: str,
    *,
    model: str = "SmolLM2-135M-Instruct",
    refused: bool = False,
    sources: list[dict[str, Any]] | None = None,
    pages: list[dict[str, Any]] | None = None,
    rests_on: Sequence[tuple[str, str]] = (),
) -> list[bytes]:
    """A whole stream, a chunk for each sentence.

    `rests_on` are parts of the text and the addresses that they rest on, for marks in it.
    """
    sentences = text.replace(". ", ". \0").split("\0")
    outcome = {
        "model": model,
        "refused": refused,
        "sources": sources or [],
        "pages": pages or [],
    }
    return [
        *(chunk(sentence) for sentence in sentences),
        chunk(None, finish_reason="stop", askdocs=outcome, annotations=cited(text, rests_on)),
        b"data: [DONE]\n\n",
    ]


def cited(text: str, rests_on: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """OpenAI's annotations."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": url,
                "start_index": text.index(part),
                "end_index": text.index(part) + len(part),
            },
        }
        for part, url in rests_on
    ]


class StandIn:
    """The gateway. Replies are taken in order; the last one stays."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.began = threading.Event()  # a stream has begun
        self.left = threading.Event()  # somebody closed a stream before its end
        self.votes: list[dict[str, Any]] = []
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/askdocs/vote", self.vote, methods=["POST"]),
            ]
        )

    async def vote(self, request: Request) -> Response:
        """POST /askdocs/vote."""
        self.votes.append(await request.json())
        return JSONResponse({"counted": True})

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        reply = self.choose()
        if reply.status != 200:
            return JSONResponse(reply.body, reply.status, reply.headers)
        return StreamingResponse(self.stream(reply), media_type="text/event-stream")

    def choose(self) -> Reply:
        """The reply to the latest request."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def stream(self, reply: Reply) -> AsyncIterator[bytes]:
        """The reply's chunks."""
        ended = False
        self.began.set()
        try:
            for piece in reply.chunks:
                yield piece
                await asyncio.sleep(reply.pause)
            ended = True
            if reply.broken:
                raise ConnectionAbortedError("as told")
        finally:
            if not ended:
                self.left.set()


@contextmanager
def serve(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve an app in a thread; yields its base URL."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="critical",
        timeout_graceful_shutdown=1,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


QUOTE = """You need Python 3.11 and `make`. Then:

```bash
git clone https://example.org/askdocs && cd askdocs
make run DOCS=./wiki  # any folder of Markdown
```

| port | what |
|---|---|
| 4000 | the gateway |
| 8080 | the box |

See [the configuration](../configuration/) for more."""

TEXT = """To start, run `make run` in the folder. It takes about **two minutes** on two cores. \
It then prints three addresses, a key and a curl line.

1. Open the wiki at port 8000.
2. Press the button. The box opens.

```python
client = OpenAI(base_url="http://127.0.0.1:4000/v1")  # the gateway
print(client.models.list(), 42)
```

Ports can be changed; see [Configuration](https://example.org/configuration/). """


class ByQuestion(StandIn):
    """Says something else to each question, for people who look."""

    def __init__(self, wiki: str) -> None:
        super().__init__(Reply())
        self.wiki = wiki

    def choose(self) -> Reply:
        """A reply by the words in the question."""
        question = self.requests[-1]["messages"][-1]["content"].lower()
        page: dict[str, Any] = {
            "title": "Getting started",
            "url": f"{self.wiki}/start/",
            "tokens": 1204,
        }
        first = reading(page, {"title": "Install", "url": "", "tokens": 300}, seconds=2.6)
        if "busy" in question:
            error = {"message": "x", "type": "rate_limit_error", "code": "429"}
            return Reply(429, {"retry-after": "20"}, {"error": error})
        if "broken" in question:
            return Reply(chunks=[first, chunk("It begins well. ")], pause=0.4, broken=True)
        if "refuse" in question:
            pages = [{"title": "Pricing", "url": f"{self.wiki}/price/"}, page]
            text = "I don't have enough information to answer that."
            return Reply(chunks=[first, *answer(text, refused=True, pages=pages)], pause=0.3)
        sources = [
            {**page, "section": "Install › Linux", "quote": QUOTE, "url": f"{self.wiki}/start/#l"},
            {"title": "Ports", "section": "", "quote": "The box is on 8080.", "url": self.wiki},
        ]
        pause = 1.5 if "slow" in question else 0.25
        rests_on = [(TEXT[: TEXT.index("Ports")], sources[0]["url"]), (TEXT, self.wiki)]
        stream = answer(TEXT, sources=sources, rests_on=rests_on)
        return Reply(chunks=[first, b": hello\n\n", *stream], pause=pause)


if __name__ == "__main__":
    uvicorn.run(ByQuestion("http://127.0.0.1:9402").app, port=int(sys.argv[1]))
