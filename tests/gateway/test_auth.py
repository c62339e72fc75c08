"""The key, in any of its headers."""

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from gateway import auth
from gateway.http import ApiError

KEY = SecretStr("ask-right")


def headers(**values: str | bytes) -> Headers:
    return Headers(
        raw=[
            (name.replace("_", "-").encode(), v if isinstance(v, bytes) else v.encode())
            for name, v in values.items()
        ]
    )


@pytest.mark.parametrize(
    "given",
    [
        headers(authorization="Bearer ask-right"),
        headers(authorization="bearer   ask-right "),
        headers(authorization="BEARER ask-right"),
        headers(x_api_key="ask-right"),
        headers(api_key="ask-right"),
        headers(authorization="Basic eDp5", x_api_key="ask-right"),
        headers(authorization="Bearer ", api_key="ask-right"),
    ],
)
def test_the_key_opens_from_each_of_three_headers(given: Headers) -> None:
    auth.check(KEY, given)


@pytest.mark.parametrize(
    "given",
    [
        headers(authorization="Bearer ask-wrong"),
        headers(authorization="Bearer ask-right2"),
        headers(authorization="Bearer ASK-RIGHT"),
        headers(authorization="Bearer ask-rightask-right"),
        headers(x_api_key="ask-wrong"),
        headers(api_key="ask-righ"),
        headers(authorization="Bearer ask-wrong", x_api_key="ask-right"),
        headers(authorization="Bearer \xff".encode("latin-1")),
        headers(x_api_key="schlüssel"),
        headers(x_api_key=b"\xff\xfe\x00"),
    ],
)
def test_another_key_is_refused_and_not_repeated(given: Headers) -> None:
    with pytest.raises(ApiError) as caught:
        auth.check(KEY, given)
    assert caught.value.status == 401
    assert caught.value.body["error"]["code"] == "invalid_api_key"
    assert caught.value.body["error"]["message"] == "this API key is not valid here"
    assert caught.value.headers == {"www-authenticate": "Bearer"}


@pytest.mark.parametrize(
    "given",
    [
        headers(),
        headers(authorization=""),
        headers(authorization="Bearer"),
        headers(authorization="Bearer  "),
        headers(authorization="ask-right"),
        headers(authorization="Basic ask-right"),
        headers(x_api_key="", api_key=""),
    ],
)
def test_without_a_key_the_answer_says_how_to_send_one(given: Headers) -> None:
    with pytest.raises(ApiError) as caught:
        auth.check(KEY, given)
    assert caught.value.status == 401
    assert "Authorization: Bearer KEY" in str(caught.value)


def test_a_key_with_letters_beyond_ascii_does_no_harm() -> None:
    with pytest.raises(ApiError):
        auth.check(SecretStr("schlüssel"), headers(x_api_key="ask-right"))
