"""Sends a question to a running gateway, for `askdocs ask` and the readiness check."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import httpx

from core.errors import AskdocsError
from core.sse import EventReader


@dataclass
class Answered:
    """A complete answer."""

    question: str = ""
    answer: str = ""
    refused: bool = False
    sources: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    quoting: bool = False
    """Does extractive mode limit the model to sentences of the page?"""
    first_token: float | None = None
    """Seconds to the first text."""
    seconds: float = 0.0


Event = tuple[str, Any]


class Unavailable(AskdocsError):
    """No model answers now, but may soon."""


def ask(
    base_url: str,
    key: str,
    question: str,
    page_url: str | None = None,
    max_tokens: int | None = None,
) -> Iterator[Event]:
    """Ask `docs` and yield events: ("reading", {...}), ("text", str), ("done", Answered).

    Raises:
        AskdocsError: the gateway cannot be reached, refuses, or breaks off.
        Unavailable: no model answers now.
    """
    began = time.monotonic()
    result = Answered(question)
    ended = False
    body: dict[str, Any] = {
        "model": "docs",
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }
    if max_tokens:
        body["max_tokens"] = max_tokens
    if page_url:
        body["metadata"] = {"page_url": page_url}
    headers = {"Authorization": f"Bearer {key}", "x-askdocs-progress": "on"}
    url = f"{base_url}/chat/completions"
    try:
        with (
            # The gateway is local: bypass a proxy from the environment.
            httpx.Client(timeout=600, trust_env=False) as http,
            http.stream("POST", url, json=body, headers=headers) as reply,
        ):
            if reply.status_code != 200:
                reply.read()
                kind = Unavailable if reply.status_code == 503 else AskdocsError
                raise kind(f"the gateway answered {reply.status_code}: {_error_message(reply)}")
            reader = EventReader()
            for data in chain.from_iterable(map(reader.feed, reply.iter_bytes())):
                if data == b"[DONE]":
                    continue
                chunk = json.loads(data)
                if "error" in chunk:
                    raise AskdocsError(chunk["error"]["message"])
                facts = chunk.get("askdocs", {})
                if facts.get("reading"):
                    yield "reading", facts
                for choice in chunk.get("choices", []):
                    text = choice["delta"].get("content") or ""
                    if text:
                        result.first_token = result.first_token or time.monotonic() - began
                        result.answer += text
                        yield "text", text
                    if choice.get("finish_reason"):
                        ended = True
                        result.refused = facts.get("refused", False)
                        result.sources = facts.get("sources", [])
                        result.pages = facts.get("pages", [])
                        result.model = facts.get("model", "")
                        result.quoting = facts.get("mode") == "extractive"
    except httpx.HTTPError as error:
        what = "broke off" if result.answer else "does not answer"
        raise AskdocsError(
            f"the gateway at {base_url} {what} ({error}): is `askdocs up` running?"
        ) from None
    except ValueError as error:
        raise AskdocsError(f"{base_url} is not a gateway: {error}") from None
    if not ended:
        raise AskdocsError(f"the gateway at {base_url} broke off in the middle: ask again")
    result.seconds = time.monotonic() - began
    yield "done", result


def whole(base_url: str, key: str, question: str, max_tokens: int) -> Answered:
    """The complete answer. Raises as `ask`."""
    *_, (_, answered) = ask(base_url, key, question, max_tokens=max_tokens)
    assert isinstance(answered, Answered)
    return answered


def _error_message(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return reply.text[:200]
