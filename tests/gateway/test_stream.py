"""Events on their way from engine to client: any cut of the bytes gives the same events."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sse import MAX_EVENT
from gateway.answering.stream import Stream, identity
from gateway.http.asgi import broken_off

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CACHED = {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}}
DONE = b"data: [DONE]\n\n"


def event(**fields: Any) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "at/engine", **fields}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def delta(text: str, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event(choices=[choice], **fields)


END = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])


def through(data: bytes, cuts: list[int] | None = None, keep: bool = False) -> tuple[bytes, Stream]:
    """What the client gets of `data`, cut at `cuts`, and the stream at its end."""
    stream = Stream(b"at/engine", b"docs", keep_usage=keep)
    edges = [0, *sorted(cut for cut in cuts or [] if cut < len(data)), len(data)]
    out = [stream.feed(data[a:b]) for a, b in itertools.pairwise(edges) if a < b]
    return b"".join(out) + stream.end(), stream


def chunks(data: bytes) -> list[Any]:
    """The JSON of each event; fails on an event that is not whole."""
    assert data.endswith(b"\n\n")
    events = [e.removeprefix(b"data: ") for e in data[:-2].split(b"\n\n") if e[:1] != b":"]
    return [e.decode() if e == b"[DONE]" else json.loads(e) for e in events]


def texts(data: bytes) -> str:
    found = [c for c in chunks(data) if isinstance(c, dict)]
    return "".join(c["choices"][0]["delta"].get("content", "") for c in found if c.get("choices"))


STREAMS = {
    "vllm": delta("a") + delta("b") + END + event(choices=[], usage=USAGE) + DONE,
    "vllm, cached": delta("a") + delta("b") + END + event(choices=[], usage=CACHED) + DONE,
    "llama.cpp, timings in each": delta("a", timings={"cache_n": 2})
    + delta("b", timings={"cache_n": 2})
    + END
    + event(choices=[], usage=CACHED, timings={"prompt_n": 3, "cache_n": 2})
    + DONE,
    "vllm, null in each": delta("a", usage=None)
    + delta("b", usage=None)
    + END
    + event(choices=[], usage=USAGE)
    + DONE,
    "llama.cpp": delta("a")
    + delta("b")
    + END
    + event(choices=[], usage=USAGE, timings={"prompt_n": 3, "cache_n": 2})
    + DONE,
    "litellm": delta("a")
    + delta("b")
    + END
    + event(choices=[{"index": 0, "delta": {}, "finish_reason": None}], usage=USAGE)
    + DONE,
    "beside the last words": delta("a") + delta("b", usage=USAGE) + DONE,
    "python's spaces": (delta("a") + delta("b") + END + event(choices=[], usage=USAGE)).replace(
        b'":', b'": '
    )
    + DONE,
    "line ends of Windows": (
        delta("a") + delta("b") + END + event(choices=[], usage=USAGE) + DONE
    ).replace(b"\n", b"\r\n"),
    "comments": b": ping\n\n" + delta("a") + b": ping\n\n" + delta("b", usage=USAGE) + DONE,
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_each_engines_usage_is_read_and_shown_only_to_who_asked(name: str, keep: bool) -> None:
    out, stream = through(STREAMS[name], keep=keep)
    assert stream.usage == (CACHED if ", " in name and "null" not in name else USAGE)
    assert (stream.done, stream.failed) == (True, False)
    assert texts(out) == "ab"
    shown = [c["usage"] for c in chunks(out) if isinstance(c, dict) and c.get("usage")]
    assert shown == ([USAGE] if keep else [])
    if not keep:
        assert b'"usage"' not in out
    assert b"cache" not in out
    assert all(c["model"] == "docs" for c in chunks(out) if isinstance(c, dict))
    assert out.endswith(DONE)


@given(st.sampled_from(sorted(STREAMS)), st.booleans(), st.lists(st.integers(1, 900), max_size=12))
def test_where_the_bytes_are_cut_makes_no_difference(
    name: str, keep: bool, cuts: list[int]
) -> None:
    whole, stream = through(STREAMS[name], keep=keep)
    cut, other = through(STREAMS[name], cuts, keep=keep)
    assert cut == whole
    assert (other.usage, other.events, other.done) == (stream.usage, stream.events, stream.done)


@given(st.text(), st.lists(st.integers(1, 400), max_size=5))
def test_no_text_is_changed_or_taken_for_a_mark(text: str, cuts: list[int]) -> None:
    out, stream = through(delta(text) + DONE, cuts)
    assert texts(out) == text
    assert (stream.usage, stream.failed) == (None, False)


@pytest.mark.parametrize(
    "text",
    [
        '"model":"at/engine"',
        '{"model":"at/engine","usage":{"total_tokens":9},"error":{"message":"no"}}',
        "data: [DONE]\n\n",
        "\n\ndata: [DONE]\n\ndata: x",
        'error: {"a":1}',
        '\\"model\\":\\"at/engine\\"',
        '\\","model":"at/engine',
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_answer_may_quote_the_protocol(text: str, ascii_only: bool) -> None:
    chunk = {"model": "at/engine", "choices": [{"delta": {"content": text}}]}
    data = b"data: " + json.dumps(chunk, ensure_ascii=ascii_only).encode() + b"\n\n"
    out, stream = through(data)
    assert chunks(out)[0]["choices"][0]["delta"]["content"] == text
    assert chunks(out)[0]["model"] == "docs"
    assert (stream.usage, stream.done, stream.failed) == (None, False, False)


@given(st.lists(st.integers(1, 900), max_size=8), st.integers(0, 400))
def test_a_stream_that_breaks_off_ends_with_an_error_in_openais_shape(
    cuts: list[int], length: int
) -> None:
    data = (delta("a") + delta("b"))[:length]
    out, stream = through(data, cuts)
    *before, last = chunks(out)
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert "ab".startswith("".join(c["choices"][0]["delta"]["content"] for c in before))
    assert not stream.done


@pytest.mark.parametrize(
    "data",
    [b"", event(choices=[]), event(choices=[], usage=USAGE), b": comment\n\n", b"data: x\n\n"],
)
def test_an_end_mark_without_an_answer_is_a_break(data: bytes) -> None:
    out, stream = through(data + DONE, keep=True)
    assert stream.failed
    assert chunks(out)[-1] == broken_off().body


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":{"message":"no","type":"x","code":500}}\n\n',
        b'data: {"error": {"message": "no"}}\n\n',
        b'error: {"message":"no"}\n\n',
    ],
)
@pytest.mark.parametrize("end", [b"", DONE])
def test_an_error_of_the_engine_is_reported_once_and_in_our_words(error: bytes, end: bytes) -> None:
    out, stream = through(delta("a") + error + end)
    assert stream.failed
    errors = [c["error"]["message"] for c in chunks(out) if isinstance(c, dict) and "error" in c]
    assert errors == [str(broken_off())]


def test_an_error_waits_for_the_end_and_nothing_comes_after_it() -> None:
    stream = Stream(b"at/engine", b"docs", keep_usage=False)
    out = stream.feed(delta("a") + b'data: {"error":{"message":"no"}}\n\n' + delta("b") + DONE)
    assert texts(out) == "a"
    assert stream.feed(delta("c") + DONE) == b""
    assert not stream.is_whole
    assert chunks(stream.end()) == [broken_off().body]


@pytest.mark.parametrize("keep", [False, True])
def test_what_was_said_before_counts_as_answer_and_not_as_prompt(keep: bool) -> None:
    stream = Stream(b"at/engine", b"docs", keep_usage=keep, given=2)
    out = stream.feed(delta("c") + event(choices=[], usage=USAGE) + DONE)
    summed = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
    assert stream.usage == summed
    assert [c["usage"] for c in chunks(out) if "usage" in c] == ([summed] if keep else [])


def test_a_chunk_that_says_it_has_no_error_has_none() -> None:
    out, stream = through(delta("a", error=None) + DONE)
    assert (texts(out), stream.failed) == ("a", False)


@pytest.mark.parametrize(
    "fields",
    [
        {"choices": 1, "usage": USAGE},
        {"choices": [1, None], "usage": USAGE},
        {"choices": [{"delta": "x"}], "usage": USAGE},
        {"choices": None, "usage": 7},
        {"error": [], "usage": [], "choices": {}},
    ],
)
def test_chunks_of_an_odd_shape_are_passed_on_or_dropped_without_harm(
    fields: dict[str, Any],
) -> None:
    out, stream = through(event(**fields) + delta("a") + DONE)
    assert stream.done
    assert b'"content":"a"' in out


def test_an_event_without_an_end_is_a_break_and_not_kept() -> None:
    stream = Stream(b"a", b"b", keep_usage=False)
    out = [stream.feed(b"data: " + b"x" * 2**16) for _ in range(MAX_EVENT // 2**16 + 5)]
    assert b"".join(out) == b""
    assert stream.end().count(b'"error"') == 1
    assert stream._framing._held == b""


def test_the_bytes_of_a_plain_chunk_are_not_rewritten() -> None:
    odd = b'data: {"z":1.50,"a":"\\u00e9", "model":"at/engine" }\n\n'
    out, _ = through(odd + DONE)
    assert out == odd.replace(b"at/engine", b"docs") + DONE


def test_a_name_is_replaced_as_json_writes_it() -> None:
    data = json.dumps({"model": 'a"b', "text": '"model": "a\\"b"'}).encode()
    for old, new in identity(json.loads(data), b'c\\d"', ""):
        data = data.replace(old, new)
    assert json.loads(data) == {
        "model": 'c\\d"',
        "text": '"model": "a\\"b"',
    }
