"""What the API promises beside answers: contracts that clients rely on without looking."""

import json
from typing import Any

import httpx
import openai
import pydantic
import pytest

from tests.conformance.conftest import VLLM_STARTS, Lane
from tests.conformance.test_openai import CAPITAL, COFFEE, HELLO, TOOL, logged, post
from tests.conformance.vllm_metrics import Vllm
from tests.starting import KEY

pytestmark = pytest.mark.slow

CUP: Any = [{"role": "user", "content": "Who won the football world cup of 1954?"}]
RESULT: Any = {"role": "tool", "tool_call_id": "x", "content": "y"}
PIXEL = "data:image/png;base64,AAAA"


class Place(pydantic.BaseModel):
    room: str = pydantic.Field(max_length=30)  # the small model says it again and again, else


def ended(choice: dict[str, Any]) -> bool:
    return choice["finish_reason"] is not None


def error(reply: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()["error"]
    return found


def test_docs_fills_a_schema_from_the_pages_or_refuses(each: Lane) -> None:
    def parse(messages: Any) -> Any:
        return each.client.chat.completions.parse(
            model=each.docs, messages=messages, response_format=Place, max_tokens=100
        )

    message = parse(COFFEE).choices[0].message
    assert isinstance(message.parsed, Place)
    assert message.refusal is None
    message = parse(CUP).choices[0].message
    assert (message.content, message.parsed) == (None, None)
    assert "enough information" in message.refusal
    with each.client.chat.completions.stream(
        model=each.docs, messages=CUP, response_format=Place, max_tokens=100
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion().choices[0].message
    assert "refusal.done" in kinds
    assert final.content is None
    assert "enough information" in (final.refusal or "")


@pytest.mark.parametrize(
    ("served", "form"),
    [
        ("llamacpp", {"json_schema": Place.model_json_schema()}),
        ("llamacpp", {"grammar": 'root ::= "{\\"room\\": \\"kitchen\\"}"'}),
        pytest.param(
            "vllm",
            {"structured_outputs": {"json": Place.model_json_schema()}},
            marks=VLLM_STARTS,
        ),
    ],
)
def test_a_form_in_an_engines_own_field_holds_too(
    request: pytest.FixtureRequest, served: str, form: dict[str, Any]
) -> None:
    lane: Lane = request.getfixturevalue(f"{served}_lane")
    body = post(lane, "/chat/completions", model="docs", messages=COFFEE, max_tokens=100, **form)
    Place.model_validate_json(body.json()["choices"][0]["message"]["content"])
    assert body.json()["askdocs"]["verdict"] == "none"  # JSON is not checked as text


def test_the_name_that_was_asked_for_comes_back(each: Lane) -> None:
    reply = post(each, "/chat/completions", model=each.docs, messages=COFFEE, max_tokens=4)
    assert reply.json()["model"] == each.docs
    assert reply.json()["askdocs"]["served"] == reply.headers["x-askdocs-model"] == each.base
    own = [] if each.calls_tools else ["small-llama"]
    for model in (each.docs, each.base, *own):
        stream = each.client.chat.completions.create(
            model=model, messages=COFFEE, max_tokens=4, stream=True
        )
        chunks = list(stream)
        assert {chunk.model for chunk in chunks} == {model}
        (id,) = {chunk.id for chunk in chunks}
        assert id.startswith("chatcmpl-")


def is_llamacpp_as_provider(lane: Lane) -> bool:
    return lane.base == "base-litellm" and not isinstance(lane.engine, Vllm)


@pytest.mark.parametrize("stream", [False, True])
def test_completions_of_several_prompts_are_one_answer(each: Lane, stream: bool) -> None:
    asked: Any = {"model": each.base, "prompt": ["One two", "Red"], "n": 2, "max_tokens": 3}
    asked["ignore_eos"] = True
    usage = {"stream_options": {"include_usage": True}} if stream else {}
    reply = post(each, "/completions", **asked, stream=stream, **usage)
    if stream:
        lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    else:
        lines = [reply.text]
    chunks = [json.loads(line) for line in lines]
    (id,) = {chunk["id"] for chunk in chunks}
    assert id.startswith("cmpl-")
    assert {choice["index"] for chunk in chunks for choice in chunk["choices"]} == {0, 1, 2, 3}
    assert {chunk["model"] for chunk in chunks} == {each.base}
    ends = [choice["index"] for chunk in chunks for choice in chunk["choices"] if ended(choice)]
    assert sorted(ends) == [0, 1, 2, 3]
    usage = chunks[-1]["usage"]
    # Of a provider's whole answer the usage is what it says: llama.cpp's is that of one choice.
    said = 3 if is_llamacpp_as_provider(each) and not stream else 12
    assert usage["completion_tokens"] == said
    assert usage["total_tokens"] == usage["prompt_tokens"] + said
    assert logged(each, reply.headers["x-request-id"])["completion_tokens"] == said


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_of_a_chat_are_counted_and_have_one_id(each: Lane, stream: bool) -> None:
    asked: Any = {"model": each.base, "messages": HELLO, "max_tokens": 2}
    usage: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    made: Any = each.client.chat.completions.create(**asked, n=2, **usage)
    chunks = list(made) if stream else [made]
    said = 2 if is_llamacpp_as_provider(each) and not stream else 4
    assert chunks[-1].usage.completion_tokens == said
    (id,) = {chunk.id for chunk in chunks}
    assert id.startswith("chatcmpl-")
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert {choice.index for choice in choices} == {0, 1}
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["length"] * 2
    assert {chunk.model for chunk in chunks} == {each.base}
    one = each.client.chat.completions.create(**asked)
    assert one.usage.prompt_tokens == chunks[-1].usage.prompt_tokens  # the prompt counts once


@pytest.mark.parametrize(("echo", "text"), [(False, ""), (True, "Red")])
def test_a_completion_of_no_tokens_is_none_or_the_prompt(each: Lane, echo: bool, text: str) -> None:
    asked: Any = {"model": each.base, "prompt": ["Red", "Red"], "max_tokens": 0, "echo": echo}
    reply = each.client.completions.create(**asked)
    assert [choice.text for choice in reply.choices] == [text, text]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (2, 0)
    chunks = list(each.client.completions.create(**asked, stream=True))
    assert [choice.text for chunk in chunks for choice in chunk.choices] == [text, text]


def test_an_engine_that_echoes_no_prompt_says_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="echo"):
        client.completions.create(model="base", prompt="Red", max_tokens=1, echo=True)


def test_a_thread_is_refused_so_that_anthropics_tool_runner_goes_on_without(lane: Lane) -> None:
    body = {"model": "docs", "messages": HELLO, "max_tokens": 4, "thread": {"type": "create"}}
    found = error(post(lane, "/messages", **body))
    assert found["type"] == "invalid_request_error"
    assert found["details"]["error_code"] == "thread_unsupported_request"


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_in_completions_is_answered_from_the_wiki(most: Lane, stream: bool) -> None:
    asked: Any = {"model": most.docs, "prompt": COFFEE[0]["content"], "max_tokens": 12}
    reply = post(most, "/completions", **asked, stream=stream)
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines] if stream else [reply.json()]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert {chunk["model"] for chunk in chunks} == {most.docs}
    assert reply.headers["x-askdocs-grounding"] == "on; pages=1"
    said = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert "coffee" in said.lower()
    (facts,) = [chunk["askdocs"] for chunk in chunks if "askdocs" in chunk]
    assert facts["pages"]
    assert error(post(most, "/completions", **asked, suffix="x"))["param"] == "suffix"


