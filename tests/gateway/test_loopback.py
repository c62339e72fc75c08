"""A pass opens the chat of one alias, for a minute, with the rights of the outer request."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.http import ApiError
from gateway.keys import Key
from gateway.upstream import loopback
from gateway.upstream.loopback import ENDPOINT, Passes

KEY = Key("abc", "ana", "blue", datetime.now(UTC), models=("hr", "docs"))
HEADERS = {"x-askdocs-grounding": "off", "x-litellm-timeout": "1", "authorization": "Bearer x"}
OWN = SecretStr("ask-own")


def test_a_pass_carries_the_rights_and_our_headers_of_the_outer_request() -> None:
    passes = Passes([OWN, None])
    found = passes.check(passes.issue(KEY, "hr", HEADERS), ENDPOINT)
    assert (found.key, found.alias) == (KEY, "hr")
    inner = {"traceparent": "00-a-b-01", "x-askdocs-model": "base", "x-api-key": "made up"}
    raw = [(name.encode(), value.encode()) for name, value in inner.items()]
    assert found.scope({"type": "http", "headers": raw})["headers"] == [
        (b"traceparent", b"00-a-b-01"),
        (b"x-askdocs-grounding", b"off"),
    ]


def test_a_pass_survives_a_change_of_the_gateways_key() -> None:
    text = Passes([OWN]).issue(KEY, "hr", {})
    assert Passes([SecretStr("ask-new"), OWN]).check(text, ENDPOINT).alias == "hr"
    with pytest.raises(ApiError):
        Passes([SecretStr("ask-new")]).check(text, ENDPOINT)


def test_a_pass_ends_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes([OWN])
    text = passes.issue(KEY, "hr", {})
    now = loopback.time.time()
    monkeypatch.setattr(loopback.time, "time", lambda: now + 61)
    with pytest.raises(ApiError):
        passes.check(text, ENDPOINT)


def test_a_pass_opens_chat_alone() -> None:
    passes = Passes([OWN])
    text = passes.issue(KEY, "hr", {})
    for endpoint in ("/completions", "/responses", "/models", "/askdocs/warm", "/mcp"):
        with pytest.raises(ApiError):
            passes.check(text, endpoint)


def altered(text: str) -> list[Any]:
    signature, _, body = text.partition(".")
    wider = base64.urlsafe_b64encode(
        base64.urlsafe_b64decode(body).replace(b'"alias":"hr"', b'"alias":"xy"')
    ).decode()
    return ["", ".", "x", body, f".{body}", f"{signature}.", f"{signature}.{wider}", f"é.{body}"]


@pytest.mark.parametrize("at", range(8))
def test_a_pass_that_was_changed_opens_nothing(at: int) -> None:
    passes = Passes([OWN])
    with pytest.raises(ApiError) as refused:
        passes.check(altered(passes.issue(KEY, "hr", {}))[at], ENDPOINT)
    assert refused.value.status == 401
