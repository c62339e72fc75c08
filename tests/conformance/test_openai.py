"""What an OpenAI client relies on."""

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx
import openai
import pytest

from core import database
from gateway.access.keys import Keys
from gateway.answering.grounding.prompt import fingerprint
from tests import starting
from tests.conformance.conftest import INSTRUCTIONS, Lane
from tests.starting import KEY

pytestmark = pytest.mark.slow

HELLO: Any = [{"role": "user", "content": "Say hello."}]
# The small model greets some callers with emoji, of which llama.cpp tells the tokens as one.
CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
COFFEE: Any = [{"role": "user", "content": "Where is the coffee machine?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "open_page",
        "description": "Opens a page of the wiki.",
        "parameters": {
            "type": "object",
            "properties": {"title": {"type": "string"}},
            "required": ["title"],
        },
    },
}


def post(lane: Lane, path: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{lane.gateway.url}{path}", json=body, headers=headers, timeout=240)


def events(lane: Lane, **body: Any) -> list[str]:
    """The data of a streamed chat's events."""
    reply = post(lane, "/chat/completions", model=lane.base, messages=HELLO, stream=True, **body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]


def test_models_list_aliases_first_with_their_context(client: openai.OpenAI) -> None:
    models = {model.id: model.model_dump() for model in client.models.list().data}
    odd = ["gpt-odd-else-base", "claude-odd-else-base"]
    assert list(models)[:6] == ["docs", "hr", "locked-else-base", *odd, "docs-litellm"]
    assert list(models)[6:8] == ["base", "embed"]
    assert list(models)[-2:] == ["minilm", "local"]
    assert (models["minilm"]["mode"], models["local"]["mode"]) == ("embedding", "rerank")
    assert models["docs"]["max_model_len"] == 8192
    assert models["embed"]["max_model_len"] == 2048
    assert (models["docs"]["serves"], models["embed"]["serves"]) == ("small-llama", "small-embed")
    reads = {"answers": "write", "page_budget": 3000}
    assert models["docs"]["grounding"] == {**reads, "prompt": fingerprint()}
    assert models["hr"]["grounding"] == {**reads, "prompt": fingerprint(INSTRUCTIONS)}
    assert "grounding" not in models["base"]


def test_a_chat_answers_under_the_gateways_name_for_the_model(each: Lane) -> None:
    reply = post(each, "/chat/completions", model=each.base, messages=HELLO, max_tokens=8)
    body = reply.json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"]
    assert body["model"] == reply.headers["x-askdocs-model"] == each.base
    assert reply.headers["x-request-id"]
    assert 0 < body["usage"]["completion_tokens"] <= 8


def test_an_alias_tells_its_model_its_instructions_with_pages_and_without(
    client: openai.OpenAI, engine: starting.Engine
) -> None:
    question: Any = {"role": "user", "content": "Where is the coffee machine?"}
    brief: Any = {"role": "system", "content": "Be brief."}
    both: Any = {"role": "system", "content": f"{INSTRUCTIONS}\n\nBe brief."}
    off = {"x-askdocs-grounding": "off"}

    def tokens(model: str, system: Any, headers: dict[str, str] | None = None) -> int:
        usage = client.chat.completions.create(
            model=model, messages=[system, question], max_tokens=4, extra_headers=headers
        ).usage
        assert usage is not None
        return usage.prompt_tokens

    assert tokens("hr", brief, off) == tokens("base", both)

    def counted(text: str) -> int:
        asked = {"content": text}
        reply = httpx.post(f"http://127.0.0.1:{engine.port}/tokenize", json=asked)
        return len(reply.json()["tokens"])

    more = counted(f"Stop.\n\n{INSTRUCTIONS}\n\n<page") - counted("Stop.\n\n<page")
    grounded = tokens("hr", brief)
    assert grounded - tokens("docs", brief) == more
    # Responses is translated to a chat, whose prompt has them once.
    response = client.responses.create(
        model="hr", instructions="Be brief.", input=question["content"], max_output_tokens=16
    )
    assert response.usage is not None
    assert response.usage.input_tokens == grounded


def test_what_the_engine_calls_its_model_is_a_name_too(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="small-llama", messages=HELLO, max_tokens=4)
    assert reply.choices[0].message.content


def test_an_alias_answers_by_another_model_that_the_key_may_use(lane: Lane) -> None:
    _, narrow = Keys(database.open(lane.gateway.database)).create("narrow", models=["hr"])

    def asked(model: str, key: str) -> httpx.Response:
        return httpx.post(
            f"{lane.gateway.url}/chat/completions",
            json={"model": "hr", "messages": COFFEE, "max_tokens": 16},
            headers={"authorization": f"Bearer {key}", "x-askdocs-model": model},
            timeout=120,
        )

    reply = asked("small-llama", KEY)
    assert reply.headers["x-askdocs-model"] == "small-llama"
    assert reply.json()["askdocs"]["pages"]  # on pages, as the alias answers
    assert asked("docs@v9", KEY).json()["error"]["code"] == "model_not_found"
    assert asked("small-llama", narrow).json()["error"]["code"] == "model_not_allowed"


def test_a_stream_is_chunks_and_done(each: Lane) -> None:
    data = events(each, max_tokens=8)
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {each.base}
    finished = [c["choices"][0].get("finish_reason") for c in chunks if c["choices"]]
    assert finished[-1] in ("length", "stop")
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


def test_usage_comes_in_a_stream_if_and_only_if_it_was_asked_for(each: Lane) -> None:
    chunks = [json.loads(one) for one in events(each, max_tokens=4)[:-1]]
    assert all(not chunk.get("usage") for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)
    asked = events(each, max_tokens=4, stream_options={"include_usage": True})[:-1]
    usages = [u for u in (json.loads(one).get("usage") for one in asked) if u]
    assert len(usages) == 1
    assert usages[0]["prompt_tokens"] > 0
    assert usages[0]["completion_tokens"] == 4


def test_a_stop_word_ends_the_answer(client: openai.OpenAI) -> None:
    prompt = "One, two, three, four, five,"
    whole = client.completions.create(model="base", prompt=prompt, max_tokens=12, temperature=0)
    text = whole.choices[0].text
    word = text.split()[-1]
    cut = client.completions.create(
        model="base", prompt=prompt, max_tokens=12, temperature=0, stop=[word]
    )
    assert cut.choices[0].text == text[: text.index(word)]
    assert cut.choices[0].finish_reason == "stop"


def test_logprobs_come_with_their_alternatives(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="base",
        messages=CAPITAL,
        max_tokens=3,
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 3
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in logprobs.content)


def test_a_seed_repeats_the_answer(client: openai.OpenAI) -> None:
    def answer(seed: int) -> str | None:
        reply = client.chat.completions.create(
            model="base", messages=HELLO, max_tokens=12, temperature=1.5, seed=seed
        )
        return reply.choices[0].message.content

    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_json_schema_binds_the_answer(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"floor": {"type": "integer"}},
        "required": ["floor"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model="base",
        messages=[{"role": "user", "content": "On which floor is the kitchen? It is the 2nd."}],
        max_tokens=40,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": schema, "strict": True},
        },
    )
    assert isinstance(json.loads(reply.choices[0].message.content or "")["floor"], int)


