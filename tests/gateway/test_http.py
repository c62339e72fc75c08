"""Bodies, errors, streams, and ASGI apps called as functions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.sse import MAX_EVENT, EventTooLong, Framing, events
from gateway.api.context import RequestContext
from gateway.api.endpoints import CHAT
from gateway.api.pipeline import Pipeline
from gateway.http.asgi import (
    DONE,
    ApiError,
    Reply,
    event,
    read_body,
    send_json,
)
from gateway.http.json_body import SMALL, parse_object
from gateway.runtime.container import Container

SCOPE: Scope = {"type": "http", "headers": [(b"content-length", b"99"), (b"x", b"y")]}


def receiving(*messages: Message) -> Receive:
    """A client that sends these and then is silent."""
    waiting = list(messages)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def part(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@asynccontextmanager
async def calling(app: ASGIApp, scope: Scope, body: bytes) -> AsyncIterator[Reply]:
    reply = await Reply.open(app, scope, body)
    try:
        yield reply
    finally:
        await reply.close()


class Sent(list[Message]):
    """What was sent to a client."""

    def __init__(self) -> None:
        super().__init__()
        self.something = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.append(message)
        if message.get("body"):
            self.something.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self)


# Bodies


async def test_a_body_in_parts_is_put_together() -> None:
    receive = receiving(part(b"ab", True), part(b"", True), part(b"c"))
    assert await read_body(Headers(), receive, 3) == b"abc"


async def test_a_body_over_the_limit_is_refused_before_all_of_it_has_come() -> None:
    with pytest.raises(ApiError) as caught:
        await read_body(Headers(), receiving(part(b"ab", True), part(b"cd", True)), 3)
    assert caught.value.status == 413
    assert "larger than 3 bytes" in str(caught.value)


async def test_a_body_that_does_not_go_on_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.asgi.BODY_SECONDS", 0.05)
    with pytest.raises(ApiError) as caught:
        await read_body(Headers(), receiving(part(b"ab", True)), 9)
    assert caught.value.status == 408


async def test_a_client_that_leaves_in_the_middle_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        await read_body(Headers(), receiving(part(b"ab", True), {"type": "http.disconnect"}), 9)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"\xff",
        b'{"a": NaN',
        b"[" * 100_000,
        b'{"a":' * 16_000,
        b"9" * 9999,
    ],
)
def test_what_is_not_json_is_an_error_400(body: bytes) -> None:
    with pytest.raises(ApiError, match="not valid JSON") as caught:
        parse_object(body)
    assert caught.value.status == 400
    assert caught.value.body["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"])
def test_json_that_is_no_object_is_an_error_400(body: bytes) -> None:
    with pytest.raises(ApiError, match="must be a JSON object") as caught:
        parse_object(body)
    assert caught.value.status == 400


def test_an_error_has_openais_shape() -> None:
    error = ApiError(404, "no", param="model", code="gone", headers={"a": "b"})
    assert error.body == {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "param": "model",
            "code": "gone",
        }
    }


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00", b"\xed\xa0\xbd"])
def test_half_a_surrogate_pair_is_replaced(half: bytes) -> None:
    assert parse_object(b'{"a": "b' + half + b'"}') == {"a": "b\ufffd"}


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\ud83d\uDE00\ud83d", "\U0001f600\ufffd"),
        (rb"\uDE00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud83d\ud83d", "\\ud83d\ufffd"),
        (rb"\\\ud83d", "\\\ufffd"),
        ("é\\ud83dé".encode(), "é\ufffdé"),
    ],
)
def test_only_unpaired_surrogates_are_replaced(escaped: bytes, text: str) -> None:
    assert parse_object(b'{"a": "' + escaped + b'"}') == {"a": text}


@pytest.mark.parametrize("half", [rb"\ud800", b"\xed\xa0\xbd"])
def test_no_more_surrogates_are_replaced_than_others_can_wait_for(half: bytes) -> None:
    with pytest.raises(ApiError, match="200,000 escaped surrogates"):
        parse_object(b'{"a": "' + half * 200_000 + b'"}')


@pytest.mark.parametrize("letter", ["힘".encode(), rb"\ud798"])
def test_korean_letters_are_no_surrogates(letter: bytes) -> None:
    read = parse_object(b'{"a": "' + letter * 200_000 + rb'\ud83d"}')
    assert read == {"a": "힘" * 200_000 + "\ufffd"}


@pytest.mark.parametrize("body", [rb'{"a": "\ud8zz"}', rb'{"a": "\ud8', b'{"a": "\xed\xa0"}'])
def test_a_broken_escape_is_no_json(body: bytes) -> None:
    with pytest.raises(ApiError, match="not valid JSON"):
        parse_object(body)


async def test_json_is_sent_with_its_length_and_lone_surrogates_do_no_harm() -> None:
    sent = Sent()
    await send_json(sent.send, 200, {"a": "ü\ud800"}, {"retry-after": "3"})
    headers = dict(sent[0]["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"retry-after"] == b"3"
    assert int(headers[b"content-length"]) == len(sent.body)
    assert json.loads(sent.body) == {"a": "ü?"}


# Events


async def chunked(raw: bytes, places: list[int]) -> AsyncIterator[bytes]:
    for start, end in zip([0, *places], [*places, len(raw)], strict=True):
        yield raw[start:end]


async def parsed(raw: bytes, places: list[int] | None = None) -> list[str]:
    return [data async for data in events(chunked(raw, places or []))]


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))
EVENTS = st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5)
NOISE = st.sampled_from([": still working", "event: x", "id: 5", "retry: 9", "database: no", ""])


@given(EVENTS, NOISE, st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_events_are_the_same_in_whatever_chunks_they_come(
    sent: list[list[str]], noise: str, end: str, data: st.DataObject
) -> None:
    raw = "".join(
        noise + end + "".join(f"data: {line}{end}" for line in lines) + end for lines in sent
    ).encode()
    places = data.draw(st.lists(st.integers(0, len(raw)), max_size=20).map(sorted))
    assert asyncio.run(parsed(raw, places)) == ["\n".join(lines) for lines in sent]


async def test_the_space_after_the_colon_may_be_missing_and_only_one_is_dropped() -> None:
    assert await parsed(b"data:a\n\ndata:  b\n\n") == ["a", " b"]


async def test_an_event_without_its_last_empty_line_does_not_count() -> None:
    assert await parsed(b'data: a\n\ndata: {"cut') == ["a"]


def test_an_event_without_end_is_read_up_to_a_bound() -> None:
    framing = Framing()
    assert framing.feed(b"data: 1\n\n" + b"a" * MAX_EVENT) == b"data: 1\n\n"
    with pytest.raises(EventTooLong):
        framing.feed(b"a")


async def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert await parsed(b"data: a\xffb\n\n") == ["a\ufffdb"]


async def test_an_event_of_json_comes_back() -> None:
    value = {"text": "line\nend \u2028 ü", "n": [1, None]}
    (data,) = await parsed(event(value))
    assert json.loads(data) == value
    assert await parsed(DONE) == ["[DONE]"]


# Apps called as functions


async def start(send: Send, status: int = 200) -> None:
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def test_a_reply_has_status_headers_and_body_of_what_the_app_got() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(headers=scope["headers"], message=await receive())
        await start(send, 418)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async with calling(app, SCOPE, b"body") as reply:
        assert reply.status == 418
        assert reply.headers["Content-Type"] == "text/plain"
        assert await reply.body() == b"ab"
    assert seen["message"] == part(b"body")
    assert seen["headers"] == [(b"x", b"y"), (b"content-length", b"4")]


async def test_the_app_cannot_write_into_the_callers_state() -> None:
    scope = {**SCOPE, "state": {"a": 1}}

    async def app(inner: Scope, receive: Receive, send: Send) -> None:
        inner["state"]["a"] = 2
        await start(send)
        await send({"type": "http.response.body"})

    async with calling(app, scope, b"") as reply:
        assert await reply.body() == b""
    assert scope["state"] == {"a": 1}


@pytest.mark.parametrize("full", [False, True])
async def test_leaving_early_cancels_the_app(full: bool) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await start(send)
            while True:
                await send({"type": "http.response.body", "body": b"a", "more_body": True})
                await asyncio.sleep(0 if full else 1)
        finally:
            ended.set()

    async def leave() -> None:
        async with calling(app, SCOPE, b"") as reply:
            assert [chunk async for chunk in take_one(reply)] == [b"a"]
            await asyncio.sleep(0.05)
            assert not ended.is_set()

    await asyncio.wait_for(leave(), 5)
    assert ended.is_set()


async def take_one(reply: Reply) -> AsyncIterator[bytes]:
    async for chunk in reply.chunks():
        yield chunk
        return


async def test_an_app_that_waits_for_its_client_to_go_is_not_told_before_it_does() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        await start(send)
        seen.append((await receive())["type"])

    async with calling(app, SCOPE, b"") as reply:
        assert reply.status == 200
        await asyncio.sleep(0.02)
        assert seen == ["http.request"]


async def test_an_app_that_fails_before_its_response_raises_its_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        async with calling(app, SCOPE, b""):
            raise AssertionError


async def test_an_app_that_ends_without_a_response_is_an_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(RuntimeError, match="without a response"):
        async with calling(app, SCOPE, b""):
            raise AssertionError


async def test_an_app_that_fails_in_the_middle_ends_the_chunks() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise KeyError("broken")

    async with calling(app, SCOPE, b"") as reply:
        assert await asyncio.wait_for(reply.body(), 5) == b"a"


async def test_a_caller_that_is_cancelled_while_it_waits_takes_the_app_with_it() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def call() -> None:
        async with calling(app, SCOPE, b""):
            raise AssertionError

    waiting = asyncio.create_task(call())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


@pytest.mark.parametrize(
    "crowd",
    [
        b'{"a":[' + b"[]," * 2_000_000 + b"1]}",
        b'{"a":[' + b'"b",' * 1_000_000 + b"1]}",
        b'{"a":[' + b"1," * 4_000_000 + b"1]}",
        b'{"a":"\\\\","b":[' + b"{}," * 100_000 + b"1]}",
    ],
    ids=["lists", "strings", "numbers", "objects behind an escape"],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(crowd: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        parse_object(crowd)
    assert refused.value.body["error"]["code"] == "too_many_values"


def test_a_long_text_may_have_any_characters() -> None:
    text = 'a, "b" [c] {d} \\ ' * 400_000
    assert parse_object(orjson.dumps({"a": text})) == {"a": text}


async def test_others_run_between_the_parsing_of_a_long_body_and_its_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    pipeline = Pipeline(Mock(spec=Container))

    async def answer(*_: Any) -> None:
        order.append("written")

    monkeypatch.setattr(pipeline, "_answer", answer)
    body = {"model": "base", "messages": [{"role": "user", "content": "a" * SMALL}]}
    asyncio.get_running_loop().call_soon(order.append, "another")
    await pipeline.answer(CHAT, Mock(spec=RequestContext, headers=Headers()), orjson.dumps(body))
    assert order == ["another", "written"]
