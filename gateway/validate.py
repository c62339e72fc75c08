"""Checks the fields of a request before an engine sees them, so that both lanes refuse alike.

Engines differ: llama.cpp answers 500 to a tool without a name and takes `stop: 5` for none, vLLM
refuses both. What is checked is what the OpenAI API documents
(https://platform.openai.com/docs/api-reference); fields that are not listed here pass. JSON's null
is a field that was not sent. Each rule has the JSON Schema of what it takes, for
`gateway.openapi`: a schema may take more than its rule, never less.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from gateway.http import ApiError

Schema = dict[str, Any]


class Rule(Protocol):
    """What a field may be."""

    schema: Schema

    def __call__(self, place: str, value: Any) -> None:
        """Takes a field's place and value. Raises ApiError 400."""


BIGGEST = 2**31 - 1


def check(endpoint: str, body: Mapping[str, Any]) -> None:
    """Raise ApiError 400, with `param`, at the first field that is missing or wrong.

    Args:
        endpoint: the path without `/v1`, such as `/chat/completions`.
    """
    rules, required = _ENDPOINTS[endpoint]
    for name in required:
        if body.get(name) is None:
            raise _refused(name, f"{name} is missing")
    for name, value in body.items():
        if value is not None and (rule := rules.get(name)):
            rule(name, value)
    if endpoint == "/chat/completions":
        if body.get("top_logprobs") is not None and not body.get("logprobs"):
            raise _refused("top_logprobs", "top_logprobs needs logprobs: true beside it")
        if (choice := body.get("tool_choice")) not in (None, "none", "auto"):
            _choose(choice, body.get("tools") or [])
    if endpoint == "/completions" and (body.get("n") or 1) > 1 and not body.get("suffix"):
        prompt = body["prompt"]
        if prompt == "" or (type(prompt) is list and "" in prompt):
            # llama.cpp would never answer: the second completion waits for the first one's prompt.
            raise _refused("n", "n must be 1 where a prompt is empty")


def fields(endpoint: str) -> tuple[dict[str, Schema], tuple[str, ...]]:
    """The fields of an endpoint's body with their schemas, and the names of the required ones."""
    rules, required = _ENDPOINTS[endpoint]
    return {name: rule.schema for name, rule in rules.items()}, required


def _takes(schema: Schema) -> Callable[[Callable[[str, Any], None]], Rule]:
    """The rule with its schema."""

    def decorate(rule: Callable[[str, Any], None]) -> Rule:
        rule.schema = schema  # type: ignore[attr-defined]
        return cast(Rule, rule)

    return decorate


_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "array", "items": _STRING}
_OBJECT: Schema = {"type": "object"}
_NULL: Schema = {"type": "null"}
_NAME: Schema = {"type": "string", "minLength": 1}


def _with(required: Mapping[str, Schema], **more: Schema) -> Schema:
    """An object that has these fields, and may have more."""
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


# Pieces of which the rules are made. Values come from JSON, so `type(x) is` is exact, and keeps
# true and false from being numbers.


