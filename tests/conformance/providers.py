"""Cohere, Anthropic, and a vLLM that serves a reranker: what they take and answer on the wire.

As https://docs.cohere.com/v2/reference/embed, https://docs.cohere.com/v2/reference/rerank,
https://docs.anthropic.com/en/api/messages, its page about streaming, and vLLM's /v1/rerank
(November 2026). A request that the real one would refuse is refused as it would.
"""

import base64
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from tests.speaking import Handler, serving

KEY = "provider-secret"
SAID = ("Hel", "lo.")
# Words of an answer that each judge takes for right.
TAKES = {"claude": ("Turn the valve", "lever 0.1", "lever 0.2"),
         "gpt": ("Turn the valve", "lever 0.1", "lever 0.2", "lever 0.3")}  # fmt: skip
Body = dict[str, Any]


class _Handler(Handler):
    def do_GET(self) -> None:
        self.server.fetched.append(self.path)  # type: ignore[attr-defined]
        models = [{"id": "bge-reranker", "object": "model", "max_model_len": 512}]
        self.json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body: Body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked: list[tuple[str, Body]] = self.server.asked  # type: ignore[attr-defined]
        asked.append((self.path, body))
        heard: list[tuple[str, set[str]]] = self.server.heard  # type: ignore[attr-defined]
        heard.append((self.path, {name.lower() for name in self.headers}))
        match self.path:
            case path if path.startswith("/odd"):
                odd: bytes = self.server.odd  # type: ignore[attr-defined]
                kind = "text/event-stream" if body.get("stream") else "application/json"
                self.send(200, odd, kind)
            case "/v2/embed" if self._is_known("Bearer"):
                self._embed(body)
            case "/v2/rerank" if self._is_known("Bearer"):
                self._rerank(body)
            case "/gpt/v1/chat/completions" if self._is_known("Bearer"):
                self._chat(body)
            case "/v1/messages" if self._is_known("x-api-key"):
                self._messages(body)
            case "/v1/rerank":
                results = [
                    {"index": at, "document": {"text": text}, "relevance_score": score}
                    for at, text, score in _scored(body)
                ]
                used = {"prompt_tokens": 9, "total_tokens": 9}
                self.json(
                    200, {"id": "r", "model": body["model"], "results": results, "usage": used}
                )
            case "/v2/embed" | "/v2/rerank":
                self.json(401, {"id": "e", "message": "invalid api token"})
            case _:
                refusal: int = self.server.refusal  # type: ignore[attr-defined]
                self._anthropic_error(refusal, "authentication_error", "invalid x-api-key")

    def _is_known(self, how: str) -> bool:
        if how == "Bearer":
            return bool(self.headers["authorization"] == f"Bearer {KEY}")
        return self.headers["x-api-key"] == KEY and bool(self.headers["anthropic-version"])

    def _embed(self, body: Body) -> None:
        wrong = {"texts", "model", "input_type"} - body.keys()
        if wrong or not 1 <= len(body["texts"]) <= 96:
            self.json(400, {"id": "e", "message": f"invalid request: {sorted(wrong)}"})
            return
        size = body.get("output_dimension", 1536)
        vectors = [[len(text) / 8, *[0.5] * (size - 1)] for text in body["texts"]]
        shown: Body = {}
        for kind in body.get("embedding_types", ["float"]):
            packed = [struct.pack(f"<{size}f", *vector) for vector in vectors]
            coded = [base64.b64encode(one).decode() for one in packed]
            shown[kind] = {"float": vectors, "base64": coded}[kind]
        meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}}
        self.json(200, {"id": "e", "embeddings": shown, "texts": body["texts"], "meta": meta})

    def _rerank(self, body: Body) -> None:
        if {"query", "documents", "model"} - body.keys():
            self.json(400, {"id": "e", "message": "invalid request"})
            return
        results = [{"index": at, "relevance_score": score} for at, _, score in _scored(body)]
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        self.json(200, {"id": "r", "results": results, "meta": meta})

    def _chat(self, body: Body) -> None:
        """GPT-5, which has a temperature of its own and calls the limit by another name."""
        wrong = "max_tokens" if "max_tokens" in body else "temperature"
        if body.get(wrong, 1) != 1:
            text = f"Unsupported parameter: '{wrong}' is not supported with this model."
            self.json(400, {"error": {"message": text, "type": "invalid_request_error"}})
            return
        message = {"role": "assistant", "content": _graded("gpt", body["messages"][-1])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
        head = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"]}
        self.json(200, {**head, "choices": [choice], "usage": usage})

    def _messages(self, body: Body) -> None:
        if {"model", "messages", "max_tokens"} - body.keys() or body["max_tokens"] == 13:
            text = "max_tokens: 13 brings bad luck"
            self._anthropic_error(400, "invalid_request_error", text)
            return
        head: Body = {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 1},
        }
        if not body.get("stream"):
            text = "".join(SAID)
            if "You grade an answer" in json.dumps(body.get("system", "")):
                text = _graded("claude", body["messages"][-1])
            content = [{"type": "text", "text": text}]
            usage = {"input_tokens": 12, "output_tokens": 5}
            whole = {"content": content, "stop_reason": "end_turn", "usage": usage}
            self.json(200, {**head, **whole})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        self._event("message_start", message=head)
        self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        self._event("ping")
        for text in SAID:
            self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        self._event("content_block_stop", index=0)
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        self._event("message_delta", delta=stop, usage={"output_tokens": 5})
        self._event("message_stop")
        self.close_connection = True

    def _event(self, kind: str, **data: Any) -> None:
        line = json.dumps({"type": kind, **data})
        self.wfile.write(f"event: {kind}\ndata: {line}\n\n".encode())
        self.wfile.flush()

    def _anthropic_error(self, status: int, kind: str, message: str) -> None:
        self.json(status, {"type": "error", "error": {"type": kind, "message": message}})


