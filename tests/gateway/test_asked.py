"""Which requests are questions to the docs, and what is taken from them."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from gateway.asked import Asked, take_apart, text_of, wants_grounding
from gateway.http import ApiError

USER = {"role": "user", "content": "Q?"}


def asked(*messages: Any, headers: dict[str, str] | None = None, **more: Any) -> Asked:
    return take_apart({"model": "docs", "messages": list(messages), **more}, Headers(headers))


def grounded(headers: dict[str, str] | None = None, **request: Any) -> bool:
    return wants_grounding({"model": "docs", "messages": [USER], **request}, Headers(headers))


def test_a_question_to_docs_is_grounded() -> None:
    assert grounded()
    assert grounded(tools=[], functions=None, stream=True)
    assert grounded(messages=[{"role": "developer", "content": "x"}, USER])


def test_a_header_turns_grounding_off() -> None:
    assert not grounded({"x-askdocs-grounding": "off"})
    assert not grounded({"X-Askdocs-Grounding": "OFF"})
    assert grounded({"x-askdocs-grounding": "On"})
    with pytest.raises(ApiError, match="x-askdocs-grounding: 'false' is neither on nor off"):
        grounded({"x-askdocs-grounding": "false"})


def test_tools_and_what_they_said_are_the_models_business() -> None:
    assert not grounded(tools=[{"type": "function"}])
    assert not grounded(functions=[{"name": "f"}])
    for role in ("tool", "function"):
        assert not grounded(messages=[USER, {"role": role, "content": "x"}, USER])


@pytest.mark.parametrize("messages", [None, "Q?", {"role": "user"}, 1])
def test_messages_that_are_no_list_are_litellms_to_refuse(messages: object) -> None:
    assert not grounded(messages=messages)


@pytest.mark.parametrize("messages", [[], ["Q?"], [USER, None], [None, USER], [[USER]]])
def test_a_list_of_something_else_is_an_error_400(messages: list[Any]) -> None:
    assert grounded(messages=messages)
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