def test_completions_answer_text(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="base", prompt="The capital of France is", max_tokens=4)
    assert reply.object == "text_completion"
    assert reply.choices[0].text
    stream = client.completions.create(
        model="base", prompt="The capital of France is", max_tokens=4, stream=True
    )
    assert "".join(chunk.choices[0].text or "" for chunk in stream if chunk.choices)


def test_a_suffix_is_refused_by_a_model_that_has_no_tokens_for_it(each: Lane) -> None:
    asked: Any = {"model": each.base, "prompt": "def f(", "max_tokens": 4}
    with pytest.raises(openai.BadRequestError, match="cannot fill in the middle") as caught:
        each.client.completions.create(**asked, suffix="return 1")
    assert caught.value.param == "suffix"


def test_embeddings_come_from_the_embedding_model(client: openai.OpenAI) -> None:
    reply = client.embeddings.create(model="embed", input=["kitchen", "coffee"])
    assert [one.index for one in reply.data] == [0, 1]
    assert len(reply.data[0].embedding) == len(reply.data[1].embedding) > 100
    assert reply.usage.prompt_tokens > 0
    assert reply.model == "embed"


def test_the_gateways_own_model_embeds(client: openai.OpenAI, lane: Lane) -> None:
    texts = ["kitchen", "coffee"]
    reply = client.embeddings.create(model="minilm", input=texts)  # the SDK asks for base64
    plain = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
    assert [one.index for one in reply.data] == [0, 1]
    assert [one.embedding for one in reply.data] == [one.embedding for one in plain.data]
    assert len(reply.data[0].embedding) == 384
    assert (reply.model, reply.usage.prompt_tokens) == ("minilm", 6)
    raw = post(lane, "/embeddings", model="minilm", input=texts)
    assert raw.headers["x-askdocs-model"] == "minilm"


