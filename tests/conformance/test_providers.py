"""Cohere and Claude behind the gateway, in their own words on the wire, alike over both lanes."""

import json
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from eval.systems.client import Client
from eval.systems.rag.endpoints import Endpoints
from eval.systems.rag.settings import RagSettings
from gateway.telemetry.metrics import PREFIX
from tests import starting
from tests.conformance.conftest import Lane
from tests.conformance.test_openai import HELLO, post

pytestmark = pytest.mark.slow

DOCUMENTS = ["Refunds take five days.", "Nothing.", "The coffee machine is in the kitchen."]


def sent(lane: Lane, path: str) -> dict[str, Any]:
    """The body of the last request that the provider got there."""
    return next(body for where, body in reversed(lane.providers.asked) if where == path)


def test_cohere_embeds(client: openai.OpenAI, lane: Lane) -> None:
    texts = ["kitchen", "coffee"]
    reply = client.embeddings.create(model="cohere-embed", input=texts)  # base64
    assert [one.embedding[0] for one in reply.data] == [7 / 8, 6 / 8]
    assert len(reply.data[0].embedding) == 1536
    assert reply.usage.prompt_tokens == 7
    assert reply.model == "cohere-embed"
    asked = sent(lane, "/v2/embed")
    assert (asked["model"], asked["texts"]) == ("embed-v4.0", texts)
    assert asked["input_type"] == "search_document"


def test_cohere_is_reported_what_is_a_query(client: openai.OpenAI, lane: Lane) -> None:
    reply = client.embeddings.create(
        model="cohere-embed",
        input="coffee",
        dimensions=256,
        encoding_format="float",
        extra_body={"input_type": "search_query"},
    )
    assert len(reply.data[0].embedding) == 256
    assert sent(lane, "/v2/embed")["input_type"] == "search_query"


def test_cohere_sorts_documents(lane: Lane) -> None:
    asked: Any = {"query": "Where is the coffee machine", "documents": DOCUMENTS, "top_n": 2}
    reply = post(lane, "/rerank", model="cohere-rerank", **asked)
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [one["index"] for one in results] == [2, 0]
    assert results[0]["relevance_score"] == pytest.approx(4 / 5)
    assert reply.headers["x-askdocs-model"] == "cohere-rerank"
    assert sent(lane, "/v2/rerank")["model"] == "rerank-v3.5"


def test_a_reranker_of_ones_own_is_asked_as_it_is(lane: Lane) -> None:
    asked: Any = {"query": "coffee", "documents": DOCUMENTS, "top_n": 1}
    reply = post(lane, "/rerank", model="reranker", **asked)
    assert reply.status_code == 200, reply.text
    assert [one["index"] for one in reply.json()["results"]] == [2]
    assert (reply.json()["model"], reply.json()["usage"]["prompt_tokens"]) == ("reranker", 9)
    assert sent(lane, "/v1/rerank")["model"] == "bge-reranker"


def test_claude_answers_whole(client: openai.OpenAI, lane: Lane) -> None:
    reply = client.chat.completions.create(
        model="claude", messages=[{"role": "system", "content": "Be brief."}, *HELLO], max_tokens=50
    )
    assert reply.choices[0].message.content == "Hello."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "claude"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (12, 5)
    asked = sent(lane, "/v1/messages")
    assert (asked["model"], asked["max_tokens"]) == ("claude-sonnet-4-5", 50)
    assert "Be brief." in json.dumps(asked["system"])
    assert [message["role"] for message in asked["messages"]] == ["user"]


def test_claude_answers_as_a_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="claude", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    parts = [c.choices[0].delta.content for c in chunks if c.choices]
    assert "".join(part or "" for part in parts) == "Hello."
    assert {chunk.model for chunk in chunks} == {"claude"}
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [(one.prompt_tokens, one.completion_tokens) for one in usages] == [(12, 5)]


