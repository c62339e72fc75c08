"""Responses are what OpenAI's own description says, in every endpoint, whole and streamed."""

import json
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import Lane
from tests.conformance.published import event, wrong
from tests.conformance.test_openai import COFFEE, HELLO, TOOL, post
from tests.starting import KEY

pytestmark = pytest.mark.slow

QUESTION = COFFEE[0]["content"]
CUP: Any = [{"role": "user", "content": "Who won the football world cup of 1954?"}]
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
CHATS: dict[str, dict[str, Any]] = {
    "a plain answer": {"model": "base", "messages": HELLO, "max_tokens": 2},
    "a grounded answer": {"model": "docs", "messages": COFFEE, "max_tokens": 12},
    "a refusal": {"model": "docs", "messages": CUP, "max_tokens": 24},
    "a refusal of JSON": {"model": "docs", "messages": CUP, "response_format": FORM},
    "probabilities": {"model": "base", "messages": HELLO, "max_tokens": 2, "logprobs": True},
    "several answers": {"model": "base", "messages": HELLO, "max_tokens": 2, "n": 2},
    "tools and pages": {"model": "docs", "messages": COFFEE, "tools": [TOOL], "max_tokens": 4},
}
CLAUDE = {"model": "claude", "messages": HELLO, "max_tokens": 16}


def asked(lane: Lane, path: str, stream: bool, **body: Any) -> list[Any]:
    """The bodies of a response: one, or those of its events."""
    if stream and path != "/responses":
        body["stream_options"] = {"include_usage": True}
    reply = post(lane, path, **body, **({"stream": True} if stream else {}))
    assert reply.status_code == 200, reply.text
    if not stream:
        return [reply.json()]
    events = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in events if one != "[DONE]"]


def check(name: str, bodies: list[Any]) -> None:
    assert bodies
    for body in bodies:
        assert not (problem := wrong(name, body)), f"{problem}\n{json.dumps(body)[:2000]}"


def on(lane: Lane, body: dict[str, Any]) -> dict[str, Any]:
    """The request to this lane's model."""
    return {**body, "model": {"base": lane.base, "docs": lane.docs}[body["model"]]}


def test_a_chat_of_a_provider(lane: Lane) -> None:
    check_chat(lane, CLAUDE)


@pytest.mark.parametrize("kind", CHATS)
def test_chats(each: Lane, kind: str) -> None:
    check_chat(each, on(each, CHATS[kind]))


def check_chat(lane: Lane, body: dict[str, Any]) -> None:
    check("CreateChatCompletionResponse", asked(lane, "/chat/completions", False, **body))
    chunks = asked(lane, "/chat/completions", True, **body)
    for choice in (choice for one in chunks for choice in one["choices"]):
        # Left out where it is null, by LiteLLM and llama.cpp: their bytes go out as they come.
        choice.setdefault("finish_reason", None)
        if logprobs := choice.get("logprobs"):
            logprobs.setdefault("refusal", None)
    check("CreateChatCompletionStreamResponse", chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_completions(each: Lane, stream: bool) -> None:
    for body in (
        {"model": "base", "prompt": "Red", "max_tokens": 3},
        {"model": "base", "prompt": ["Red", "Blue"], "max_tokens": 0, "echo": True},
        {"model": "docs", "prompt": QUESTION, "max_tokens": 4},
    ):
        bodies = asked(each, "/completions", stream, **on(each, body))
        for choice in (choice for one in bodies for choice in one["choices"]):
            # OpenAI sends null before the end of a stream; its description has no word for that.
            if stream and choice.setdefault("finish_reason", None) is None:
                choice["finish_reason"] = "stop"
            # LiteLLM leaves out what is null, and the text of a last chunk that has none.
            choice.setdefault("logprobs", None)
            choice.setdefault("text", "")
        check("CreateCompletionResponse", bodies)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "base", "input": "Say hello.", "max_output_tokens": 2},
        {"model": "docs", "input": QUESTION, "max_output_tokens": 16},
        {"model": "docs", "input": CUP[0]["content"]},
        {
            "model": "docs",
            "input": QUESTION,
            "tools": [{"type": "function", **TOOL["function"]}],
            "max_output_tokens": 4,
        },
    ],
)
def test_responses(each: Lane, body: dict[str, Any]) -> None:
    check("Response", asked(each, "/responses", False, **on(each, body)))
    events = asked(each, "/responses", True, **on(each, body))
    for one in events:
        # As OpenAI sends it at the beginning, whatever the description says.
        if one.get("response", {}).get("status") == "in_progress":
            assert one["response"].pop("usage") is None
        check(event(one["type"]), [one])


def test_embeddings_and_models(lane: Lane) -> None:
    for model in ("minilm", "embed", "cohere-embed"):
        for coded in ("float", "base64"):
            body = {"model": model, "input": ["a", "b"], "encoding_format": coded}
            found = asked(lane, "/embeddings", False, **body)
            if coded == "base64":  # the description knows numbers alone
                for one in found[0]["data"]:
                    assert isinstance(one["embedding"], str)
                    one["embedding"] = [0.5]
            check("CreateEmbeddingResponse", found)
    headers = {"authorization": f"Bearer {KEY}"}
    models = httpx.get(f"{lane.gateway.url}/models", headers=headers).json()
    check("ListModelsResponse", [models])
    one = httpx.get(f"{lane.gateway.url}/models/docs", headers=headers).json()
    check("Model", [one])


def test_errors(lane: Lane) -> None:
    wrongs: list[tuple[str, dict[str, Any], int]] = [
        ("/chat/completions", {"model": "nope", "messages": HELLO}, 404),
        ("/chat/completions", {"model": "docs"}, 400),
        ("/chat/completions", {"model": "claude-locked", "messages": HELLO}, 503),
        ("/responses", {"model": "docs", "input": "a", "store": True}, 400),
        ("/embeddings", {"model": "minilm", "input": 5}, 400),
        ("/nothing", {}, 404),
    ]
    for path, body, status in wrongs:
        reply = post(lane, path, **body)
        assert reply.status_code == status, reply.text
        check("ErrorResponse", [reply.json()])
    unknown = httpx.get(f"{lane.gateway.url}/models", headers={"authorization": "Bearer x"})
    assert unknown.status_code == 401
    check("ErrorResponse", [unknown.json()])