def test_the_gateways_own_model_sorts_documents(lane: Lane) -> None:
    documents = ["Refunds take five days.", "The coffee machine is in the kitchen."]
    reply = post(
        lane, "/rerank", model="local", query="Where is the coffee machine?", documents=documents
    )
    assert reply.status_code == 200, reply.text
    assert [one["index"] for one in reply.json()["results"]] == [1, 0]
    assert reply.headers["x-askdocs-model"] == "local"


@pytest.mark.parametrize("model", ["minilm", "local"])
def test_what_the_gateways_own_models_do_not_do_is_said(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError, match=rf"{model} is for /v1/") as caught:
        client.chat.completions.create(model=model, messages=HELLO)
    assert caught.value.code == "model_not_supported"
    with pytest.raises(openai.BadRequestError, match=rf"{model} is for /v1/"):
        client.responses.create(model=model, input="Hello")


def test_embeddings_of_a_chat_model_are_a_clear_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"embeddings: use the model 'minilm'"):
        client.embeddings.create(model="docs", input="kitchen")


def test_responses_answer_whole_and_streamed(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="base", input="Say hello.", max_output_tokens=16)
    assert reply.output_text
    assert reply.usage is not None
    assert reply.usage.output_tokens > 0
    stream = client.responses.create(
        model="base", input="Say hello.", max_output_tokens=16, stream=True
    )
    kinds = [event.type for event in stream]
    assert "response.output_text.delta" in kinds
    assert kinds[-1] in ("response.completed", "response.incomplete")


def test_responses_of_docs_stand_on_a_page(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="docs", input="Where is the coffee machine?")
    dumped = json.dumps(reply.model_dump())
    assert "#where-is-the-coffee-machine" in dumped or "enough information" in dumped


def test_messages_answer_whole_and_streamed(lane: Lane) -> None:
    asked: Any = {"model": "base", "max_tokens": 16, "messages": HELLO}
    reply = post(lane, "/messages", **asked)
    body = reply.json()
    assert (body["type"], body["role"]) == ("message", "assistant")
    assert body["content"][0]["text"]
    assert body["usage"]["output_tokens"] > 0
    streamed = post(lane, "/messages", **asked, stream=True).text
    kinds = [line[7:] for line in streamed.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "message_start"
    assert "content_block_delta" in kinds
    assert kinds[-1] == "message_stop"


def test_the_developer_role_and_max_completion_tokens_are_taken(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="base",
        messages=[{"role": "developer", "content": "Be short."}, *HELLO],
        max_completion_tokens=3,
    )
    assert reply.usage is not None
    assert reply.usage.completion_tokens <= 3


def test_fields_that_openai_does_not_have_reach_the_engine(client: openai.OpenAI) -> None:
    """`grammar` is llama.cpp's own."""
    reply = client.chat.completions.create(
        model="base", messages=HELLO, extra_body={"grammar": 'root ::= "forty-two"'}
    )
    assert reply.choices[0].message.content == "forty-two"


def test_a_max_tokens_beyond_the_room_is_clamped(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="base", messages=CAPITAL, max_tokens=32_000, stop=["."], temperature=0
    )
    assert reply.choices[0].message.content


def test_too_long_a_prompt_is_400_with_both_numbers(each: Lane) -> None:
    context = "2,?048" if each.calls_tools else "8,?192"
    with pytest.raises(openai.BadRequestError, match=context) as caught:
        each.client.chat.completions.create(
            model=each.base, messages=[{"role": "user", "content": "why " * 9000}], max_tokens=4
        )
    assert caught.value.code == "context_length_exceeded"
    assert "fallbacks" not in str(caught.value)


def test_an_unknown_model_is_404_and_the_known_ones_are_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"gpt-9.*docs, hr, .*base") as caught:
        client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


def test_the_request_id_of_the_client_comes_back(client: openai.OpenAI) -> None:
    reply = client.models.with_raw_response.list(extra_headers={"x-request-id": "abc-1"})
    assert reply.headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize(
    ("model", "stream"), [("base", True), ("base", False), ("docs", True), ("docs", False)]
)
def test_when_the_client_leaves_the_engine_stops(
    lane: Lane, engine: starting.Engine, model: str, stream: bool
) -> None:
    body = {
        "model": model,
        "stream": stream,
        "max_tokens": 3000,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": "Where is the coffee machine?"}],
    }
    headers = {"authorization": f"Bearer {KEY}", "x-askdocs-progress": "on"}
    url = f"{lane.gateway.url}/chat/completions"
    with httpx.Client(timeout=60) as http:
        if stream:
            with http.stream("POST", url, json=body, headers=headers) as reply:
                lines = reply.iter_lines()  # held: httpx closes the response of one that is dropped
                assert next(lines)
                began = time.monotonic()
                # An answer to docs may have ended already: a page that is known is read at once.
                while not engine.busy() and model == "base":
                    assert time.monotonic() - began < 30
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post(url, json=body, headers=headers, timeout=httpx.Timeout(60, read=1.5))
    left = time.monotonic()
    while engine.busy():
        assert time.monotonic() - left < 10
        time.sleep(0.05)