def test_responses_and_messages_say_what_they_stand_on(most: Lane) -> None:
    asked: Any = {"input": COFFEE[0]["content"], "max_output_tokens": 16}  # one sentence
    reply = post(most, "/responses", model=most.docs, **asked, stream=True)
    names = [line[7:] for line in reply.text.splitlines() if line.startswith("event: ")]
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line[:6] == "data: "]
    assert names == [event["type"] for event in events]
    last = events[-1]["response"]
    assert last["askdocs"]["pages"]
    assert last["output"][0]["content"][0]["annotations"][0]["type"] == "url_citation"
    body = post(most, "/messages", model=most.docs, messages=COFFEE, max_tokens=16).json()
    assert body["content"][0]["citations"][0]["url"].endswith("#where-is-the-coffee-machine")
    counted = post(most, "/messages/count_tokens", model=most.docs, messages=COFFEE).json()
    assert 5 < counted["input_tokens"] < body["usage"]["input_tokens"] + 200


@pytest.mark.parametrize("path", ["/responses", "/messages"])
def test_errors_of_translated_requests_are_those_of_a_chat(each: Lane, path: str) -> None:
    name = "input" if path == "/responses" else "messages"
    image: Any = {"type": "input_image", "image_url": PIXEL}
    if path == "/messages":
        source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        image = {"type": "image", "source": source}
    most = "max_output_tokens" if path == "/responses" else "max_tokens"
    asked: Any = {name: [{"role": "user", "content": [image]}]}
    for model in (each.docs, each.base):
        replies = [post(each, path, model=model, **asked, **{most: 16})]
        if path == "/messages" and model != "base-litellm":  # a provider is not asked to count
            replies.append(post(each, "/messages/count_tokens", model=model, **asked))
        for reply in replies:
            said = error(reply)
            assert (said["param"], said["code"]) == (f"{name}[0].content[0]", "model_not_supported")
    long: Any = {name: [{"role": "user", "content": "why " * 9000}], most: 16}
    reply = post(each, path, model=each.base, **long)
    assert error(reply)["code"] == "context_length_exceeded"
    assert (reply.json().get("type") == "error") == (path == "/messages")
    words = (
        "prompt is too long" if path == "/messages" else "This model's maximum context length is"
    )
    assert error(reply)["message"].startswith(words)
    if path == "/responses":
        streamed = post(each, path, model=each.base, stream=True, **long)
        last = json.loads(streamed.text.strip().rpartition("data: ")[2])
        assert (streamed.status_code, last["type"]) == (200, "response.failed")
        assert last["response"]["error"]["code"] == "context_length_exceeded"
    assert "litellm" not in reply.text.lower()


