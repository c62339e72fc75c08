"""Which requests are questions to the docs, and what is taken from them."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from gateway.api.chat_request import (
    DocsRequest,
    is_agents,
    take_apart,
    take_turn,
    text_of,
    wants_grounding,
)
from gateway.http.asgi import ApiError

USER = {"role": "user", "content": "Q?"}


def asked(*messages: Any, headers: dict[str, str] | None = None, **more: Any) -> DocsRequest:
    return take_apart({"model": "docs", "messages": list(messages), **more}, Headers(headers))


def agents(**request: Any) -> bool:
    return is_agents({"model": "docs", "messages": [USER], **request})


def test_a_header_asks_for_pages_or_for_none() -> None:
    assert wants_grounding(Headers()) is None
    assert wants_grounding(Headers({"x-askdocs-grounding": "On"})) is True
    assert wants_grounding(Headers({"X-Askdocs-Grounding": "OFF"})) is False
    with pytest.raises(ApiError, match="x-askdocs-grounding: 'false' is neither on nor off"):
        wants_grounding(Headers({"x-askdocs-grounding": "false"}))


def test_tools_and_what_they_said_make_an_agents_turn() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert agents(tools=tools)
    assert agents(tools=tools, tool_choice="auto")
    assert agents(functions=[{"name": "f"}])
    for role in ("tool", "function"):
        assert agents(messages=[USER, {"role": role, "content": "x"}, USER])
    assert agents(messages=[USER, {"role": "assistant", "tool_calls": [{}]}], tool_choice="none")


def test_tools_that_may_not_be_called_are_none() -> None:
    assert not agents()
    assert not agents(tools=[], functions=None, stream=True)
    assert not agents(tools=[{"type": "function"}], tool_choice="none")
    assert not agents(functions=[{"name": "f"}], function_call="none")


def test_an_agents_question_is_the_person_s_and_stands_where_it_stood() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "x"}
    first = {"role": "user", "content": "First?"}
    request = {"messages": [first, USER, call, result], "stream": True}
    turn, every = take_turn(request, Headers())
    assert (turn.sought, turn.before, turn.stream) == ("Q?", ["First?"], True)
    assert every == [("First?", 0), ("Q?", 1)]
    assert take_turn({"messages": [result]}, Headers())[1] == []


@pytest.mark.parametrize("messages", [[], ["Q?"], [USER, None], [None, USER], [[USER]]])
def test_a_list_of_something_else_is_an_error_400(messages: list[Any]) -> None:
    with pytest.raises(ApiError, match="messages must be a list of objects") as caught:
        asked(*messages)
    assert caught.value.status == 400
    assert caught.value.body["error"]["param"] == "messages"


def test_a_conversation_is_taken_apart() -> None:
    taken = asked(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Before?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "  And now? \n"},
    )
    assert taken.question == "And now?"
    assert taken.client_system == "Be brief.\n\nBe kind."
    assert taken.history == [
        {"role": "user", "content": "Before?"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert [taken.stream, taken.progress, taken.usage, taken.page_url] == [False] * 3 + [None]


def test_content_may_come_in_parts() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "this?"},
        {"type": "text", "text": 5},
        "stray",
        None,
    ]
    assert asked({"role": "user", "content": parts}).question == "What is\nthis?"
    assert asked({"role": "system", "content": parts}, USER).client_system == "What is\nthis?"


def test_a_message_without_text_is_empty() -> None:
    nothing: list[Any] = [None, 5, {}, []]
    for content in nothing:
        assert text_of(content) == ""
    call: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}
    assert asked(USER, call, USER).history[1] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": None},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user"},
        {"role": "assistant", "content": "I"},
        {"content": "no role"},
        {},
    ],
)
def test_without_a_users_text_at_the_end_there_is_no_question(last: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        asked(USER, last)
    assert caught.value.status == 400
    assert caught.value.body["error"]["param"] == "messages"


def test_the_readers_page_comes_in_the_metadata() -> None:
    assert asked(USER, metadata={"page_url": "http://x/"}).page_url == "http://x/"
    others: list[Any] = [None, "x", [], {}, {"page_url": 5}, {"page_url": None}]
    for metadata in others:
        assert asked(USER, metadata=metadata).page_url is None


def test_streams_progress_and_usage_are_asked_for() -> None:
    taken = asked(
        USER,
        headers={"X-Askdocs-Progress": "On"},
        stream=True,
        stream_options={"include_usage": True},
    )
    assert taken.stream
    assert taken.progress
    assert taken.usage
    for options in (None, "x", {}, {"include_usage": False}):
        assert not asked(USER, stream_options=options).usage


def test_a_reminder_of_the_instructions_after_the_question_is_no_question() -> None:
    one = asked(USER, {"role": "system", "content": "Be short."})
    assert (one.question, one.client_system) == ("Q?", "Be short.")


def test_what_is_searched_for_is_the_persons_part_of_the_message() -> None:
    one = asked({"role": "user", "content": "Q?\n\n# *SEARCH/REPLACE block* Rules:\n\nMany."})
    assert (one.sought, one.before) == ("Q?", [])
    assert one.question.endswith("Many.")