def test_a_page_of_an_allowed_origin_may_call_from_a_browser(lane: Lane) -> None:
    ours = {"origin": "https://wiki.example.com"}
    asking = {"access-control-request-method": "POST"}
    asking["access-control-request-headers"] = "authorization, content-type"
    url = f"{lane.gateway.url}/chat/completions"
    preflight = httpx.options(url, headers={**ours, **asking})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ours["origin"]
    reply = httpx.get(
        f"{lane.gateway.url}/models", headers={**ours, "authorization": f"Bearer {KEY}"}
    )
    assert reply.headers["access-control-allow-origin"] == ours["origin"]
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    other = {"origin": "https://evil.example.com"}
    refused = httpx.options(url, headers={**other, **asking})
    assert "access-control-allow-origin" not in refused.headers


def test_a_vote_counts_for_the_model_that_answered(lane: Lane) -> None:
    def vote(**body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.post(f"{lane.gateway.root}/askdocs/vote", json=body, headers=headers)

    for direction in ("up", "up", "down"):
        assert vote(alias="hr", model="base", vote=direction).json() == {"counted": True}
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"alias": "hr", "model": "base", "vote": 1}, 400, "vote"),
        ({"alias": "hr", "vote": "up"}, 400, "model"),
        ({"alias": "nobody", "model": "base", "vote": "up"}, 404, "alias"),
        ({"alias": "base", "model": "base", "vote": "up"}, 404, "alias"),
        ({"alias": "hr", "model": "hr@v9", "vote": "up"}, 404, "model"),
    ]
    for body, status, param in wrong:
        reply = vote(**body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    message = vote(alias="base", model="base", vote="up").json()["error"]["message"]
    assert message == (
        "alias is 'base', and votes are counted for aliases only: send the alias that answered, one"
        " of docs, hr, locked-else-base, gpt-odd-else-base, claude-odd-else-base, docs-litellm"
    )
    deadline = time.monotonic() + 60
    while votes(lane) != (2, 1):
        assert time.monotonic() < deadline, votes(lane)
        time.sleep(0.1)


def votes(lane: Lane) -> tuple[int, int]:
    with closing(sqlite3.connect(lane.gateway.home / "askdocs.db")) as database:
        query = "SELECT measure, sum(count) FROM outcomes WHERE alias = 'hr' GROUP BY measure"
        counts = dict(database.execute(query).fetchall())
    return counts.get("up", 0), counts.get("down", 0)


def test_usage_is_recorded_whether_or_not_the_client_asked(lane: Lane) -> None:
    name = "recorded"
    reply = httpx.post(
        f"{lane.gateway.url}/chat/completions",
        json={
            "model": "base",
            "messages": HELLO,
            "stream": True,
            "max_tokens": 5,
            "ignore_eos": True,
        },
        headers={"authorization": f"Bearer {KEY}", "x-request-id": name},
        timeout=60,
    )
    assert '"usage"' not in reply.text
    line = logged(lane, name)
    assert (line["completion_tokens"], line["lane"], line["model"]) == (5, "fast", "base")
    assert line["prompt_tokens"] > 0


def test_what_the_gateways_own_models_read_is_recorded(lane: Lane) -> None:
    name = "embedded"
    reply = httpx.post(
        f"{lane.gateway.url}/embeddings",
        json={"model": "minilm", "input": "kitchen"},
        headers={"authorization": f"Bearer {KEY}", "x-request-id": name},
    )
    assert reply.status_code == 200
    line = logged(lane, name)
    told = (line["model"], line["lane"], line["prompt_tokens"], line["completion_tokens"])
    assert told == ("minilm", "local", 3, 0)  # the word and its two marks


def logged(lane: Lane, request_id: str) -> dict[str, Any]:
    """The request's line in the access log, which comes when it has ended."""
    deadline = time.monotonic() + 60
    while not (lines := [line for line in log(lane) if line["request_id"] == request_id]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return lines[0]


def log(lane: Lane) -> list[dict[str, Any]]:
    path = lane.gateway.home.parent / "access.log"
    return [json.loads(line) for line in path.read_text().splitlines()]