def _integer(low: int, high: int = BIGGEST) -> Rule:
    @_takes({"type": "integer", "minimum": low, "maximum": high})
    def rule(place: str, value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            upper = f" to {high}" if high != BIGGEST else ""
            raise _wrong(place, f"an integer from {low}{upper or ' on'}", value)

    return rule


@_takes({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1})
def _seed(place: str, value: Any) -> None:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _wrong(place, "an integer of 64 bits", value)


def _number(low: float, high: float) -> Rule:
    @_takes({"type": "number", "minimum": low, "maximum": high})
    def rule(place: str, value: Any) -> None:
        # NaN is in no range.
        if type(value) not in (int, float) or not low <= value <= high:
            raise _wrong(place, f"a number from {low:g} to {high:g}", value)

    return rule


@_takes(_STRING)
def _text(place: str, value: Any) -> None:
    if type(value) is not str:
        raise _wrong(place, "a string", value)


@_takes(_NAME)
def _name(place: str, value: Any) -> None:
    if type(value) is not str or not value:
        raise _wrong(place, "a string that is not empty", value)


@_takes({"type": "boolean"})
def _boolean(place: str, value: Any) -> None:
    if type(value) is not bool:
        raise _wrong(place, "true or false", value)


@_takes(_OBJECT)
def _object(place: str, value: Any) -> None:
    if type(value) is not dict:
        raise _wrong(place, "an object", value)


@_takes({"type": "array", "items": _OBJECT})
def _objects(place: str, value: Any) -> None:
    if type(value) is not list:
        raise _wrong(place, "a list of objects", value)
    for number, item in enumerate(value):
        _object(f"{place}[{number}]", item)


def _choice(*known: str) -> Rule:
    @_takes({"type": "string", "enum": list(known)})
    def rule(place: str, value: Any) -> None:
        if type(value) is not str or value not in known:
            raise _wrong(place, f"one of {', '.join(known)}", value)

    return rule


_tool_type = _choice("function", "custom")


@_takes({"anyOf": [_STRING, _STRINGS]})
def _texts(place: str, value: Any) -> None:
    """A string or a list of strings."""
    if type(value) is not str and (type(value) is not list or not set(map(type, value)) <= {str}):
        raise _wrong(place, "a string or a list of strings", value)


_TOKENS = {"type": "array", "minItems": 1, "items": {"type": "integer"}}


def _text_or_tokens(text: Schema) -> Schema:
    several = [{"type": "array", "minItems": 1, "items": one} for one in (text, _TOKENS)]
    return {"anyOf": [text, _TOKENS, *several]}


@_takes(_text_or_tokens(_STRING))
def _inputs(place: str, value: Any) -> None:
    """Text or tokens, one or several."""
    if type(value) is str:
        return
    if type(value) is list and value:
        kinds = set(map(type, value))
        if kinds in ({str}, {int}):
            return
        if kinds == {list} and all(set(map(type, tokens)) == {int} for tokens in value):
            return
    raise _wrong(place, "a string, a list of strings, or tokens", value)


@_takes(_text_or_tokens(_NAME))
def _embedded(place: str, value: Any) -> None:
    _inputs(place, value)
    if value == "" or (type(value) is list and "" in value):
        raise _refused(place, f"{place} has an empty text, which cannot be embedded")


# The larger fields


# Of a chat's content: OpenAI's, then vLLM's. LiteLLM answers 500 to others.
_PARTS = (
    *("text", "refusal", "image_url", "input_audio", "file"),
    *("audio_url", "video_url", "image_embeds", "audio_embeds"),
)


def _part(*others: str) -> Schema:
    """A part of a content: text, or one of the others; of whatever type where none is named."""
    other: Schema = {"enum": list(others)} if others else {"not": {"const": "text"}}
    text = _with({"type": {"const": "text"}, "text": _STRING})
    return {"anyOf": [text, _with({"type": {"type": "string", **other}})]}


def _function(**more: Schema) -> Schema:
    return _with({"type": {"const": "function"}, "function": _with({"name": _NAME}, **more)})


def _conversation(part: Schema) -> Schema:
    """Messages whose contents have such parts."""
    content = {"anyOf": [_STRING, {"type": "array", "items": part}]}
    custom = _with({"type": {"const": "custom"}})
    call = {"anyOf": [_function(arguments=_STRING), custom]}
    calls: Schema = {"anyOf": [{"type": "array", "items": call}, _NULL]}
    names: dict[str, Schema] = {n: {"anyOf": [_STRING, _NULL]} for n in ("name", "tool_call_id")}
    said = _with({"role": _NAME, "content": content}, tool_calls=calls, **names)
    nothing = _with({"role": {"const": "assistant"}}, content=_NULL, tool_calls=calls, **names)
    return {"type": "array", "minItems": 1, "items": {"anyOf": [said, nothing]}}


@_takes(_conversation(_part(*(kind for kind in _PARTS if kind != "text"))))
def _chat_messages(place: str, value: Any) -> None:
    _messages(place, value)
    for number, message in enumerate(value):
        if type(message.get("content")) is list:
            for index, part in enumerate(message["content"]):
                if part["type"] not in _PARTS:
                    where = f"{place}[{number}].content[{index}].type"
                    raise _wrong(where, f"one of {', '.join(_PARTS)}", part["type"])


@_takes(_conversation(_part()))
def _messages(place: str, value: Any) -> None:
    if type(value) is not list or not value:
        raise _wrong(place, "a list of messages, and not empty", value)
    for number, message in enumerate(value):
        if type(message) is not dict:
            raise _wrong(f"{place}[{number}]", "an object with role and content", message)
        role = message.get("role")
        if type(role) is not str or not role:
            _name(f"{place}[{number}].role", role)
        content = message.get("content")
        if type(content) is str:
            pass
        elif type(content) is list:
            _content(f"{place}[{number}].content", content)
        elif content is not None or role != "assistant":
            raise _wrong(f"{place}[{number}].content", "text or a list of parts", content)
        if len(message) > 2 or content is None:
            _more(f"{place}[{number}]", message)


def _content(place: str, parts: list[Any]) -> None:
    for number, part in enumerate(parts):
        if type(part) is not dict or type(part.get("type")) is not str:
            raise _wrong(f"{place}[{number}]", "an object with type, such as text", part)
        if part["type"] == "text" and type(part.get("text")) is not str:
            _text(f"{place}[{number}].text", part.get("text"))


def _more(place: str, message: dict[str, Any]) -> None:
    """What a message has beside role and content."""
    for name in ("name", "tool_call_id"):
        if (value := message.get(name)) is not None:
            _text(f"{place}.{name}", value)
    if (calls := message.get("tool_calls")) is None:
        return
    _objects(f"{place}.tool_calls", calls)
    for number, call in enumerate(calls):
        where = f"{place}.tool_calls[{number}]"
        _tool_type(f"{where}.type", call.get("type"))
        if call["type"] == "function":
            function = call.get("function")
            _object(f"{where}.function", function)
            _name(f"{where}.function.name", function.get("name"))
            _text(f"{where}.function.arguments", function.get("arguments", ""))


_CUSTOM = _with({"type": {"const": "custom"}, "custom": _with({"name": _NAME})})


@_takes({"type": "array", "items": {"anyOf": [_function(), _CUSTOM]}})
def _tools(place: str, value: Any) -> None:
    _objects(place, value)
    for number, tool in enumerate(value):
        where = f"{place}[{number}]"
        _tool_type(f"{where}.type", tool.get("type"))
        kind = tool["type"]
        inside = tool.get(kind)
        _object(f"{where}.{kind}", inside)
        _name(f"{where}.{kind}.name", inside.get("name"))
        if (parameters := inside.get("parameters")) is not None:
            _object(f"{where}.{kind}.parameters", parameters)


_OTHER = _with({"type": {"type": "string", "minLength": 1, "not": {"const": "function"}}})


@_takes({"anyOf": [{"enum": ["none", "auto", "required"]}, _function(), _OTHER]})
def _tool_choice(place: str, value: Any) -> None:
    if type(value) is str:
        _choice("none", "auto", "required")(place, value)
    elif type(value) is not dict:
        raise _wrong(place, "none, auto, required, or an object that names a function", value)
    else:
        _name(f"{place}.type", value.get("type"))
        if value["type"] == "function":
            _object(f"{place}.function", value.get("function"))
            _name(f"{place}.function.name", value["function"].get("name"))


def _choose(choice: Any, tools: list[dict[str, Any]]) -> None:
    """What is chosen must be there; llama.cpp would let the model choose nothing instead."""
    if not tools:
        raise _refused("tool_choice", "tool_choice asks for a tool, and there are no tools")
    if type(choice) is dict and choice["type"] == "function":
        name = choice["function"]["name"]
        names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
        if name not in names:
            text = f"tool_choice names {_shown(name)}; tools has {', '.join(names)[:200]}"
            raise _refused("tool_choice", text)


_format_type = _choice("text", "json_object", "json_schema", "structural_tag")


_PLAIN = _with({"type": {"enum": ["text", "json_object", "structural_tag"]}})
_JSON = _with({"type": {"const": "json_schema"}, "json_schema": _with({}, schema=_OBJECT)})


@_takes({"anyOf": [_PLAIN, _JSON]})
def _response_format(place: str, value: Any) -> None:
    _object(place, value)
    _format_type(f"{place}.type", value.get("type"))
    if value["type"] == "json_schema":
        _object(f"{place}.json_schema", value.get("json_schema"))
        _object(f"{place}.json_schema.schema", value["json_schema"].get("schema", {}))
    elif value.get("schema") is not None:  # llama.cpp's own
        _object(f"{place}.schema", value["schema"])


@_takes({"type": "object", "properties": {"include_usage": {"type": ["boolean", "null"]}}})
def _stream_options(place: str, value: Any) -> None:
    _object(place, value)
    if (usage := value.get("include_usage")) is not None:
        _boolean(f"{place}.include_usage", usage)


@_takes({"type": "object", "additionalProperties": _number(-100, 100).schema})
def _logit_bias(place: str, value: Any) -> None:
    _object(place, value)
    for token, bias in value.items():
        _number(-100, 100)(f"{place}.{token[:20]}", bias)


@_takes({"anyOf": [_STRING, {"type": "array", "items": _OBJECT}]})
def _response_input(place: str, value: Any) -> None:
    if type(value) is not str:
        if type(value) is not list:
            raise _wrong(place, "text or a list of items", value)
        _objects(place, value)


@_takes({"anyOf": [_STRING, {"type": "array", "items": _part()}]})
def _blocks(place: str, value: Any) -> None:
    """Text, or a list of parts, as Messages has it."""
    if type(value) is list:
        _content(place, value)
    elif type(value) is not str:
        raise _wrong(place, "text or a list of parts", value)


@_takes({"type": "array", "minItems": 1, "items": {"anyOf": [_STRING, _OBJECT]}})
def _documents(place: str, value: Any) -> None:
    if type(value) is not list or not value or not set(map(type, value)) <= {str, dict}:
        raise _wrong(place, "a list of texts, and not empty", value)


_COMMON: dict[str, Rule] = {
    "model": _name,
    "stream": _boolean,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "metadata": _object,
    "user": _text,
}
_SAMPLED: dict[str, Rule] = {
    **_COMMON,
    "stream_options": _stream_options,
    "max_tokens": _integer(1),
    "n": _integer(1, 128),
    "stop": _texts,
    "seed": _seed,
    "frequency_penalty": _number(-2, 2),
    "presence_penalty": _number(-2, 2),
    "logit_bias": _logit_bias,
    "response_format": _response_format,
    # Not OpenAI's, but known to both engines.
    "top_k": _integer(-1),
    "min_p": _number(0, 1),
}
_CHAT: dict[str, Rule] = {
    **_SAMPLED,
    "messages": _chat_messages,
    "max_completion_tokens": _integer(1),
    "logprobs": _boolean,
    "top_logprobs": _integer(0, 20),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "functions": _objects,
    "reasoning_effort": _text,
    "service_tier": _text,
    "store": _boolean,
    "chat_template_kwargs": _object,
}
_COMPLETIONS: dict[str, Rule] = {
    **_SAMPLED,
    "prompt": _inputs,
    "max_tokens": _integer(0),  # 0 with echo: the logprobs of a text, which evaluations ask for
    "logprobs": _integer(0, 20),
    "echo": _boolean,
    "suffix": _text,
    "best_of": _integer(1, 128),
}
_EMBEDDINGS: dict[str, Rule] = {
    **_COMMON,
    "input": _embedded,
    "encoding_format": _choice("float", "base64"),
    "dimensions": _integer(1),
}
_RERANK: dict[str, Rule] = {
    **_COMMON,
    "query": _text,
    "documents": _documents,
    "top_n": _integer(1),
    "return_documents": _boolean,
}
_RESPONSES: dict[str, Rule] = {
    **_COMMON,
    "input": _response_input,
    "instructions": _text,
    "max_output_tokens": _integer(1),
    "tools": _objects,
    "parallel_tool_calls": _boolean,
    "previous_response_id": _text,
    "reasoning": _object,
    "store": _boolean,
    "text": _object,
    "truncation": _text,
}
_MESSAGES: dict[str, Rule] = {
    **_COMMON,
    "messages": _messages,
    "max_tokens": _integer(1),
    "system": _blocks,
    "stop_sequences": _texts,
    "tools": _objects,
    "tool_choice": _object,
    "top_k": _integer(-1),
    "thinking": _object,
}
_ENDPOINTS: dict[str, tuple[dict[str, Rule], tuple[str, ...]]] = {
    "/chat/completions": (_CHAT, ("model", "messages")),
    "/completions": (_COMPLETIONS, ("model", "prompt")),
    "/embeddings": (_EMBEDDINGS, ("model", "input")),
    "/rerank": (_RERANK, ("model", "query", "documents")),
    "/responses": (_RESPONSES, ("model", "input")),
    "/messages": (_MESSAGES, ("model", "messages")),
}


def _wrong(place: str, wanted: str, value: Any) -> ApiError:
    return _refused(place, f"{place} must be {wanted} (it is {_shown(value)})")


def _refused(place: str, message: str) -> ApiError:
    return ApiError(400, message, param=place)


def _shown(value: Any) -> str:
    """A value as JSON names it, short."""
    if value is None:
        return "missing or null"
    if type(value) is bool:
        return str(value).lower()
    if type(value) is dict:
        return "an object"
    if type(value) is list:
        return "a list" if value else "an empty list"
    # repr of an integer of thousands of digits is an error.
    text = "a huge number" if type(value) is int and abs(value) > 2**64 else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
