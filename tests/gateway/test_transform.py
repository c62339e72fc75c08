"""What a whole chat gets that its engine leaves out."""

from typing import Any

import pytest

from gateway.api.transform import complete


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, None),
        ({"content": []}, {"content": [], "refusal": None}),
        ([{"token": "a"}], [{"token": "a"}]),  # an engine's own form
    ],
)
def test_choices_are_completed_whatever_an_engine_writes_there(given: Any, told: Any) -> None:
    choice = {"message": {"content": "a"}, "logprobs": given}
    complete([choice])
    assert choice == {"message": {"content": "a", "refusal": None}, "logprobs": told}


def test_fields_that_openai_leaves_out_are_left_out() -> None:
    nothing = dict.fromkeys(("annotations", "audio", "function_call", "tool_calls"))
    choice: Any = {"message": {"content": None, **nothing}}
    complete([choice])
    assert choice["message"] == {"content": "", "refusal": None}