def test_claude_can_be_asked_in_its_own_words(lane: Lane) -> None:
    body = post(lane, "/messages", model="claude", max_tokens=16, messages=HELLO).json()
    assert body["content"][0]["text"] == "Hello."
    assert body["usage"]["output_tokens"] == 5


@pytest.mark.parametrize(
    ("model", "headers"), [("claude", {}), ("docs", {"x-askdocs-model": "claude"})]
)
async def test_claude_can_sit_an_evaluation_although_it_tells_no_probabilities(
    lane: Lane, model: str, headers: dict[str, str]
) -> None:
    question: Any = [{"role": "user", "content": "Where is the coffee machine?"}]
    async with Client(lane.gateway.url, starting.KEY, 50, 1) as asking:
        for _ in range(2):
            said = await asking.ask(model, question, headers)
            assert said.text.startswith("Hello.")
            assert (said.prompt_tokens, said.completion_tokens, said.logprob) == (12, 5, None)
    assert sent(lane, "/v1/messages")["messages"][-1]["role"] == "user"


async def test_rag_asks_cohere_for_vectors_and_an_order_and_claude_for_wordings(
    lane: Lane,
) -> None:
    settings = RagSettings(
        embedding_model="cohere-embed",
        input_type=True,
        rerank_model="cohere-rerank",
        chat_model="claude",
    )
    headers = {"Authorization": f"Bearer {starting.KEY}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        rag = Endpoints(settings, lane.gateway.url, http)
        for input_type in ("search_document", "search_query"):
            vectors = await rag.embed(["kitchen", "coffee"], input_type)
            assert vectors.shape == (2, 1536)
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
            # As long as 7 and 6 letters are, in eighths, before they have length 1.
            assert vectors[:, 0] / vectors[:, 1] == pytest.approx([7 / 4, 6 / 4])
            assert sent(lane, "/v2/embed")["input_type"] == input_type
        assert await rag.rerank("Where is the coffee machine", DOCUMENTS) == [2, 0, 1]
        assert await rag.chat("Say it otherwise.", 50) == ("Hello.", 12, 5)


def test_what_a_provider_refuses_is_told_without_its_key(lane: Lane) -> None:
    refused = post(lane, "/chat/completions", model="claude", messages=HELLO, max_tokens=13)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "max_tokens: 13 brings bad luck"
    none: httpx.Response = post(lane, "/embeddings", model="cohere-embed", input=["x"] * 97)
    assert none.status_code == 400
    said = refused.text + none.text
    assert "provider-secret" not in said
    assert "litellm" not in said.lower()


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/messages"])
def test_a_provider_that_refuses_the_operators_key_is_no_clients_401(lane: Lane, path: str) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 9}
    if path == "/responses":
        asked = {"input": "hi", "max_output_tokens": 16}
    locked = post(lane, path, model="claude-locked", **asked)
    assert (locked.status_code, locked.headers["retry-after"]) == (503, "60")
    error = locked.json()["error"]
    assert (error["code"], "x-api-key" in error["message"]) == ("engine_unavailable", False)
    assert locked.json().get("type") == ("error" if path == "/messages" else None)
    assert "litellm" not in locked.text.lower()
    assert "invalid x-api-key" in lane.gateway.log.read_text()
    answered = post(lane, path, model="locked-else-base", **asked)
    assert answered.status_code == 200, answered.text


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_only_the_operator_can_mend_goes_to_the_fallback(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(lane.providers, "refusal", status)
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 9}
    locked = post(lane, "/chat/completions", model="claude-locked", **asked)
    assert (locked.status_code, locked.json()["error"]["code"]) == (503, "engine_unavailable")
    answered = post(lane, "/chat/completions", model="locked-else-base", **asked)
    assert answered.status_code == 200, answered.text
    assert answered.json()["choices"][0]["message"]["content"]


