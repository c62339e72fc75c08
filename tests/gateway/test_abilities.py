"""What a model cannot do is refused with the field's name, in front of every kind of engine."""

from typing import Any

import pytest

from gateway.http.asgi import ApiError
from gateway.routing import abilities
from gateway.upstream.engine import Abilities

IMAGE: Any = {"type": "image_url", "image_url": {"url": "data:,"}}
SEEING: Any = {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]}
TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
NAMED: Any = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}}


@pytest.mark.parametrize("kind", ["image_url", "audio_url", "video_url"])
@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://wiki.example.com/a.png",
        "file:///etc/passwd",
        " data:,",
        None,
        ["data:,"],
    ],
)
@pytest.mark.parametrize("can", [Abilities(), Abilities(frozenset({"vision", "audio", "video"}))])
def test_no_engine_is_led_to_an_address(kind: str, url: Any, can: Abilities) -> None:
    for inside in ({"url": url}, url):
        part = {"type": kind, kind: inside}
        request = {"messages": [{"role": "user", "content": [part]}]}
        with pytest.raises(ApiError, match="engines here do not fetch addresses") as caught:
            abilities.check("m", can, request)
        assert caught.value.body["error"]["param"] == f"messages[0].content[0].{kind}"


_DEEP: Any = "s3://bucket/secret.pdf"
for _ in range(900):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "gs://bucket/secret.png"}},
        {"type": "image_url", "image_url": "GS://bucket/secret.png"},
        {"type": "file", "file": {"file_data": "gs://bucket/secret.pdf", "format": "a/b"}},
        {"type": "input_audio", "input_audio": {"data": "gs://bucket/base64", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "s3://bucket/secret.mp4"}},
        {"type": "file", "file": _DEEP},
        {
            "type": "image_url",
            "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/a"},
        },
    ],
)
def test_no_provider_is_led_to_a_file_of_the_operators(part: dict[str, Any]) -> None:
    """LiteLLM has Gemini and Bedrock read it, with the operator's credentials."""
    said = {"type": "text", "text": "What does gs://bucket/a.png show?"}
    request = {"messages": [{"role": "user", "content": [said, part]}]}
    with pytest.raises(ApiError, match="names a file stored elsewhere") as caught:
        abilities.refuse_kept_files(request)
    assert caught.value.body["error"]["param"] == "messages[0].content[1]"


def _doubling(depth: int) -> dict[str, Any]:
    """Each definition has the next one twice."""
    steps = {
        f"a{number}": {"properties": {side: {"$ref": f"#/$defs/a{number + 1}"} for side in "xy"}}
        for number in range(depth)
    }
    return {"properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": steps | {f"a{depth}": {}}}


def _circle(count: int) -> dict[str, Any]:
    """Each definition has all others: LiteLLM makes every order of them."""
    names = [f"a{number}" for number in range(count)]
    every = {"anyOf": [{"$ref": f"#/definitions/{name}"} for name in names]}
    return {**every, "definitions": dict.fromkeys(names, every)}


def _asking_for(schema: dict[str, Any]) -> list[dict[str, Any]]:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    return [{"response_format": form}, {"tools": [TOOLS[0], tool]}]


@pytest.mark.parametrize("schema", [_doubling(14), _doubling(1000), _circle(8), _circle(200)])
def test_no_schema_multiplies_before_a_provider(schema: dict[str, Any]) -> None:
    """LiteLLM took 0.9 s of the event loop for 14 steps, and doubles with each step."""
    for request, place in zip(_asking_for(schema), ("response_format", "tools[1]"), strict=True):
        with pytest.raises(ApiError, match="with their definitions in place") as caught:
            abilities.refuse_schema_bombs(request)
        assert caught.value.body["error"]["param"].startswith(place)


def test_all_schemas_of_a_request_multiply_within_one_limit() -> None:
    (_, asking) = _asking_for(_doubling(8))
    abilities.refuse_schema_bombs(asking)
    with pytest.raises(ApiError, match=r"tools\[\d+\].*with their definitions in place"):
        abilities.refuse_schema_bombs({"tools": asking["tools"] * 64})
    form = {"type": "json_object", "response_schema": _doubling(14)}
    with pytest.raises(ApiError, match="response_format"):
        abilities.refuse_schema_bombs({"response_format": form})


def test_no_body_is_nested_deeper_than_litellm_copies() -> None:
    nested: Any = {}
    for _ in range(abilities.DEEPEST - 1):
        nested = [nested]
    abilities.refuse_depth({"model": "m", "prediction": nested})
    part = {"type": "text", "text": "", "x": nested}
    for deep in (
        {"prediction": [nested]},
        {"messages": [{"role": "user", "content": [part]}]},
        {"tools": [nested]},
    ):
        with pytest.raises(ApiError, match="is nested too deeply") as caught:
            abilities.refuse_depth(deep)
        assert caught.value.body["error"]["param"] in deep


