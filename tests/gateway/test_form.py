"""JSON that no engine has bound to its schema: what goes out of it."""

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.answering.form import Form, asked
from gateway.answering.schema import CONTAINERS, Schema
from gateway.core.http import ApiError
from gateway.routing.registry import Served

FLOOR = {
    "type": "object",
    "properties": {"floor": {"type": "integer"}},
    "required": ["floor"],
    "additionalProperties": False,
}
PROVIDER = cast("Served", SimpleNamespace(engine=None, name="claude"))
BINDING = cast(
    "Served", SimpleNamespace(engine=SimpleNamespace(is_known_to_bind=True), name="base")
)


def form(served: Served = PROVIDER, schema: dict[str, Any] = FLOOR) -> Form:
    made = Form("response_format.json_schema.schema", schema)
    made.begin(served)
    return made


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def stream(text: str, finish: str = "stop") -> list[bytes]:
    parts = [chunk({"role": "assistant", "content": ""})]
    parts += [chunk({"content": letter}) for letter in text]
    usage = b'data: {"id":"c","choices":[],"usage":{"total_tokens":2}}\n\n'
    return [*parts, chunk({}, finish), usage, b"data: [DONE]\n\n"]


def fed(made: Form, events: list[bytes]) -> tuple[str | None, str | None, str | None]:
    """Content, refusal and why it ended, as a client adds them up."""
    early = b"".join(made.feed(event) for event in events)
    content = refusal = finish = None
    events = [e for e in (early + made.rest()).split(b"\n\n") if e]
    assert events.pop() == b"data: [DONE]"
    for event in events:
        for choice in json.loads(event[6:])["choices"]:
            said = choice["delta"]
            if said.get("content") is not None:
                content = (content or "") + said["content"]
            refusal = said.get("refusal") or refusal
            finish = choice["finish_reason"] or finish
    return content, refusal, finish


def whole(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    made = form().whole(json.dumps({"choices": [choice]}).encode())
    return dict(json.loads(made)["choices"][0]["message"])


def test_json_that_fits_goes_out_and_other_text_is_a_refusal() -> None:
    assert fed(form(), stream('{"floor": 2}')) == ('{"floor": 2}', None, "stop")
    content, refusal, finish = fed(form(), stream('{"floor": "two"}'))
    assert (content, finish) == (None, "stop")
    assert refusal is not None
    assert "floor: 'two' is not of type 'integer'" in refusal
    assert whole({"content": '{"floor": 2}'})["content"] == '{"floor": 2}'
    said = whole({"content": "The second."})
    assert (said["content"], said["refusal"]) == (None, refusal.partition(":")[0] + ": it is not"
        " JSON.")  # fmt: skip


def test_nothing_of_an_unchecked_answer_goes_out_before_its_end() -> None:
    made = form()
    assert b"".join(made.feed(event) for event in stream('{"floor": 2}')) == b""
    assert made.rest().endswith(b"data: [DONE]\n\n")


def test_an_engine_that_binds_the_answer_is_passed_on_as_it_writes() -> None:
    made, events = form(BINDING), stream('{"floor": "two"}')
    assert [made.feed(event) for event in events] == events
    assert made.rest() == b""
    body = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}'
    assert made.whole(body) is body


def test_what_is_held_goes_out_where_an_engine_that_binds_goes_on() -> None:
    made = form()
    first, *rest = stream('{"floor": 3}')
    early = made.feed(first) + made.feed(rest.pop(0)) + made.feed(rest.pop(0))
    made.begin(BINDING)
    assert (early, fed(made, rest)) == (b"", ('{"floor": 3}', None, "stop"))


def test_json_in_a_block_of_markdown_goes_out_without_it() -> None:
    fenced = '```json\n{"floor": 2}\n```\n'
    assert fed(form(), stream(fenced)) == ('{"floor": 2}', None, "stop")
    assert whole({"content": fenced})["content"] == '{"floor": 2}'


def test_what_was_cut_off_or_calls_a_tool_is_no_whole_answer() -> None:
    assert fed(form(), stream('{"floor"', "length")) == ('{"floor"', None, "length")
    assert whole({"content": '{"fl'}, "length")["content"] == '{"fl'
    call = {"content": None, "tool_calls": [{"id": "1"}]}
    assert whole(call) == call