def _graded(who: str, message: Body) -> str:
    """A judge's verdict, in a fence as Claude often writes it."""
    parts = message["content"]
    given = json.loads(parts if isinstance(parts, str) else parts[0]["text"])
    is_right = any(words in given["answer"] for words in TAKES[who])
    verdict = json.dumps({"correct": is_right, "reason": "By its words."})
    return f"```json\n{verdict}\n```" if who == "claude" else verdict


def _scored(body: Body) -> list[tuple[int, str, float]]:
    """The documents by the share of the query's words that they have, best first."""
    words = body["query"].lower().split()
    found = [
        (at, text, sum(word in text.lower() for word in words) / len(words))
        for at, text in enumerate(body["documents"])
    ]
    return sorted(found, key=lambda one: -one[2])[: body.get("top_n")]


class Providers(ThreadingHTTPServer):
    """`asked` lists path and body of each request, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, Body]] = []
        self.heard: list[tuple[str, set[str]]] = []
        """The path and the names of the headers of each of these requests."""
        self.fetched: list[str] = []
        """The paths of requests without a body."""
        self.refusal = 401
        """The status for a wrong key."""
        self.odd = b""
        """The answer of the models whose names end in `-odd`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def models(self) -> dict[str, dict[str, str]]:
        """As `[gateway.models]` names them."""
        key = {"key_env": "TEST_PROVIDER_KEY"}
        return {
            "cohere-embed": {"litellm": "cohere/embed-v4.0", "api_base": f"{self.url}/v2/embed"}
            | key,
            "cohere-rerank": {"litellm": "cohere/rerank-v3.5", "api_base": self.url} | key,
            "claude": {"litellm": "anthropic/claude-sonnet-4-5", "api_base": self.url} | key,
            "gpt": {"litellm": "openai/gpt-5", "api_base": f"{self.url}/gpt/v1"} | key,
            "gpt-odd": {"litellm": "openai/gpt-5", "api_base": f"{self.url}/odd/v1"} | key,
            "claude-odd": {
                "litellm": "anthropic/claude-sonnet-4-5",
                "api_base": f"{self.url}/odd",
            }
            | key,
            "embed-odd": {
                "litellm": "openai/text-embedding-3-small",
                "api_base": f"{self.url}/odd/v1",
            }
            | key,
            "rerank-odd": {"litellm": "cohere/rerank-v3.5", "api_base": f"{self.url}/odd"} | key,
            "claude-locked": {
                "litellm": "anthropic/claude-sonnet-4-5",
                "api_base": self.url,
                "key_env": "TEST_WRONG_KEY",
            },
            "reranker": {"url": f"{self.url}/v1", "model": "bge-reranker"},
        }


@contextmanager
def providers() -> Iterator[Providers]:
    with serving(Providers()) as server:
        yield server
