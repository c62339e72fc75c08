"""What the fields of a request must be, before an engine sees them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import chat, completion_create_params, embedding_create_params, responses

import gateway
from gateway.api.schemas import ENDPOINTS, accept, for_litellm
from gateway.http.asgi import ApiError
from tests.counting import calls

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
GOOD: dict[str, dict[str, Any]] = {
    "/chat/completions": {"model": "docs", "messages": [USER]},
    "/completions": {"model": "base", "prompt": "hi"},
    "/embeddings": {"model": "small", "input": "hi"},
    "/rerank": {"model": "small", "query": "hi", "documents": ["a", "b"]},
    "/responses": {"model": "base", "input": "hi"},
    "/messages": {"model": "base", "messages": [USER], "max_tokens": 5},
}
CHAT = "/chat/completions"


def refusal(endpoint: str, **fields: Any) -> tuple[str, str]:
    """The param and the message of the error."""
    with pytest.raises(ApiError) as caught:
        accept(endpoint, {**GOOD[endpoint], **fields})
    error = caught.value.body["error"]
    assert caught.value.status == 400
    assert error["type"] == "invalid_request_error"
    return str(error["param"]), str(error["message"])


@pytest.mark.parametrize("endpoint", GOOD)
def test_an_ordinary_request_passes_and_nulls_are_not_sent(endpoint: str) -> None:
    good = GOOD[endpoint]
    assert accept(endpoint, {**good, "user": None}) == good
    if endpoint not in ("/embeddings", "/rerank"):
        accept(endpoint, {**good, "stream": True, "temperature": 1, "top_p": 0.5, "user": "me"})


@pytest.mark.parametrize("endpoint", GOOD)
@pytest.mark.parametrize("value", [None, 1, {"a": [1]}])
def test_an_unknown_field_is_refused_by_name(endpoint: str, value: Any) -> None:
    param, message = refusal(endpoint, unheard_of=value)
    assert (param, message) == ("unheard_of", f"unheard_of is not a field of {endpoint} here")


@pytest.mark.parametrize(
    ("endpoint", "field"), [(e, f) for e in GOOD for f in GOOD[e] if f != "max_tokens"]
)
def test_a_field_that_is_needed_is_missed_by_name(endpoint: str, field: str) -> None:
    body = {name: value for name, value in GOOD[endpoint].items() if name != field}
    for missing in (body, {**body, field: None}):
        with pytest.raises(ApiError, match=f"^{field} is missing$") as caught:
            accept(endpoint, missing)
        assert caught.value.body["error"]["param"] == field


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 32_000, "max_completion_tokens": 1},
        {"n": 2, "stop": "\n", "seed": -5, "logit_bias": {"5": -100}, "logprobs": True},
        {"stop": ["a", "b"], "logprobs": True, "top_logprobs": 20},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
        {"tools": [TOOL]},
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
        {"tools": [], "tool_choice": "auto"},
        {"tool_choice": "none"},
        {"functions": [], "function_call": "auto"},
        {"reasoning": {"effort": "low"}, "usage": {"include": True}, "provider": {"sort": "price"}},
        {"thinking": {"type": "disabled"}, "enable_thinking": False, "thinking_budget": 100},
        {"think": False, "num_ctx": 8192, "keep_alive": "5m", "cache_prompt": True},
        {"messages": [{"role": "developer", "content": "be short"}, USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "me"}]},
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": CALL["id"], "content": "it is here"},
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
    ],
)
def test_what_clients_really_send_passes(fields: dict[str, Any]) -> None:
    accept(CHAT, {**GOOD[CHAT], **fields})


# What belongs to a store of responses or files, which this gateway has not.
NOT_HERE = {"access_programs", "background_options", "image", "prompt"}


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [
        (CHAT, chat.completion_create_params.CompletionCreateParamsStreaming),
        ("/completions", completion_create_params.CompletionCreateParamsStreaming),
        ("/embeddings", embedding_create_params.EmbeddingCreateParams),
        ("/responses", responses.response_create_params.ResponseCreateParamsStreaming),
    ],
)
def test_every_field_of_openais_sdk_is_known(endpoint: str, params: Any) -> None:
    missing = params.__annotations__.keys() - ENDPOINTS[endpoint].keys()
    assert missing <= NOT_HERE


WRONG: list[tuple[str, list[Any]]] = [
    ("model", [5, [], {}, True, ""]),
    ("messages", ["hi", {}, [], 5]),
    ("temperature", ["hot", -1, 2.1, 1e30, True, [], float("nan"), float("inf")]),
    ("top_p", ["x", -0.1, 1.1]),
    ("max_tokens", ["many", -1, 0, 1.5, 1e30, 2**31, 2**64, True, []]),
    ("max_completion_tokens", ["many", -1, 0, 1.5]),
    ("n", ["two", 0, -1, 1.5, 1000]),
    ("stop", [5, {}, [5], [None], True, ["a"] * 5]),
    ("stream", ["yes", 1, 0, []]),
    ("stream_options", ["x", 5, []]),
    ("logprobs", ["x", 5, []]),
    ("top_logprobs", ["x", -1, 21, 1.5, True, 5]),
    ("response_format", ["json", 5, []]),
    ("tools", ["x", 5, {}]),
    ("tool_choice", ["x", 5, [], "required", {"type": "function", "function": {"name": "g"}}]),
    ("seed", ["x", 1.5, 2**63, 2**64]),
    ("logit_bias", ["x", []]),
    ("frequency_penalty", ["x", 3, -3]),
    ("presence_penalty", ["x", 3]),
    ("metadata", ["x", []]),
    ("user", [5, []]),
    ("parallel_tool_calls", ["x"]),
]


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in WRONG for v in values])
def test_a_wrong_value_is_refused_with_its_field_and_value(field: str, value: Any) -> None:
    param, message = refusal(CHAT, **{field: value})
    assert param == field
    assert message.startswith(field)
    assert len(message) < 200
    if isinstance(value, str) and value and value != "required":
        assert value in message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [USER, None]}, "messages[1]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": 1, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{**USER, "name": 5}]}, "messages[0].name"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "messages[0].tool_calls[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"x": 1}]}]},
            "messages[0].tool_calls[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "type": "banana"}]}]},
            "messages[0].tool_calls[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "id": [1]}]}]},
            "messages[0].tool_calls[0].id",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "function": "x"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "banana"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name"),
        (
            {"tools": [TOOL, {"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[1].function.parameters",
        ),
        ({"tools": [TOOL], "tool_choice": {}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
        ),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "nonsense"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]},
            "messages[0].tool_call_id",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "b", "content": "x"},
                ]
            },
            "messages[1].tool_call_id",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "look up"}}]},
            "tools[0].function.name",
        ),
        ({"logit_bias": {"5": "x"}}, "logit_bias.5"),
    ],
)
def test_a_mistake_deep_inside_is_named_with_its_place(fields: dict[str, Any], param: str) -> None:
    named, message = refusal(CHAT, **fields)
    assert named == param
    assert message.startswith(param)


OTHERS: list[tuple[str, str, list[Any]]] = [
    ("/completions", "prompt", [5, [], {}, [None], [1.5], ["a", 5], [[]], True]),
    ("/completions", "max_tokens", [-1, "many"]),
    ("/completions", "logprobs", [True, -1, 21, "x"]),
    ("/completions", "echo", ["x"]),
    ("/completions", "suffix", [5]),
    ("/completions", "best_of", [0, "x", 2]),
    ("/embeddings", "input", [5, [], {}, "", ["a", ""], [[]], ["a", 5], [None], True]),
    ("/embeddings", "encoding_format", ["x", 5]),
    ("/embeddings", "dimensions", [0, "x", 1.5]),
    ("/rerank", "query", [5]),
    ("/rerank", "documents", ["x", [], [5]]),
    ("/rerank", "top_n", [0]),
    ("/responses", "input", [5, {}]),
    ("/responses", "max_output_tokens", [0, "x"]),
    ("/responses", "tools", ["x"]),
    ("/messages", "messages", ["x", []]),
    ("/messages", "max_tokens", ["x", 0]),
    ("/messages", "system", [5]),
]


@pytest.mark.parametrize(
    ("endpoint", "field", "value"), [(e, f, v) for e, f, values in OTHERS for v in values]
)
def test_the_other_endpoints_have_their_rules(endpoint: str, field: str, value: Any) -> None:
    assert refusal(endpoint, **{field: value})[0] == field


@pytest.mark.parametrize("value", ["hi", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_texts_and_tokens_are_prompts_and_inputs(value: Any) -> None:
    accept("/completions", {"model": "m", "prompt": value})
    accept("/embeddings", {"model": "m", "input": value})


def test_messages_has_parts_that_a_chat_has_not() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "x", "data": "x"}}
    accept("/messages", {"model": "m", "messages": [{"role": "user", "content": [image]}]})


@pytest.mark.parametrize("prompt", ["", ["", "a"]])
def test_an_empty_prompt_has_one_completion(prompt: Any) -> None:
    body = {"model": "base", "prompt": prompt}
    accept("/completions", {**body, "n": 1})
    accept("/completions", {**body, "n": 2, "suffix": "}"})
    with pytest.raises(ApiError, match="n must be 1 where a prompt is empty"):
        accept("/completions", {**body, "n": 2})


def test_a_completion_of_no_tokens_has_one_choice() -> None:
    param, message = refusal("/completions", max_tokens=0, echo=True, n=2)
    assert (param, "all choices would be the same" in message) == ("n", True)


def test_a_prompt_may_be_scored_without_an_answer() -> None:
    accept("/completions", {"model": "m", "prompt": "hi", "max_tokens": 0, "echo": True})


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "role", "content", "text", "x"]), inner
        )
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([field for field, _ in WRONG])


@given(st.sampled_from(sorted(GOOD)), st.dictionaries(FIELDS, VALUES, max_size=4))
def test_whatever_is_sent_passes_or_is_an_error_400(endpoint: str, fields: dict[str, Any]) -> None:
    try:
        accept(endpoint, {**GOOD[endpoint], **fields})
    except ApiError as error:
        json.dumps(error.body)
        status = error.status
    else:
        status = 400
    assert status == 400


def test_a_number_of_thousands_of_digits_is_not_repeated() -> None:
    assert refusal(CHAT, max_tokens=10**4000)[1].endswith("(it is a huge number)")


def test_a_request_is_checked_in_a_few_calls() -> None:
    body = {
        **GOOD[CHAT],
        "messages": [{"role": "system", "content": "be short"}, USER],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 100,
    }
    accept(CHAT, body)
    assert calls(lambda: accept(CHAT, body)) <= 80  # 2 microseconds on a quiet machine


TOO_MANY: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": [USER] * 4097}),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 4097}]}),
    (CHAT, {"tools": [TOOL] * 129}),
    (CHAT, {"stop": ["a"] * 17}),
    (CHAT, {"logit_bias": {str(token): 1 for token in range(301)}}),
    (CHAT, {"stop_token_ids": [1] * 1025}),
    (CHAT, {"metadata": {str(number): "" for number in range(101)}}),
    ("/completions", {"prompt": ["a"] * 513}),
    ("/completions", {"prompt": [[1]] * 513}),
    ("/completions", {"prompt": ["a"] * 257, "n": 2}),
    ("/embeddings", {"input": ["a"] * 2049}),
    ("/rerank", {"documents": ["a"] * 1001}),
    ("/responses", {"input": [{}] * 4097}),
    ("/messages", {"system": [{"type": "text", "text": "a"}] * 4097}),
]


def test_each_endpoint_is_declared_once() -> None:
    """Who needs its path takes it from the table."""
    root = Path(gateway.__file__).parent
    text = "".join(
        file.read_text()
        for part in ("api", "routing", "runtime", "telemetry")
        for file in (root / part).rglob("*.py")
    )
    assert {path: text.count(f'"{path}"') for path in ENDPOINTS} == dict.fromkeys(ENDPOINTS, 1)


@pytest.mark.parametrize(("endpoint", "fields"), TOO_MANY)
def test_counts_are_bounded(endpoint: str, fields: dict[str, Any]) -> None:
    assert "entries: send at most" in refusal(endpoint, **fields)[1]


_MANY: dict[str, Any] = {"enum": [f"x{number}" for number in range(1001)]}
_WIDE = {"type": "object", "properties": {f"p{number}": {} for number in range(5001)}}
_HALF = {"enum": list(range(501))}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
            "response_format.json_schema.schema",
        )
        for schema in (_MANY, _WIDE, {"anyOf": [_HALF, _HALF]}, {"not": [[_MANY]]})
    ]
    + [
        ({"response_format": {"type": "json_object", "schema": _MANY}}, "response_format.schema"),
        ({"response_format": {"type": "structural_tag", "tags": [_MANY]}}, "response_format"),
        (
            {"tools": [{**TOOL, "function": {"name": "f", "parameters": _MANY}}]},
            "tools[0].function.parameters",
        ),
        ({"guided_json": _MANY}, "guided_json"),
        ({"json_schema": _MANY}, "json_schema"),
        ({"grammar": "root ::= " + '"a" | ' * 1001 + '"b"'}, "grammar"),
        ({"grammar": "a" * 65_537}, "grammar"),
        ({"guided_regex": "a|" * 1001}, "guided_regex"),
        ({"structured_outputs": {"json": _MANY}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a|" * 1001}}, "structured_outputs.regex"),
    ],
)
def test_no_schema_holds_up_an_engine(fields: dict[str, Any], place: str) -> None:
    """llama.cpp looks at each alternative for each token, and answers nobody meanwhile."""
    param, message = refusal(CHAT, **fields)
    assert param == place
    assert "is too large: send at most" in message


def test_schemas_in_use_are_not_too_large() -> None:
    wide = {f"p{number}": {"enum": ["a", "b"]} for number in range(400)}
    schema = {"type": "object", "properties": wide, "required": list(wide) * 3}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    tools = [{**TOOL, "function": {"name": "f", "parameters": schema}}]
    grammar = "root ::= " + '"a" | ' * 900 + '"b"'
    accept(CHAT, {**GOOD[CHAT], "response_format": form, "tools": tools, "grammar": grammar})


@pytest.mark.parametrize("name", ["messages", "chat_template", "tools", "tokenize"])
def test_what_a_template_is_rendered_with_is_not_the_clients(name: str) -> None:
    """llama.cpp rendered `messages` in place of the prompt, without the alias's instructions."""
    param, _ = refusal(CHAT, chat_template_kwargs={"enable_thinking": False, name: []})
    assert param == f"chat_template_kwargs.{name}"
    accept(CHAT, {**GOOD[CHAT], "chat_template_kwargs": {"enable_thinking": False}})