def test_each_of_several_answers_is_judged_alone() -> None:
    events = [
        chunk({"role": "assistant", "content": '{"floor": 1}'}, index=0),
        chunk({"role": "assistant", "content": "one"}, index=1),
        chunk({}, "stop", index=0),
        chunk({}, "stop", index=1),
        b"data: [DONE]\n\n",
    ]
    content, refusal, _ = fed(form(), events)
    assert content == '{"floor": 1}'
    assert refusal is not None


def test_an_error_ends_the_answer_and_nothing_of_it_goes_out() -> None:
    made = form()
    error = b'data: {"error":{"message":"broke off"}}\n\n'
    out = [made.feed(event) for event in [*stream('{"floor": 2}')[:5], error]]
    assert b"".join(out) == error
    assert made.feed(b"data: [DONE]\n\n") == made.rest() == b""
    assert b"engine_unavailable" in form().feed(b"data: {nonsense\n\n")


def test_an_answer_without_end_is_held_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.answering.form.MAX_HELD", 2**20)
    made, word = form(), chunk({"content": "a" * 2**16})
    assert made.feed(word * 15) == b""
    with pytest.raises(ApiError) as caught:
        made.feed(word)
    assert caught.value.status == 503
    error = b'data: {"error":{}}\n\n'
    assert made.feed(error) + made.rest() == error


def test_which_requests_ask_for_json() -> None:
    assert asked({}) is asked({"response_format": {"type": "text"}}) is None
    assert asked({"response_format": {"type": "json_object"}}) == (
        "response_format.schema",
        {"type": "object"},
    )
    with pytest.raises(
        ApiError,
        match=r"response_format.schema is not a JSON schema: type: "
        "'nope'",
    ):
        Form("response_format.schema", {"type": "nope"})


def problem(schema: dict[str, Any], value: Any) -> str:
    return Schema(schema).problem(json.dumps(value))


def test_schemas_of_older_drafts_and_of_pydantic_are_read() -> None:
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}
    assert problem(old, ["a", 1]) == ""
    assert problem(old, [1]) == "[0]: 1 is not of type 'string'"
    linked = {"$defs": {"a": {"enum": ["x"]}}, "properties": {"a": {"$ref": "#/$defs/a"}}}
    assert problem(linked, {"a": "x"}) == ""
    assert problem(linked, {"a": "y"}).startswith("a: 'y' is not one of")


def test_properties_by_pattern_and_further_ones() -> None:
    schema = {"patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False}
    assert problem(schema, {"x-a": 1}) == ""
    assert problem(schema, {"x-a": "1"})
    assert problem(schema, {"y": 1})
    assert problem({"uniqueItems": True}, [1, 1])
    assert problem({"uniqueItems": True}, [1, "1", True]) == ""
    assert problem({"multipleOf": 0.5}, 10**400) == "a number is too large to check"
    assert problem({"pattern": "^(?=a)"}, "b") == "", "no engine of linear time knows look-around"


def test_a_schema_that_multiplies_or_lies_elsewhere_ends_in_a_refusal() -> None:
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    for schema in (
        {"$defs": {**twice, "a40": {}}, "$ref": "#/$defs/a0"},
        {"$ref": "#"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    ):
        began = time.process_time()
        assert "too long to check" in problem(schema, 1)
        assert time.process_time() - began < 30
    assert "is not in it" in problem({"$ref": "http://127.0.0.1:9/x.json"}, 1)
    assert problem({"pattern": "^(a+)+$"}, "a" * 50_000 + "b")
    with pytest.raises(ValueError, match="more than"):
        Schema({"properties": {str(n): {} for n in range(CONTAINERS)}})


@pytest.mark.parametrize("draft", ["draft-07/schema#", "draft/2020-12/schema"])
def test_a_subschema_that_names_its_draft_is_checked_in_bounded_time(draft: str) -> None:
    named = {"$schema": f"http{'s' * ('2020' in draft)}://json-schema.org/{draft}"}
    slow = {"properties": {"x": named | {"pattern": "^(a+)+$"}}}
    assert "does not match" in problem(slow, {"x": "a" * 200 + "!"})
    twice = {f"a{n}": named | {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    assert "too long to check" in problem({"$defs": {**twice, "a40": {}}, "$ref": "#/$defs/a0"}, 1)
    assert problem(named | {"properties": {"$schema": {"type": "string"}}}, {"$schema": 1})


def test_the_check_of_a_schema_itself_has_a_bound() -> None:
    mixed = [value for n in range(300_000) for value in (n, str(n))]
    with pytest.raises(ValueError, match="too long to check"):
        Schema({"type": mixed})
    assert "too long" in problem({"items": {str(n): 0 for n in range(300_000)}}, [0] * 20_000)