def test_no_picture_is_fetched_from_this_machines_network(lane: Lane) -> None:
    """Anthropic itself fetches those of https; those of http LiteLLM does, from public hosts."""
    lane.providers.fetched.clear()
    picture = {"type": "image_url", "image_url": {"url": f"{lane.providers.url}/a.png"}}
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    reply = post(lane, "/chat/completions", model="claude", messages=asked)
    assert reply.status_code == 400, reply.text
    assert lane.providers.fetched == []


def test_no_file_of_the_operators_is_read_for_a_client(lane: Lane) -> None:
    """LiteLLM would have Gemini read it from a bucket, with the operator's credentials."""
    picture = {"type": "image_url", "image_url": {"url": "gs://bucket/secret.png"}}
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    source = {"type": "url", "url": "gs://bucket/secret.png"}
    blocks: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    lane.providers.asked.clear()
    for reply in (
        post(lane, "/chat/completions", model="claude", messages=asked),
        post(lane, "/messages", model="claude", messages=blocks, max_tokens=5),
        post(lane, "/embeddings", model="cohere-embed", input="s3://bucket/secret"),
    ):
        assert reply.status_code == 400, reply.text
        assert "names a file stored elsewhere" in reply.json()["error"]["message"]
    assert not lane.providers.asked


def test_an_error_with_a_clients_picture_in_it_costs_no_minutes(lane: Lane) -> None:
    """LiteLLM looked for secrets in all of it: minutes of this one, with nobody else answered."""
    picture = {"type": "image_url", "image_url": {"url": "data:" + "-----BEGIN" * 10_000}}
    reply = post(
        lane, "/chat/completions", model="claude", messages=[{"role": "user", "content": [picture]}]
    )
    assert reply.status_code == 400, reply.text
    assert "is not base64" in reply.text


def test_a_value_that_litellm_fails_on_opens_no_breaker(lane: Lane) -> None:
    """Four of them opened the circuit breaker for everybody."""
    form = {"type": "json_schema", "json_schema": {}}
    odd = {"type": "function", "function": {"name": "f", "parameters": {"definitions": [1]}}}
    custom = {"type": "custom", "custom": {"name": "f", "format": 5}}
    every: list[dict[str, Any]] = [{"response_format": form}, {"tools": [odd]}, {"tools": [custom]}]
    for more in every * 2:
        reply = post(lane, "/chat/completions", model="claude", messages=HELLO, **more)
        assert reply.status_code == 503, reply.text
        assert "litellm" not in reply.text.lower()
    metrics = httpx.get(f"{lane.gateway.root}/metrics").text
    assert f'{PREFIX}circuit_state{{model="claude"}} 0.0' in metrics


def test_a_body_too_deep_for_litellm_opens_no_breaker(lane: Lane) -> None:
    parameters: Any = {"type": "string"}
    for _ in range(300):
        parameters = {"type": "object", "properties": {"a": parameters}}
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    replies = [
        post(lane, "/chat/completions", model="claude", messages=HELLO, tools=tools)
        for _ in range(5)
    ]
    assert {reply.status_code for reply in replies} == {400}
    assert replies[0].json()["error"]["param"] == "tools"
    assert post(lane, "/chat/completions", model="claude", messages=HELLO).status_code == 200


def chat(**message: Any) -> bytes:
    """GPT's answer, with other fields of its message."""
    said = {"role": "assistant", "content": "Hello.", **message}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-5"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json.dumps({**head, "choices": [choice], "usage": usage}).encode()


