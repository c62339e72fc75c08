"""A streamed answer put together is the whole answer."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.sse import EventReader
from gateway.api.assemble import assemble, stream_of
from gateway.http.asgi import ApiError

HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}


async def assembled(*chunks: dict[str, Any] | None, done: bool = True) -> dict[str, Any]:
    async def events() -> AsyncIterator[str]:
        for chunk in chunks:
            yield json.dumps(chunk)
        if done:
            yield "[DONE]"

    return dict(json.loads(await assemble(events())))


def choice(number: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": number, "delta": delta, "finish_reason": finish}]}


async def test_texts_of_several_choices_grow_apart() -> None:
    whole = await assembled(
        choice(role="assistant", content=None),
        choice(1, role="assistant", content="A"),
        choice(content="He"),
        choice(1, content="B"),
        choice(content="llo"),
        choice(finish="stop"),
        choice(1, finish="length"),
        {**HEAD, "choices": [], "usage": {"total_tokens": 5}},
    )
    assert whole["object"] == "chat.completion"
    assert whole["usage"] == {"total_tokens": 5}
    assert whole["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "AB"}, "finish_reason": "length"},
    ]


async def test_tool_calls_join_by_their_index() -> None:
    def call(number: int, **function: str) -> dict[str, Any]:
        first = {"id": f"c{number}", "type": "function"} if "name" in function else {}
        return {"index": number, **first, "function": function}

    whole = await assembled(
        choice(role="assistant", tool_calls=[call(0, name="open", arguments='{"a')]),
        choice(tool_calls=[call(0, arguments='": 1}')]),
        choice(tool_calls=[call(1, name="close", arguments="")]),
        choice(tool_calls=[call(1, arguments="{}")]),
        choice(finish="tool_calls"),
    )
    message = whole["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "open", "arguments": '{"a": 1}'}},
        {"id": "c1", "type": "function", "function": {"name": "close", "arguments": "{}"}},
    ]


async def test_logprobs_get_longer() -> None:
    def token(text: str) -> dict[str, Any]:
        chunk = choice(content=text)
        chunk["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -1.0}]}
        return chunk

    whole = await assembled(token("a"), token("b"), choice(finish="stop"))
    assert [t["token"] for t in whole["choices"][0]["logprobs"]["content"]] == ["a", "b"]


async def test_a_completion_is_a_text() -> None:
    def text(part: str, finish: str | None = None) -> dict[str, Any]:
        piece = {"index": 0, "text": part, "logprobs": None, "finish_reason": finish}
        return {"object": "text_completion", "model": "m", "choices": [piece]}

    whole = await assembled(text("a"), text("b"), text("", "stop"))
    assert whole["object"] == "text_completion"
    assert whole["choices"][0]["text"] == "ab"
    assert whole["choices"][0]["finish_reason"] == "stop"


async def test_a_stream_that_breaks_off_or_holds_an_error_is_no_answer() -> None:
    with pytest.raises(ApiError, match="broke off") as caught:
        await assembled(choice(content="a"), done=False)
    assert caught.value.status == 503
    with pytest.raises(ApiError, match="broke off"):
        await assembled(choice(content="a"), {"error": {"message": "out of memory"}})


async def test_what_llama_cpp_says_between_two_prompts_is_nothing() -> None:
    head = {**HEAD, "object": "text_completion"}
    first = {**head, "choices": [{"index": 0, "text": "A", "finish_reason": "stop"}]}
    second = {**head, "choices": [{"index": 1, "text": "B", "finish_reason": "stop"}]}
    whole = await assembled(first, None, second)
    assert [one["text"] for one in whole["choices"]] == ["A", "B"]


async def test_a_message_has_a_role_where_the_engine_names_none() -> None:
    whole = await assembled(choice(content="Hi"), choice(finish="stop"))
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "Hi"}


async def test_a_whole_answer_with_calls_is_itself_again_after_a_stream() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = [
        {"index": number, "message": {"role": "assistant", **message}, "finish_reason": finish}
        for number, (finish, message) in enumerate(
            [
                ("tool_calls", {"content": None, "tool_calls": [call, {**call, "id": "call_2"}]}),
                ("stop", {"content": "Yes."}),
            ]
        )
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    whole = {**HEAD, "object": "chat.completion", "choices": made, "usage": usage}
    events = EventReader().feed(stream_of(whole))
    assert await assembled(*map(json.loads, events[:-1])) == whole