def test_a_wrong_key_or_name_is_not_to_be_asked_again(lane: Lane) -> None:
    url = f"{lane.gateway.url}/messages"
    wrong = {"authorization": "Bearer ask-wrong"}
    for path, headers, status in (
        ("messages", wrong, 401),
        ("models", wrong, 401),
        ("nothing", {"authorization": f"Bearer {KEY}"}, 404),
    ):
        reply = httpx.post(url.replace("messages", path), json={}, headers=headers)
        if path == "models":
            reply = httpx.get(url.replace("messages", path), headers=headers)
        assert (reply.status_code, reply.headers["x-should-retry"]) == (status, "false")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ],
    ids=lambda part: str(part["type"]),
)
def test_what_a_model_cannot_read_is_refused_in_the_history_too(each: Lane, part: Any) -> None:
    text = {"type": "text", "text": "What is this?"}
    history: Any = [
        {"role": "user", "content": [text, part]},
        {"role": "assistant", "content": "?"},
    ]
    asked: Any = {"messages": [*history, *COFFEE], "max_tokens": 4}
    for model in (each.docs, each.base):
        said = error(post(each, "/chat/completions", model=model, **asked))
        assert (said["param"], said["code"]) == ("messages[0].content[1]", "model_not_supported")


def test_a_result_without_its_call_is_named_in_the_clients_words(lane: Lane) -> None:
    result = {"type": "tool_result", "tool_use_id": "x", "content": "y"}
    output = {"type": "function_call_output", "call_id": "x", "output": "y"}
    for path, asked, param in (
        ("/chat/completions", {"messages": [RESULT]}, "messages[0].tool_call_id"),
        ("/responses", {"input": [output]}, "input[0].call_id"),
        (
            "/messages",
            {"messages": [{"role": "user", "content": [result]}], "max_tokens": 4},
            "messages[0].content[0].tool_use_id",
        ),
    ):
        said = error(post(lane, path, model="base", **asked))
        assert said["param"] == param
        assert said["message"].startswith(param)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": TOOL["function"]}])
def test_a_model_without_tools_is_not_made_to_call_any(
    lane: Lane, choice: Any, stream: bool
) -> None:
    """The small model's chat template has no place for tools."""
    asked: Any = {"model": lane.base, "messages": HELLO, "max_tokens": 4, "stream": stream}
    asked |= {"tools": [TOOL], "tool_choice": choice}
    said = error(post(lane, "/chat/completions", **asked))
    assert (said["param"], said["code"]) == ("tool_choice", "model_not_supported")


@pytest.mark.parametrize("top", [None, 0, 2])
@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_come_however_many_others_are_asked_for(
    each: Lane, top: int | None, stream: bool
) -> None:
    stream &= each.base == "base"  # LiteLLM leaves them out of streams
    asked: Any = {"messages": CAPITAL, "max_tokens": 2, "temperature": 0, "logprobs": True}
    asked |= {} if top is None else {"top_logprobs": top}
    reply = post(each, "/chat/completions", model=each.base, **asked, stream=stream)
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [c for line in lines or [reply.text] for c in json.loads(line)["choices"]]
    told = [token for c in choices for token in (c.get("logprobs") or {}).get("content") or ()]
    assert len(told) == 2
    assert all(token["logprob"] <= 0 for token in told)
    assert all(len(token["top_logprobs"]) >= (top or 0) for token in told)