def message(content: Any, **more: Any) -> bytes:
    """Claude's answer."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "c", "usage": usage}
    rest = {"content": content, "stop_reason": "end_turn", "stop_sequence": None, **more}
    return json.dumps({**head, **rest}).encode()


NO_CHATS = {
    "gpt-odd": [
        pytest.param(b'{"choices": [', id="broken JSON"),
        pytest.param(b"<html>Bad gateway</html>", id="HTML"),
        pytest.param(b"[]", id="list"),
        pytest.param(chat().replace(b'[{"index"', b'[5, {"index"'), id="a choice is a number"),
        pytest.param(b'{"object": "chat.completion", "choices": [{"message": null}]}', id="null"),
        pytest.param(chat(content={"a": 1}), id="content is an object"),
        pytest.param(chat(tool_calls="abc"), id="calls are a text"),
        pytest.param(chat(content="a\ud800b"), id="unpaired surrogate"),
    ],
    "claude-odd": [
        pytest.param(b"", id="nothing"),
        pytest.param(message("Hello."), id="content is a text"),
        pytest.param(message([{"type": "text", "text": "a\ud800b"}]), id="unpaired surrogate"),
        pytest.param(message([{"type": "text", "text": "a"}], usage="many"), id="usage is a text"),
    ],
}


@pytest.mark.parametrize(
    ("model", "odd"),
    [
        pytest.param(model, *case.values, id=f"{model}: {case.id}")
        for model, cases in NO_CHATS.items()
        for case in cases
    ],
)
def test_an_answer_that_cannot_be_read_is_the_providers_failure(
    lane: Lane, model: str, odd: bytes
) -> None:
    """It was a 500 or the client's 400, and no other model was asked."""
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 16}
    lane.providers.odd = chat() if model == "gpt-odd" else message([{"type": "text", "text": "a"}])
    fine = post(lane, "/chat/completions", model=model, **asked)
    assert fine.status_code == 200, fine.text  # and its breaker is closed
    lane.providers.odd = odd
    answered = post(lane, "/chat/completions", model=f"{model}-else-base", **asked)
    assert answered.status_code == 200, answered.text
    assert answered.headers["x-askdocs-model"] == "base"
    assert answered.headers["x-askdocs-fallback"].startswith(f"{model}: ")
    for path in ("/chat/completions", "/messages"):
        alone = post(lane, path, model=model, **asked)
        assert alone.status_code == 503, alone.text
        assert "litellm" not in alone.text.lower()
    lane.providers.odd = chat() if model == "gpt-odd" else message([{"type": "text", "text": "a"}])
    assert post(lane, "/chat/completions", model=model, **asked).status_code == 200


@pytest.mark.parametrize("gone", [b"5", b'{"type": "message_start", "message": 5}'])
def test_an_unreadable_first_chunk_is_the_providers_failure(lane: Lane, gone: bytes) -> None:
    """It was the client's error 400."""
    lane.providers.odd = b"event: message_start\ndata: " + gone + b"\n\n"
    asked: dict[str, Any] = {"messages": HELLO, "max_tokens": 16, "stream": True}
    alone = post(lane, "/chat/completions", model="claude-odd", **asked)
    assert alone.status_code == 503, alone.text
    assert "litellm" not in alone.text.lower()
    answered = post(lane, "/chat/completions", model="claude-odd-else-base", **asked)
    assert answered.text.endswith("data: [DONE]\n\n"), answered.text


VECTORS = b"""{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}"""
RANKS = b'{"id": "r", "results": [{"index": 0, "relevance_score": 0.5}]}'


@pytest.mark.parametrize(
    ("path", "model", "odd"),
    [
        ("/embeddings", "embed-odd", b"{"),
        ("/embeddings", "embed-odd", b"[]"),
        ("/rerank", "rerank-odd", b"{"),
        ("/rerank", "rerank-odd", RANKS.replace(b'"r"', b'"\\ud800"')),
    ],
)
def test_vectors_or_ranks_that_cannot_be_read_are_the_providers_failure(
    lane: Lane, path: str, model: str, odd: bytes
) -> None:
    lane.providers.odd = odd
    body = {"input": "a"} if path == "/embeddings" else {"query": "a", "documents": ["b"]}
    reply = post(lane, path, model=model, **body)
    assert reply.status_code == 503, reply.text
    assert reply.json()["error"]["code"] == "engine_unavailable"
    lane.providers.odd = VECTORS if path == "/embeddings" else RANKS
    assert post(lane, path, model=model, **body).status_code == 200  # and its breaker is closed
