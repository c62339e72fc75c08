"""Responses, Messages and completions as chats: requests there, answers back.

OpenAI's own types judge the events and answers of Responses.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from openai.types import Completion as OpenAICompletion
from openai.types.responses import Response, ResponseStreamEvent

from gateway.api import schemas
from gateway.api.completion import Completion
from gateway.api.messages import Messages
from gateway.api.responses import Responses
from gateway.api.translation import Translation
from gateway.http.asgi import ApiError
from gateway.routing import abilities

EVENTS = {
    get_args(event.model_fields["type"].annotation)[0]: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
}
URL = "http://wiki/coffee/#where"
CITED = {"type": "url_citation", "url_citation": {"url": URL, "title": "Coffee"}}
CITED["url_citation"] |= {"start_index": 0, "end_index": 5}  # type: ignore[operator]
FACTS = {"sources": [{"url": URL, "quote": "On floor 3."}], "pages": []}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 5},
}
TOOLS: Any = [
    {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True},
    {"type": "custom", "name": "patch", "description": "Edits.", "format": {"type": "text"}},
    {"type": "web_search"},
    {
        "type": "namespace",
        "name": "wiki",
        "description": "Reads.",
        "tools": [{"type": "function", "name": "find"}],
    },
]
TEXT = {"content": "Floor 3.", "annotations": [CITED]}
INPUT = '{"input":"x"}'
CALLS = {
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
        {
            "id": "c2",
            "type": "function",
            "function": {"name": "patch", "arguments": INPUT},
        },
        {"id": "c3", "type": "function", "function": {"name": "wiki__find", "arguments": "{}"}},
    ],
}
REFUSED = {"content": None, "refusal": "I don't have enough information."}
THOUGHT = {"content": "Yes.", "reasoning_content": "Well."}
ANSWERS = {"text": TEXT, "calls": CALLS, "refused": REFUSED, "thought": THOUGHT}


def whole(message: Any, reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return json.dumps({"choices": [choice], "usage": USAGE, "askdocs": FACTS}).encode()


def stream(message: Any, reason: str = "stop") -> bytes:
    """The same, as an engine sends it: texts and arguments in two pieces."""
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning_content", "content", "refusal"):
        if said := message.get(name):
            deltas += [{name: said[:3]}, {name: said[3:]}]
    for number, call in enumerate(message.get("tool_calls") or ()):
        head = {"index": number, "id": call["id"], "type": "function"}
        name, arguments = call["function"].values()
        deltas.append({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
        for part in (arguments[:2], arguments[2:]):
            if part:
                deltas.append({"tool_calls": [{"index": number, "function": {"arguments": part}}]})
    last = {name: message[name] for name in ("annotations",) if name in message}
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"index": 0, "delta": last, "finish_reason": reason}
    chunks += [{"choices": [end], "askdocs": FACTS}, {"choices": [], "usage": USAGE}]
    data = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*data, "data: [DONE]\n\n"]).encode()


def events(translation: Translation, data: bytes) -> list[Any]:
    """Fed byte by byte; each event's name is its type."""
    out = b"".join(translation.feed(data[n : n + 1]) for n in range(len(data)))
    found = []
    for event in out.decode().split("\n\n")[:-1]:
        name, said = event.split("\n")
        found.append(json.loads(said.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def plain(value: Any) -> Any:
    """Without what differs each time."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("id", "created_at")}
    return [plain(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_response_is_as_openai_describes_it_whole_and_streamed(name: str, reason: str) -> None:
    asked = {"model": "docs", "input": "Where?", "tools": TOOLS, "stream": True}
    told = Responses(asked)
    told.chat()
    found = events(told, stream(ANSWERS[name], reason))
    for event in found:
        EVENTS[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    added = [event["item"]["id"] for event in found if event["type"].endswith("item.added")]
    done = [event["item"] for event in found if event["type"].endswith("item.done")]
    response = found[-1]["response"]
    assert [item["id"] for item in done] == added
    assert done == response["output"]
    assert response["status"] == {"stop": "completed", "length": "incomplete"}[reason]
    assert response["id"].startswith("resp_")
    assert response["model"] == "docs"
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 0
    once = Responses(asked)
    once.chat()
    answered = json.loads(once.whole(whole(ANSWERS[name], reason)))
    Response.model_validate(answered)
    assert plain(answered) == plain(response)


def test_a_responses_tools_come_back_under_their_own_names() -> None:
    told = Responses({"model": "m", "input": "?", "tools": TOOLS})
    names = [tool["function"]["name"] for tool in told.chat()["tools"]]
    assert names == ["look", "patch", "wiki__find"]
    look, patch, find = json.loads(told.whole(whole(CALLS)))["output"]
    assert (look["type"], look["name"], look["call_id"]) == ("function_call", "look", "c1")
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "patch", "x")
    assert (find["name"], find["namespace"]) == ("find", "wiki")


def test_a_response_that_breaks_off_ends_as_failed() -> None:
    said = b'data: {"choices":[{"index":0,"delta":{"content":"Flo"}}]}\n\n'
    broken = b'data: {"error":{"message":"it broke","code":"engine_unavailable"}}\n\n'
    told = Responses({"model": "m", "input": "?", "stream": True})
    last = events(told, said + broken)[-1]
    EVENTS["response.failed"].model_validate(last)
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "it broke"}
    assert told.feed(said) == b""
    odd = Responses({"model": "m", "input": "?", "stream": True})
    assert events(odd, b'data: {"choices": 5}\n\n')[-1]["type"] == "response.failed"


def test_the_items_of_a_conversation_become_messages() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Look."}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
    ]
    chat = Responses({"model": "m", "input": items, "instructions": "Be brief."}).chat()
    roles = [message["role"] for message in chat["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool"]
    assert chat["messages"][2]["content"] == "I"
    calls = [call["function"] for call in chat["messages"][2]["tool_calls"]]
    assert [call["arguments"] for call in calls] == ["{}", '{"input":"x"}']


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "item_reference", "id": "x"}, "input[0]"),
        ({"type": "computer_call"}, "input[0].type"),
        ({"role": "king", "content": "x"}, "input[0].role"),
        ({"role": "user", "content": [{"type": "smell"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "input[0].content[0]",
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "x"},
            "input[0].call_id",
        ),
    ],
)
def test_what_a_chat_has_no_word_for_is_named_where_it_stands(item: Any, param: str) -> None:
    told = Responses({"model": "m", "input": [item], "instructions": "Be brief."})
    with pytest.raises(ApiError) as caught:
        told.chat()
    error = told.placed(caught.value).body["error"]
    assert error["param"] == param
    assert error["message"].startswith(param)


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
def test_what_would_be_kept_is_refused(field: str) -> None:
    for name, value in ((field, "x"), ("store", True), ("background", True)):
        with pytest.raises(ApiError) as caught:
            schemas.accept("/responses", {"model": "m", "input": "?", name: value})
        assert caught.value.body["error"]["param"] == name
    schemas.accept("/responses", {"model": "m", "input": "?", "store": False})


def test_fields_of_responses_and_messages_have_their_names_in_a_chat() -> None:
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    chat = Responses(
        {
            "model": "m",
            "input": "?",
            "tools": TOOLS,
            "tool_choice": {"type": "function", "name": "look"},
            "text": {"format": schema},
            "reasoning": {"effort": "low"},
            "max_output_tokens": 9,
            "metadata": {"page_url": "/a"},
        }
    ).chat()
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert (chat["reasoning_effort"], chat["max_completion_tokens"]) == ("low", 9)
    assert chat["metadata"] == {"page_url": "/a"}
    tool = {"name": "look", "input_schema": {"type": "object"}}
    chat = Messages(
        {
            "model": "m",
            "max_tokens": 9,
            "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
            "messages": [{"role": "user", "content": "?"}],
            "stop_sequences": list("abcdef"),
            "tools": [tool, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "metadata": {"user_id": "ana", "page_url": "/a"},
        }
    ).chat()
    assert chat["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == ("required", False)
    assert [one["function"]["name"] for one in chat["tools"]] == ["look"]
    assert (chat["user"], chat["stop"]) == ("ana", list("abcdef"))
    assert chat["metadata"]["page_url"] == "/a"


def test_the_blocks_of_a_message_become_messages() -> None:
    document = {"type": "text", "media_type": "text/plain", "data": "All of it."}
    messages = [
        {"role": "user", "content": [{"type": "document", "source": document, "title": "Manual"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "found"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]
    chat = Messages({"model": "m", "messages": messages}).chat()["messages"]
    assert [message["role"] for message in chat] == ["user", "assistant", "tool", "user"]
    assert chat[0]["content"] == "Manual\n\nAll of it."
    assert chat[1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert (chat[2]["tool_call_id"], chat[2]["content"]) == ("t1", "found")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": [{"type": "smell"}]}, "messages[0].content[0].type"),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]},
            "messages[0].content[0].source",
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            "messages[0].content[0].tool_use_id",
        ),
    ],
)
def test_a_block_that_a_chat_has_no_word_for_is_named(message: Any, param: str) -> None:
    told = Messages({"model": "m", "messages": [message], "system": "Be brief."})
    with pytest.raises(ApiError) as caught:
        told.chat()
    assert told.placed(caught.value).body["error"]["param"] == param


@pytest.mark.parametrize("name", ANSWERS)
def test_a_message_is_the_same_whole_and_streamed(name: str) -> None:
    asked = {"model": "docs", "messages": [], "thinking": {"type": "enabled"}, "stream": True}
    answered = json.loads(Messages(asked).whole(whole(ANSWERS[name])))
    start, *middle, delta, stop = events(Messages(asked), stream(ANSWERS[name]))
    assert (start["type"], delta["type"], stop["type"]) == (
        *("message_start", "message_delta"),
        "message_stop",
    )
    assert start["message"]["id"].startswith("msg_")
    blocks: list[Any] = []
    for event in middle:
        more = event.get("delta", {})
        match event["type"], more.get("type"):
            case "content_block_start", _:
                assert event["index"] == len(blocks)
                blocks.append(
                    event["content_block"] | {"input": ""}
                    if "input" in event["content_block"]
                    else event["content_block"]
                )
            case "content_block_delta", "citations_delta":
                blocks[-1].setdefault("citations", []).append(more["citation"])
            case "content_block_delta", "input_json_delta":
                blocks[-1]["input"] += more["partial_json"]
            case "content_block_delta", kind:
                field = kind.removesuffix("_delta")
                blocks[-1][field] += more[field]
            case kind, _:
                assert kind == "content_block_stop"
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    assert blocks == answered["content"]
    assert delta["delta"] == {key: answered[key] for key in ("stop_reason", "stop_sequence")}
    assert delta["usage"] == answered["usage"]
    assert answered["usage"]["input_tokens"] == 9
    assert answered["usage"]["cache_read_input_tokens"] == 0
    reasons = {"text": "end_turn", "calls": "tool_use", "refused": "refusal", "thought": "end_turn"}
    assert answered["stop_reason"] == reasons[name]


def test_a_system_message_within_a_conversation_stands_in_the_users() -> None:
    note = {"role": "system", "content": "Be brief."}
    told = "<system-reminder>\nBe brief.\n</system-reminder>"
    parts = [{"type": "text", "text": "A?"}, {"type": "text", "text": "B?"}]

    def chat(*messages: Any) -> Any:
        return Messages({"model": "m", "messages": list(messages)}).chat()["messages"]

    assert chat({"role": "user", "content": "A?"}, note)[0]["content"] == f"A?\n\n{told}"
    (user,) = chat({"role": "user", "content": parts}, note)
    assert user["content"] == [*parts, {"type": "text", "text": told}]
    blocks = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert chat({"role": "assistant", "content": "A."}, blocks)[1] == {
        "role": "user",
        "content": told,
    }


def test_reminders_are_added_in_linear_time() -> None:
    note = {"role": "system", "content": "Be brief."}
    nothing = {"role": "assistant", "content": []}  # stands nowhere in the chat
    long = {"role": "user", "content": "a" * 4_000_000}
    began = time.process_time()
    messages = Messages({"model": "m", "messages": [long, *[note, nothing] * 50_000]})
    (user,) = messages.chat()["messages"]
    assert user["content"].count("Be brief.") == 50_000
    assert time.process_time() - began < 10  # 200 GB and more are copied otherwise


def interleaved() -> bytes:
    """Two calls whose arguments come in turns, and a text before and after."""
    calls = [(0, "look", ""), (1, "patch", '{"in'), (0, "", '{"a":'), (1, "", 'put":"x"}')]
    deltas: list[Any] = [{"content": "Now: "}]
    for number, name, more in [*calls, (0, "", "1}")]:
        function = {"arguments": more, **({"name": name} if name else {})}
        deltas.append({"tool_calls": [{"index": number, "function": function}]})
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in [*deltas, {"content": "."}]]
    data = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*data, "data: [DONE]\n\n"]).encode()


def test_a_responses_calls_may_come_interleaved() -> None:
    told = Responses({"model": "docs", "input": "?", "tools": TOOLS})
    told.chat()
    found = events(told, interleaved())
    for event in found:
        EVENTS[event["type"]].model_validate(event)
    output = found[-1]["response"]["output"]
    said = [item.get("arguments", item.get("input")) for item in output]
    assert said == [None, '{"a":1}', "x", None]
    done = [event for event in found if event["type"] == "response.output_item.done"]
    assert {event["output_index"]: event["item"] for event in done} == dict(enumerate(output))
    deltas = [one for one in found if one["type"] == "response.function_call_arguments.delta"]
    assert {(one["output_index"], one["item_id"]) for one in deltas} == {(1, output[1]["id"])}


def test_a_messages_calls_may_come_interleaved() -> None:
    found = events(Messages({"model": "m", "messages": []}), interleaved())
    said: dict[int, str] = {}
    for event in found:
        if event["type"] == "content_block_delta":
            more = event["delta"].get("partial_json", event["delta"].get("text"))
            said[event["index"]] = said.get(event["index"], "") + more
    assert said == {0: "Now: ", 1: '{"a":1}', 2: INPUT, 3: "."}
    for kind in ("content_block_start", "content_block_stop"):
        assert sorted(one["index"] for one in found if one["type"] == kind) == [0, 1, 2, 3]


def test_a_messages_citations_are_anthropics() -> None:
    (block,) = json.loads(Messages({"model": "m", "messages": []}).whole(whole(TEXT)))["content"]
    (citation,) = block["citations"]
    assert (citation["type"], citation["url"]) == ("web_search_result_location", URL)
    assert citation["cited_text"] == "On floor 3."


def test_a_question_as_a_prompt_is_answered_as_text() -> None:
    asked: Any = {"model": "docs", "prompt": "Where?", "max_tokens": 9}
    told = Completion(asked)
    for prompt in ("Where?", ["Where?"]):
        chat = Completion({**asked, "prompt": prompt}).chat()
        assert chat["messages"] == [{"role": "user", "content": "Where?"}]
    chat = json.loads(whole(TEXT)) | {"model": "docs", "created": 1}
    answered = json.loads(told.whole(json.dumps(chat).encode()))
    assert OpenAICompletion.model_validate(answered).choices[0].text == "Floor 3."
    assert answered["id"].startswith("cmpl-")
    out = Completion({**asked, "stream": True}).feed(stream(TEXT)).decode().split("\n\n")
    assert out[-2] == "data: [DONE]"
    chunks = [json.loads(one.removeprefix("data: ")) for one in out[:-2]]
    assert "".join(one["text"] for chunk in chunks for one in chunk["choices"]) == "Floor 3."
    for more in ({"suffix": "x"}, {"echo": True}, {"logprobs": 1}, {"prompt": ["a", "b"]}):
        with pytest.raises(ApiError, match="x-askdocs-grounding: off") as caught:
            Completion({**asked, **more}).chat()
        assert caught.value.body["error"]["param"] == next(iter(more))


DEEP: Any = []
for _ in range(1000):  # as deep as a body may be: its repr is a RecursionError
    DEEP = [DEEP]
ODD: list[Any] = [None, True, 0, -1.5, 2**70, "", "x", "\ud800", [], [1], ["x"], [[]], [{}], DEEP]
ODD += [{}, {"a": 1}, {"type": ["x"]}, {"type": "x"}, [{"type": {}}], [{"name": []}]]
CHAT_TOOLS: Any = [
    {"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}},
    {"type": "custom", "custom": {"name": "g", "description": "G."}},
]
NAMED: Any = {"type": "function", "function": {"name": "f"}}
CALL: Any = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE: Any = {"type": "image_url", "image_url": {"url": "data:,"}}
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}
BASE64 = {"type": "base64", "data": "", "media_type": "image/png"}
IMAGES: Any = [BASE64, {"type": "url", "url": "data:,"}]
DOCUMENTS: Any = [
    BASE64,
    {"type": "text", "data": "D."},
    {"type": "content", "content": [{"type": "text", "text": "D."}]},
]
ANSWER = {"type": "output_text", "text": "A."}
# With every field that is looked into.
BODIES: list[tuple[str, Any]] = [
    (
        "/chat/completions",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": "A."},
            ],
            "tools": CHAT_TOOLS,
            "tool_choice": NAMED,
            "response_format": SCHEMA,
            "stream_options": {"include_usage": True},
            "logit_bias": {"1": 1},
            "stop": ["x"],
        },
    ),
    ("/completions", {"prompt": ["?"], "n": 1, "max_tokens": 5, "stream_options": {}}),
    ("/completions", {"prompt": [[1, 2], [3]], "n": 2, "best_of": 1, "echo": True}),
    ("/embeddings", {"input": ["a", "b"]}),
    ("/rerank", {"query": "?", "documents": ["a", {"text": "b"}]}),
    (
        "/responses",
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "?"}]},
                {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]},
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
                {"role": "user", "content": [{"type": "input_file", "file_data": "data:,"}]},
                {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c"},
                {"type": "custom_tool_call", "name": "patch", "input": "x", "call_id": "d"},
                {"type": "function_call_output", "call_id": "c", "output": "A."},
                {"type": "custom_tool_call_output", "call_id": "d", "output": [ANSWER]},
                {"type": "reasoning", "summary": []},
            ],
            "instructions": "Be brief.",
            "tools": TOOLS,
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "look"}, {"type": "web_search"}],
            },
            "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
            "reasoning": {"effort": "low"},
        },
    ),
    (
        "/responses",
        {
            "input": "?",
            "tools": TOOLS,
            "tool_choice": {"type": "function", "namespace": "wiki", "name": "find"},
        },
    ),
    (
        "/messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "?"}]},
                *({"role": "user", "content": [{"type": "image", "source": s}]} for s in IMAGES),
                *(
                    {"role": "user", "content": [{"type": "document", "source": s, "title": "T"}]}
                    for s in DOCUMENTS
                ),
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "search_result",
                            "title": "T",
                            "source": "u",
                            "content": [{"type": "text", "text": "R."}],
                        }
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Well."},
                        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "c",
                            "content": [{"type": "text", "text": "A."}],
                        }
                    ],
                },
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            ],
            "system": [{"type": "text", "text": "Be brief."}],
            "tools": [{"name": "f", "description": "F.", "input_schema": {}, "strict": True}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled"},
            "metadata": {"user_id": "u"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
        },
    ),
]


def replaced(value: Any) -> Iterator[Any]:
    """The value with each of its parts, and itself, as something odd."""
    yield from ODD
    if isinstance(value, dict):
        for name, inner in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: odd} for odd in replaced(inner))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            for odd in replaced(inner):
                yield [*value[:number], odd, *value[number + 1 :]]


@pytest.mark.parametrize(("endpoint", "body"), BODIES)
def test_an_odd_value_in_any_place_passes_or_is_an_error_400(endpoint: str, body: Any) -> None:
    translations: dict[str, type[Translation]] = {
        "/completions": Completion,
        "/messages": Messages,
        "/responses": Responses,
    }

    def parse(fields: Any) -> None:
        request = schemas.accept(endpoint, {"model": "m", **fields})
        if endpoint in translations and not body.get("echo"):
            request = translations[endpoint](request).chat()
        abilities.forced(request)
        list(abilities.media(request))

    parse(body)
    statuses = set()
    for odd in replaced(body):
        try:
            parse(odd if isinstance(odd, dict) else {})
        except ApiError as error:
            json.dumps(error.body)
            statuses.add(error.status)
    assert statuses == {400}


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("banana", "tool_choice"),
        ({"type": "allowed_tools", "tools": 5}, "tool_choice.tools"),
        ({"type": "allowed_tools", "tools": [{"name": []}]}, "tool_choice.tools[0].name"),
        ({"type": "allowed_tools", "mode": {"a": 1}, "tools": []}, "tool_choice.mode"),
    ],
)
def test_a_wrong_choice_of_a_responses_tools_is_named(choice: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        Responses({"model": "m", "input": "?", "tools": TOOLS, "tool_choice": choice}).chat()
    assert caught.value.body["error"]["param"] == param