def test_an_answer_without_words_is_an_empty_text(llamacpp: Lane) -> None:
    asked: Any = {"messages": HELLO, "max_tokens": 4, "temperature": 0, "stop": [""]}
    reply = post(llamacpp, "/chat/completions", model=llamacpp.base, **asked).json()
    message = reply["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == ("", None)


def test_half_a_character_reaches_no_engine(most: Lane) -> None:
    """Editors send it that cut a text at a length."""
    for model in (most.base, most.docs):
        asked: Any = {"messages": [{"role": "user", "content": "Where is the coffee? \ud83d"}]}
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        body = json.dumps({"model": model, "max_tokens": 4, **asked})
        url = f"{most.gateway.url}/chat/completions"
        reply = httpx.post(url, content=body, headers=headers, timeout=240)
        assert reply.status_code == 200, reply.text


def test_what_an_engine_refuses_is_an_invalid_request_that_names_it(lane: Lane) -> None:
    custom: Any = [{"type": "custom", "custom": {"name": "x"}}]
    voiced: Any = {"messages": HELLO, "modalities": ["text", "audio"]}
    for path, asked, param in (
        ("/chat/completions", {"messages": HELLO, "n": 9}, "n"),
        ("/chat/completions", {"messages": HELLO, "tools": custom}, None),
        ("/chat/completions", voiced, "modalities"),
        ("/chat/completions", {"model": "docs", **voiced}, "modalities"),
        ("/embeddings", {"input": "x"}, "model"),
    ):
        said = error(post(lane, path, **{"model": "base", **asked}))
        assert (said["type"], said["param"]) == ("invalid_request_error", param)


def test_tools_may_be_limited_to_some(each: Lane) -> None:
    other: Any = {"type": "function", "function": {"name": "close_page"}}
    named = {"type": "function", "function": {"name": TOOL["function"]["name"]}}
    allowed: Any = {"type": "allowed_tools"}
    allowed["allowed_tools"] = {"mode": "auto", "tools": [named]}
    asked: Any = {"messages": HELLO, "max_tokens": 4, "tools": [TOOL, other]}
    reply = post(each, "/chat/completions", model=each.base, **asked, tool_choice=allowed)
    if each.calls_tools and reply.status_code == 400:  # vLLM was started without a parser
        assert error(reply)["param"] == "tool_choice"
    else:
        assert reply.status_code == 200, reply.text


def test_whatever_is_wrong_below_messages_has_anthropics_shape(lane: Lane) -> None:
    for path in ("/messages/batches", "/messages/count_tokens"):
        reply = post(lane, path, model="base", nonsense=1)
        assert reply.json()["type"] == "error", reply.text
    headers = {"x-api-key": KEY}
    reply = httpx.get(f"{lane.gateway.url}/messages", headers=headers)
    assert (reply.status_code, reply.json()["type"]) == (405, "error")


@pytest.mark.parametrize("stream", [False, True])
def test_probabilities_of_a_completion_have_their_own_form(most: Lane, stream: bool) -> None:
    stream &= most.base == "base"  # LiteLLM leaves them out of streams
    top = 0 if most.base == "base" else 2  # llama.cpp takes 0 for none; who knows of a provider?
    asked: Any = {"prompt": "One, two,", "max_tokens": 3, "temperature": 0, "logprobs": top}
    reply = post(most, "/completions", model=most.base, **asked, stream=stream)
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [c for line in lines or [reply.text] for c in json.loads(line)["choices"]]
    text = "".join(choice["text"] for choice in choices)
    told = [choice["logprobs"] for choice in choices if choice.get("logprobs")]
    tokens = [token for part in told for token in part["tokens"]]
    offsets = [offset for part in told for offset in part["text_offset"]]
    others = [other for part in told for other in part["top_logprobs"]]
    assert len(tokens) == 3
    assert "".join(tokens) == text
    assert offsets == [len("".join(tokens[:at])) for at in range(3)]
    assert all(value <= 0 for part in told for value in part["token_logprobs"])
    assert all(len(other) >= top for other in others)