def test_a_schema_may_refer_to_itself_and_to_others() -> None:
    tree = {"properties": {"left": {"$ref": "#/$defs/t"}, "right": {"$ref": "#/$defs/t"}}}
    for schema in ({"$ref": "#/$defs/t", "$defs": {"t": tree}}, _doubling(8), _circle(4), {}):
        for request in _asking_for(schema):
            abilities.refuse_schema_bombs(request)
    abilities.refuse_schema_bombs({"messages": [], "tools": [{"type": "custom", "custom": {}}]})


def test_no_file_of_the_operators_is_embedded() -> None:
    for given in (
        " gs://bucket/secret.png\n",
        "GS://bucket/the secret.png",
        ["a", "s3://bucket/secret"],
        "files/a1b2",
        "https://generativelanguage.googleapis.com/v1beta/files/a1b2",
    ):
        with pytest.raises(ApiError, match="stored elsewhere"):
            abilities.refuse_kept_files({"input": given})
    about = ["Copy it to gs://bucket/a first.", "Uploads are in files/a."]
    for given in ("a", about, "https://example.com/a.png", [1, 2]):
        abilities.refuse_kept_files({"input": given})
    data = {"url": 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg"/>'}
    for url in (data, {"url": "https://example.com/a.png"}):
        content = [{"type": "image_url", "image_url": url}]
        abilities.refuse_kept_files({"messages": [{"role": "user", "content": content}]})


@pytest.mark.parametrize(
    ("part", "fine"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO+/=="}}, True),
        ({"type": "image_url", "image_url": {"url": "DATA:image/svg+xml;a=b;base64,AA\r\n"}}, True),
        ({"type": "image_url", "image_url": {"url": "https://a.example/b-c.png?d=_"}}, True),
        ({"type": "input_audio", "input_audio": {"data": "AA" * 9000, "format": "wav"}}, True),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}, True),
        ({"type": "text", "text": "-----BEGIN" * 1000}, True),
        ({"type": "image_url", "image_url": {"url": "data:" + "-----BEGIN" * 1000}}, False),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,-----BEGIN"}}, False),
        ({"type": "image_url", "image_url": {"url": "data:image/png,AAAA"}}, False),
        ({"type": "image_url", "image_url": {"url": "-----BEGIN" * 1000}}, False),
        ({"type": "input_audio", "input_audio": {"data": "é" * 9000, "format": "wav"}}, False),
    ],
)
def test_data_for_a_provider_is_base64(part: dict[str, Any], fine: bool) -> None:
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]}
    if fine:
        abilities.refuse_odd_data(request)
        return
    with pytest.raises(ApiError, match=r"the data in messages\[0\].content\[1\] is not base64"):
        abilities.refuse_odd_data(request)


def test_a_forced_tool_is_strict_and_a_named_tool_is_offered_alone() -> None:
    strict = [{**tool, "function": {**tool["function"], "strict": True}} for tool in TOOLS]
    asked = abilities.forced(NAMED)
    assert asked == {"tools": strict[1:], "tool_choice": "required"}
    required = abilities.forced({"tools": TOOLS, "tool_choice": "required"})
    assert required == {"tools": strict, "tool_choice": "required"}
    assert abilities.forced({"tools": TOOLS, "tool_choice": "auto"})["tools"] == TOOLS
    loose = [{"type": "function", "function": {"name": "g", "strict": False}}]
    assert abilities.forced({**NAMED, "tools": loose})["tools"] == loose
    odd = {"type": "custom", "custom": {"name": "g"}, "function": 5}
    assert abilities.forced({**NAMED, "tools": [odd, *TOOLS]}) == asked


@pytest.mark.parametrize(
    ("can", "request_", "param"),
    [
        (Abilities(frozenset(), True), SEEING, "messages[0].content[1]"),
        (Abilities(frozenset({"vision"}), True), SEEING, None),
        (Abilities(), SEEING, None),
        (Abilities(frozenset(), False), NAMED, "tool_choice"),
        (Abilities(frozenset(), True), NAMED, None),
    ],
)
def test_only_what_is_known_to_fail_is_refused(
    can: Abilities, request_: dict[str, Any], param: str | None
) -> None:
    if param is None:
        abilities.check("m", can, request_)
        return
    with pytest.raises(ApiError) as caught:
        abilities.check("m", can, request_)
    assert caught.value.body["error"]["param"] == param
    assert caught.value.body["error"]["code"] == "model_not_supported"


@pytest.mark.parametrize(
    ("said", "asked", "param"),
    [
        ("m is not a multimodal model", SEEING, "messages[0].content[1]"),
        ("At most 0 image(s) may be provided in one prompt.", SEEING, "messages[0].content[1]"),
        ('"auto" tool choice requires --enable-auto-tool-choice', {"tools": TOOLS}, "tool_choice"),
        ("At most 0 image(s) may be provided in one prompt.", {"messages": []}, None),
        ("Unsupported chat content part type: 'file'", SEEING, "messages[0].content[1]"),
        ("unsupported content[].type", SEEING, "messages[0].content[1]"),
        ("temperature must be finite", SEEING, None),
    ],
)
def test_an_engines_words_are_explained(
    said: str, asked: dict[str, Any], param: str | None
) -> None:
    for named in (None, "type"):
        error = abilities.explained("m", ApiError(400, said, param=named), asked)
        assert error.body["error"]["param"] == (param or named)
