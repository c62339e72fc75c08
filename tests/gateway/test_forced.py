"""Forced tool calls on engines that may answer with text."""

import json
from typing import Any

import pytest

from gateway.answering.forced import ForcedCall
from gateway.core.http import ApiError
from tests.gateway.test_form import BINDING, PROVIDER, chunk, stream

CALL = {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "look", "arguments": ""}}]}
BEGIN = [chunk({"role": "assistant", "content": ""}), chunk({"content": "I look it up."})]
END = [chunk({}, "tool_calls"), b"data: [DONE]\n\n"]


def forced(served: Any = PROVIDER) -> ForcedCall:
    made = ForcedCall()
    made.begin(served)
    return made


def whole(message: dict[str, Any], made: ForcedCall | None = None) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    assert (made or forced()).whole(body) == body
    return body


def refusal(caught: pytest.ExceptionInfo[ApiError]) -> tuple[int, str, str]:
    said = caught.value.body["error"]
    return caught.value.status, said["param"], said["code"]


def test_a_call_goes_out_with_what_was_said_before_it() -> None:
    made = forced()
    assert [made.feed(event) for event in BEGIN] == [b"", b""]
    assert made.feed(chunk(CALL)) == b"".join([*BEGIN, chunk(CALL)])
    made.begin(PROVIDER)  # which goes on with the answer
    assert [made.feed(event) for event in END] == END
    assert made.rest() == b""
    whole({"content": "I look it up.", "tool_calls": [{"id": "1"}]})


def test_text_in_place_of_a_call_is_an_error() -> None:
    made = forced()
    assert b"".join(made.feed(event) for event in stream("I cannot.")) == b""
    with pytest.raises(ApiError, match="claude cannot be forced to call tools") as caught:
        made.rest()
    assert refusal(caught) == (400, "tool_choice", "model_not_supported")
    error = b'data: {"error":{}}\n\n'  # where the stream has begun, in place of the text
    assert made.feed(error) + made.rest() == error
    with pytest.raises(ApiError) as caught:
        whole({"content": "I cannot."})
    assert refusal(caught) == (400, "tool_choice", "model_not_supported")


def test_an_answer_that_ended_before_its_call_goes_out() -> None:
    events = [chunk({"content": ""}, "length"), b"data: [DONE]\n\n"]
    made = forced()
    assert b"".join(made.feed(event) for event in events) + made.rest() == b"".join(events)
    whole({"content": None, "refusal": "No."})


def test_an_engine_that_binds_calls_is_passed_on_as_it_writes() -> None:
    made, events = forced(BINDING), stream("I cannot.")
    assert [made.feed(event) for event in events] == events
    assert made.rest() == b""
    whole({"content": "I cannot."}, made)


def test_an_error_goes_out_at_once() -> None:
    made, error = forced(), b'data: {"error":{"message":"broke off"}}\n\n'
    assert made.feed(BEGIN[0]) + made.feed(error) == BEGIN[0] + error
    made = forced()
    assert b"engine_unavailable" in made.feed(b"data: {nonsense\n\n")
    assert made.feed(chunk({"content": "Further."})) + made.rest() == b""


def test_an_answer_that_never_calls_is_held_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.answering.forced.MAX_HELD", 2**20)
    made, word = forced(), chunk({"content": "a" * 2**16})
    assert made.feed(word * 15) == b""
    with pytest.raises(ApiError) as caught:
        made.feed(word)
    assert caught.value.status == 503
    error = b'data: {"error":{}}\n\n'
    assert made.feed(error) + made.rest() == error
