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