def test_tools_that_a_choice_allows_are_those_that_are_sent() -> None:
    def named(name: Any, kind: str = "function") -> dict[str, Any]:
        return {"type": kind, kind: {"name": name}}

    def allowing(*tools: Any, mode: Any = "auto") -> dict[str, Any]:
        inside = {"mode": mode, "tools": list(tools)}
        return {"type": "allowed_tools", "allowed_tools": inside}

    tools = [named("a"), named("b"), named("b", "custom")]
    body = {**GOOD[CHAT], "tools": tools}
    sent = accept(CHAT, {**body, "tool_choice": allowing(named("b"), mode="required")})
    assert (sent["tools"], sent["tool_choice"]) == ([named("b")], "required")
    for choice, place in (
        (allowing(named("c")), "tool_choice.allowed_tools.tools[0]"),
        (allowing(named("a"), mode="none"), "tool_choice.allowed_tools.mode"),
        (allowing(named(["a"])), "tool_choice.allowed_tools.tools[0].function.name"),
        (allowing({"type": []}), "tool_choice.allowed_tools.tools[0].type"),
        (allowing(5), "tool_choice.allowed_tools.tools[0]"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (allowing(mode="required"), "tool_choice"),
    ):
        assert refusal(CHAT, tools=tools, tool_choice=choice)[0] == place


def test_what_litellm_is_sent_of_a_message_is_in_a_list() -> None:
    """It takes pictures from `images` of an assistant's message, too, for Gemini."""
    image = {"image_url": {"url": "gs://bucket/secret.png"}}
    said: Any = {"role": "assistant", "content": "Hello.", "images": [image], "cached": {"a": 1}}
    hello = {"role": "user", "content": "Say hello."}
    sent = for_litellm("/chat/completions", {"messages": [hello, said]})
    assert sent["messages"] == [hello, {"role": "assistant", "content": "Hello."}]
