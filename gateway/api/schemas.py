"""Request schemas: every field once, with its rule, its JSON Schema and its endpoints.

These declarations drive validation (`accept`), the OpenAPI description (`gateway.api.openapi`) and
the allow-lists for engines and LiteLLM (`for_engine`, `for_litellm`). A field that is not declared
is rejected by name. The fields come from the public references: OpenAI's
(https://platform.openai.com/docs/api-reference), Anthropic's
(https://docs.anthropic.com/en/api/messages), Cohere's (https://docs.cohere.com/v2/reference/rerank)
and, for our own engines, vLLM's extra parameters
(https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).

JSON's null means that a field is absent. A schema may accept more than its rule, never less.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from gateway.api import endpoints
from gateway.api.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, RESPONSES
from gateway.core.http import ApiError
from gateway.core.json_body import nested

Schema = dict[str, Any]

BIGGEST = 2**31 - 1
# Counts are checked before the items. The limits are OpenAI's unless a comment says otherwise.
MESSAGES = 4096
PARTS = 4096  # of one message
CALLS = 128
TOOLS = 128
STOPS = 4
CODE_STOPS = 16  # of a completion: OpenAI has retired these models, and Continue sends several
BIASES = 300
PROMPTS = 512  # evaluation harnesses send batches
INPUTS = 2048
DOCUMENTS = 1000
IDS = 1024
ENTRIES = 100  # of an object that is passed on unchanged
# Per schema. llama.cpp evaluates each alternative for each token: 200,000 alternatives blocked all
# requests for minutes, 1,000 take seconds.
PROPERTIES = 5_000
ALTERNATIVES = 1_000
GRAMMAR = 65_536  # characters


class Rule(Protocol):
    """Checks the value of a field."""

    schema: Schema

    def __call__(self, place: str, value: Any) -> None:
        """Check the value of the field at `place`. Raises ApiError 400."""


class Field(NamedTuple):
    """A field of a body, and its recipients."""

    rule: Rule
    engine: bool = False
    litellm: bool = False


def accept(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Validates the body and returns the fields that were sent.

    Args:
        endpoint: the path without `/v1`, such as `/chat/completions`.

    Raises:
        ApiError: 400, with `param`, at the first missing, invalid or unknown field.
    """
    fields = ENDPOINTS[endpoint]
    for name in REQUIRED[endpoint]:
        if body.get(name) is None:
            raise _refused(name, f"{name} is missing")
    accepted = {}
    for name, value in body.items():
        field = fields.get(name)
        if field is None:
            shown = name[:100].encode("utf-8", "replace").decode()
            raise _refused(shown, f"{shown} is not a field of {endpoint} here")
        if value is not None:
            field.rule(name, value)
            accepted[name] = value
    if endpoint == CHAT.path:
        _answered(accepted["messages"])
        if "top_logprobs" in accepted and not accepted.get("logprobs"):
            raise _refused("top_logprobs", "top_logprobs needs logprobs: true beside it")
        _allow(accepted)
        if (choice := accepted.get("tool_choice")) not in (None, "none", "auto"):
            choose(choice, accepted.get("tools") or [])
    if accepted.get("best_of", 1) > accepted.get("n", 1):
        raise _refused("best_of", "best_of is not supported: the engine returns all n answers")
    if endpoint == COMPLETIONS.path and (copies := accepted.get("n", 1)) > 1:
        _copied(accepted, copies)
    return accepted


def _copied(accepted: Mapping[str, Any], copies: int) -> None:
    """Check that this number of completions per prompt is possible."""
    prompt = accepted["prompt"]
    is_list = type(prompt) is list and type(prompt[0]) is not int
    if is_list and len(prompt) * copies > PROMPTS:
        text = f"n x prompts has {len(prompt) * copies:,} entries: send at most {PROMPTS}"
        raise _refused("n", text)
    if accepted.get("suffix"):
        return
    if accepted.get("max_tokens") == 0:
        raise _refused("n", "n must be 1 where max_tokens is 0: all choices would be the same")
    if prompt == "" or (is_list and "" in prompt):
        # llama.cpp would never answer: the second completion waits for the first one's prompt.
        raise _refused("n", "n must be 1 where a prompt is empty")


def for_engine(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Drops fields that engines do not use, and keeps fields that the gateway has added."""
    return {name: value for name, value in body.items() if name not in _NOT_FOR_ENGINES[endpoint]}


def for_litellm(endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns only the fields that LiteLLM may receive.

    LiteLLM also reads its own settings from bodies: models, addresses, credentials, timeouts; and
    files from message fields that no reference documents.
    """
    sent = {name: value for name, value in body.items() if name in _FOR_LITELLM[endpoint]}
    if endpoint == CHAT.path:
        sent["messages"] = [
            {name: value for name, value in message.items() if name in _OF_MESSAGES}
            for message in body["messages"]
        ]
    return sent


# Message fields for LiteLLM: OpenAI's, and those that reasoning models take back.
_OF_MESSAGES = {
    *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio"),
    *("reasoning_content", "thinking_blocks", "cache_control", "provider_specific_fields"),
}


def _takes(schema: Schema) -> Callable[[Callable[[str, Any], None]], Rule]:
    """Attaches the schema to a rule."""

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
    """An object with these required fields; others are allowed."""
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


# Small rules. Values come from JSON, so `type(x) is` is exact, and rejects booleans as numbers.


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
        # NaN is outside every range.
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


@_takes({"const": False})
def _false(place: str, value: Any) -> None:
    if value is not False:
        raise _wrong(place, "false here", value)


@_takes(_OBJECT)
def _object(place: str, value: Any) -> None:
    if type(value) is not dict:
        raise _wrong(place, "an object", value)


@_takes({"type": "object", "maxProperties": ENTRIES})
def _small_object(place: str, value: Any) -> None:
    _object(place, value)
    _at_most(place, value, ENTRIES)


# Template variables of Transformers and llama.cpp. In llama.cpp, `messages` would replace the
# prompt, including the alias's instructions.
_RENDERED = (
    *("messages", "conversation", "tools", "documents", "chat_template", "tokenizer_kwargs"),
    *("add_generation_prompt", "continue_final_message", "tokenize", "padding", "truncation"),
    *("max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("bos_token", "eos_token", "raise_exception", "strftime_now"),
)


@_takes({**_small_object.schema, "propertyNames": {"not": {"enum": list(_RENDERED)}}})
def _template_values(place: str, value: Any) -> None:
    _small_object(place, value)
    for name in value:
        if name in _RENDERED:
            text = f"{place}.{name} may not be set by clients"
            raise _refused(f"{place}.{name}", text)


@_takes({})
def _anything(place: str, value: Any) -> None:
    """Accepts any value, for fields that are not passed on."""


def _objects(most: int) -> Rule:
    @_takes({"type": "array", "items": _OBJECT, "maxItems": most})
    def rule(place: str, value: Any) -> None:
        if type(value) is not list:
            raise _wrong(place, "a list of objects", value)
        _at_most(place, value, most)
        for number, item in enumerate(value):
            if type(item) is not dict:
                raise _wrong(f"{place}[{number}]", "an object", item)

    return rule


def _choice(*known: str) -> Rule:
    @_takes({"type": "string", "enum": list(known)})
    def rule(place: str, value: Any) -> None:
        if type(value) is not str or value not in known:
            raise _wrong(place, f"one of {', '.join(known)}", value)

    return rule


def _texts(most: int) -> Rule:
    @_takes({"anyOf": [_STRING, {**_STRINGS, "maxItems": most}]})
    def rule(place: str, value: Any) -> None:
        if type(value) is str:
            return
        if type(value) is list:
            _at_most(place, value, most)
        if type(value) is not list or not set(map(type, value)) <= {str}:
            raise _wrong(place, "a string or a list of strings", value)

    return rule


@_takes({"type": "array", "items": {"type": "integer"}, "maxItems": IDS})
def _token_ids(place: str, value: Any) -> None:
    if type(value) is list:
        _at_most(place, value, IDS)
    if type(value) is not list or not set(map(type, value)) <= {int}:
        raise _wrong(place, "a list of token ids", value)


@_takes({"anyOf": [_STRING, _OBJECT]})
def _text_or_object(place: str, value: Any) -> None:
    if type(value) not in (str, dict):
        raise _wrong(place, "a string or an object", value)


_TOKENS = {"type": "array", "minItems": 1, "items": {"type": "integer"}}


def _text_or_tokens(text: Schema, most: int) -> Schema:
    several = [
        {"type": "array", "minItems": 1, "maxItems": most, "items": item}
        for item in (text, _TOKENS)
    ]
    return {"anyOf": [text, _TOKENS, *several]}


def _inputs(most: int) -> Rule:
    """Accepts text or tokens, one input or several."""

    @_takes(_text_or_tokens(_STRING, most))
    def rule(place: str, value: Any) -> None:
        if type(value) is str:
            return
        if type(value) is list and value:
            if type(value[0]) is not int:
                _at_most(place, value, most)
            kinds = set(map(type, value))
            if kinds == {int}:
                return
            if kinds == {str}:
                return
            if kinds == {list} and all(set(map(type, tokens)) == {int} for tokens in value):
                return
        raise _wrong(place, "a string, a list of strings, or tokens", value)

    return rule


_embedded_inputs = _inputs(INPUTS)


@_takes(_text_or_tokens(_NAME, INPUTS))
def _embedded(place: str, value: Any) -> None:
    _embedded_inputs(place, value)
    if value == "" or (type(value) is list and "" in value):
        raise _refused(place, f"{place} has an empty text, which cannot be embedded")


# Schemas and grammars of an answer


def _bounded(place: str, schema: Any) -> None:
    """Raises ApiError 400 for too many properties, or alternatives in enumerations and unions."""
    properties = alternatives = 0
    for value in nested(schema):
        for name, inside in value.items() if type(value) is dict else ():
            if type(inside) is dict and name == "properties":
                properties += len(inside)
            elif type(inside) is list and name != "required":
                alternatives += len(inside)
        if properties > PROPERTIES or alternatives > ALTERNATIVES:
            text = (
                f"{place} is too large: send at most {PROPERTIES:,} properties, and"
                f" {ALTERNATIVES:,} alternatives in enumerations and unions"
            )
            raise _refused(place, text)


@_takes(_OBJECT)
def _schema(place: str, value: Any) -> None:
    _object(place, value)
    _bounded(place, value)


@_takes({"type": "string", "maxLength": GRAMMAR})
def _grammar(place: str, value: Any) -> None:
    """Checks a grammar or a regular expression."""
    _text(place, value)
    if len(value) > GRAMMAR or value.count("|") > ALTERNATIVES:
        text = f"{place} is too large: send at most {GRAMMAR:,} characters, and {ALTERNATIVES:,} |"
        raise _refused(place, text)


@_takes({"anyOf": [_grammar.schema, _OBJECT]})
def _schema_or_text(place: str, value: Any) -> None:
    if type(value) not in (str, dict):
        raise _wrong(place, "a string or an object", value)
    (_grammar if type(value) is str else _bounded)(place, value)


@_takes({"type": "object", "maxProperties": ENTRIES})
def _structure(place: str, value: Any) -> None:
    """Checks vLLM's structure, which holds a schema, a regular expression, a grammar or a
    choice."""
    _small_object(place, value)
    _bounded(place, value)
    for name, inside in value.items():
        if type(inside) is str:
            _grammar(f"{place}.{name}", inside)


# The larger fields


# Content parts of a chat: OpenAI's, then vLLM's. LiteLLM answers 500 to others.
_PARTS = (
    *("text", "refusal", "image_url", "input_audio", "file"),
    *("audio_url", "video_url", "image_embeds", "audio_embeds"),
)


def _part(*others: str) -> Schema:
    """A content part: text, or one of `others`; of any type if none is named."""
    other: Schema = {"enum": list(others)} if others else {"not": {"const": "text"}}
    text = _with({"type": {"const": "text"}, "text": _STRING})
    return {"anyOf": [text, _with({"type": {"type": "string", **other}})]}


def _function(**more: Schema) -> Schema:
    return _with({"type": {"const": "function"}, "function": _with({"name": _NAME}, **more)})


_ROLES = ("system", "developer", "user", "assistant", "tool")


def _conversation(part: Schema) -> Schema:
    """Messages whose contents have parts of this kind."""
    content = {"anyOf": [_STRING, {"type": "array", "items": part, "maxItems": PARTS}]}
    custom = _with({"type": {"const": "custom"}})
    call = {"anyOf": [_function(arguments=_STRING), custom]}
    calls: Schema = {"anyOf": [{"type": "array", "items": call, "maxItems": CALLS}, _NULL]}
    names: dict[str, Schema] = {n: {"anyOf": [_STRING, _NULL]} for n in ("name", "tool_call_id")}
    role = {"enum": list(_ROLES)}
    with_content = _with({"role": role, "content": content}, tool_calls=calls, **names)
    nothing = _with({"role": {"const": "assistant"}}, content=_NULL, tool_calls=calls, **names)
    items = {"anyOf": [with_content, nothing]}
    return {"type": "array", "minItems": 1, "maxItems": MESSAGES, "items": items}


@_takes(_conversation(_part(*(kind for kind in _PARTS if kind != "text"))))
def _chat_messages(place: str, value: Any) -> None:
    _messages(place, value)
    for number, message in enumerate(value):
        if type(message.get("content")) is list:
            for index, part in enumerate(message["content"]):
                where = f"{place}[{number}].content[{index}]"
                if part["type"] not in _PARTS:
                    raise _wrong(f"{where}.type", f"one of {', '.join(_PARTS)}", part["type"])
                file = part.get("file")
                if type(file) is dict and file.get("file_id") is not None:
                    # It would name one of the operator's files at the provider.
                    text = "files are not stored here: send file_data"
                    raise _refused(f"{where}.file.file_id", text)


def _answered(messages: list[dict[str, Any]]) -> None:
    """Check that each tool message answers an earlier call by the assistant."""
    calls: set[Any] = set()
    for number, message in enumerate(messages):
        for call in message.get("tool_calls") or ():
            calls.add(call.get("id"))
        if message["role"] == "tool" and message.get("tool_call_id") not in calls:
            place = f"messages[{number}].tool_call_id"
            call_id = shown(message.get("tool_call_id"))
            text = f"{place} ({call_id}) is not the id of an earlier tool call"
            raise _refused(place, text)


@_takes(_conversation(_part()))
def _messages(place: str, value: Any) -> None:
    if type(value) is not list or not value:
        raise _wrong(place, "a list of messages, and not empty", value)
    _at_most(place, value, MESSAGES)
    for number, message in enumerate(value):
        if type(message) is not dict:
            raise _wrong(f"{place}[{number}]", "an object with role and content", message)
        role = message.get("role")
        if type(role) is not str or role not in _ROLES:
            raise _wrong(f"{place}[{number}].role", f"one of {', '.join(_ROLES)}", role)
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
    _at_most(place, parts, PARTS)
    for number, part in enumerate(parts):
        if type(part) is not dict or type(part.get("type")) is not str:
            raise _wrong(f"{place}[{number}]", "an object with type, such as text", part)
        if part["type"] == "text" and type(part.get("text")) is not str:
            _text(f"{place}[{number}].text", part.get("text"))


_tool_type = _choice("function", "custom")
_calls = _objects(CALLS)


def _more(place: str, message: dict[str, Any]) -> None:
    """Check the fields of a message other than role and content."""
    for name in ("name", "tool_call_id"):
        if (value := message.get(name)) is not None:
            _text(f"{place}.{name}", value)
    if (calls := message.get("tool_calls")) is None:
        return
    _calls(f"{place}.tool_calls", calls)
    for number, call in enumerate(calls):
        where = f"{place}.tool_calls[{number}]"
        _tool_type(f"{where}.type", call.get("type"))
        if (id := call.get("id")) is not None:
            _text(f"{where}.id", id)
        if call["type"] == "function":
            function = call.get("function")
            _object(f"{where}.function", function)
            _name(f"{where}.function.name", function.get("name"))
            _text(f"{where}.function.arguments", function.get("arguments", ""))


_CUSTOM = _with({"type": {"const": "custom"}, "custom": _with({"name": _NAME})})
_some_tools = _objects(TOOLS)


def _tools(longest: int) -> Rule:
    """`longest`: the maximum length of a name, in characters."""
    letters = re.compile(rf"[a-zA-Z0-9_-]{{1,{longest}}}\Z")

    @_takes({"type": "array", "items": {"anyOf": [_function(), _CUSTOM]}, "maxItems": TOOLS})
    def rule(place: str, value: Any) -> None:
        _some_tools(place, value)
        for number, tool in enumerate(value):
            where = f"{place}[{number}]"
            _tool_type(f"{where}.type", tool.get("type"))
            kind = tool["type"]
            inside = tool.get(kind)
            _object(f"{where}.{kind}", inside)
            name = inside.get("name")
            if type(name) is not str or not letters.match(name):
                raise _wrong(f"{where}.{kind}.name", f"1 to {longest} letters, digits, _, -", name)
            if (about := inside.get("description")) is not None:
                _text(f"{where}.{kind}.description", about)
            if (parameters := inside.get("parameters")) is not None:
                _schema(f"{where}.{kind}.parameters", parameters)
            if (strict := inside.get("strict")) is not None:
                _boolean(f"{where}.{kind}.strict", strict)

    return rule


translated_tools = _tools(128)  # Anthropic's names are longer than OpenAI's


_OTHER = _with({"type": {"type": "string", "minLength": 1, "not": {"const": "function"}}})
_tool_word = _choice("none", "auto", "required")


@_takes({"anyOf": [{"enum": ["none", "auto", "required"]}, _function(), _OTHER]})
def _tool_choice(place: str, value: Any) -> None:
    if type(value) is str:
        _tool_word(place, value)
    elif type(value) is not dict:
        raise _wrong(place, "none, auto, required, or an object that names a function", value)
    else:
        _name(f"{place}.type", value.get("type"))
        if value["type"] == "function":
            _object(f"{place}.function", value.get("function"))
            _name(f"{place}.function.name", value["function"].get("name"))


def choose(choice: Any, tools: list[dict[str, Any]]) -> None:
    """Check that the chosen tool exists; otherwise llama.cpp would not force any tool.

    Raises ApiError 400: the tool does not exist, or `choice` is not valid in Chat.
    """
    _tool_choice("tool_choice", choice)
    if not tools:
        raise _refused("tool_choice", "tool_choice requires a tool, but tools is empty")
    if type(choice) is dict and choice["type"] == "function":
        name = choice["function"]["name"]
        names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
        if name not in names:
            text = f"tool_choice names {shown(name)}; tools has {', '.join(names)[:200]}"
            raise _refused("tool_choice", text)


_mode = _choice("auto", "required")


def _allow(accepted: dict[str, Any]) -> None:
    """Keep the tools that `tool_choice` allows, and its mode: engines do not know allowed tools."""
    choice, tools = accepted.get("tool_choice"), accepted.get("tools") or []
    if type(choice) is not dict or choice["type"] != "allowed_tools":
        return
    place = "tool_choice.allowed_tools"
    inside: Any = choice.get("allowed_tools")
    _object(place, inside)
    _mode(f"{place}.mode", inside.get("mode"))
    _some_tools(f"{place}.tools", inside.get("tools"))
    known = {(tool["type"], tool[tool["type"]]["name"]): tool for tool in tools}
    allowed = {}
    for number, tool in enumerate(inside["tools"]):
        where = f"{place}.tools[{number}]"
        kind: Any = tool.get("type")
        _tool_type(f"{where}.type", kind)
        _object(f"{where}.{kind}", tool.get(kind))
        name: Any = tool[kind].get("name")
        _name(f"{where}.{kind}.name", name)
        if (kind, name) not in known:
            raise _refused(where, f"{where} names {shown(name)}, which is not in tools")
        allowed[kind, name] = known[kind, name]
    accepted["tools"] = list(allowed.values())
    accepted["tool_choice"] = inside["mode"]


_format_type = _choice("text", "json_object", "json_schema", "structural_tag")
_PLAIN = _with({"type": {"enum": ["text", "json_object", "structural_tag"]}})
_JSON = _with({"type": {"const": "json_schema"}, "json_schema": _with({}, schema=_OBJECT)})


@_takes({"anyOf": [_PLAIN, _JSON]})
def _response_format(place: str, value: Any) -> None:
    _object(place, value)
    _format_type(f"{place}.type", value.get("type"))
    if value["type"] == "json_schema":
        _object(f"{place}.json_schema", value.get("json_schema"))
        _schema(f"{place}.json_schema.schema", value["json_schema"].get("schema", {}))
    elif value.get("schema") is not None:  # llama.cpp's format
        _schema(f"{place}.schema", value["schema"])
    else:
        _bounded(place, value)


@_takes({"type": "object", "properties": {"include_usage": {"type": ["boolean", "null"]}}})
def _stream_options(place: str, value: Any) -> None:
    _small_object(place, value)
    if (usage := value.get("include_usage")) is not None:
        _boolean(f"{place}.include_usage", usage)


_bias = _number(-100, 100)


@_takes({"type": "object", "additionalProperties": _bias.schema, "maxProperties": BIASES})
def _logit_bias(place: str, value: Any) -> None:
    _object(place, value)
    _at_most(place, value, BIASES)
    for token, bias in value.items():
        _bias(f"{place}.{token[:20]}", bias)


_items = _objects(MESSAGES)


@_takes({"anyOf": [_STRING, _items.schema]})
def _response_input(place: str, value: Any) -> None:
    if type(value) is list:
        _items(place, value)
    elif type(value) is not str:
        raise _wrong(place, "text or a list of items", value)


@_takes({"anyOf": [_STRING, {"type": "array", "items": _part(), "maxItems": PARTS}]})
def _blocks(place: str, value: Any) -> None:
    """Checks text, or a list of parts, in the format of Messages."""
    if type(value) is list:
        _content(place, value)
    elif type(value) is not str:
        raise _wrong(place, "text or a list of parts", value)


_DOCUMENT = {"anyOf": [_STRING, _OBJECT]}


@_takes({"type": "array", "minItems": 1, "maxItems": DOCUMENTS, "items": _DOCUMENT})
def _documents(place: str, value: Any) -> None:
    if type(value) is list:
        _at_most(place, value, DOCUMENTS)
    if type(value) is not list or not value or not set(map(type, value)) <= {str, dict}:
        raise _wrong(place, "a list of texts, and not empty", value)


@_takes({"not": {}})
def _stored(place: str, value: Any) -> None:
    raise _refused(place, f"{place}: responses are not stored here; send the whole conversation")


@_takes({"not": {}})
def _thread(place: str, value: Any) -> None:
    """Anthropic's SDK continues without a thread if the error says that there are none."""
    error = _refused(place, f"{place}: messages are not stored here; send the whole conversation")
    details = {"error_code": "thread_unsupported_request", "unsupported": [place]}
    error.body["error"]["details"] = details
    raise error


def _replaced(by: str) -> Rule:
    @_takes({"not": {}})
    def rule(place: str, value: Any) -> None:
        raise _refused(place, f"{place} is OpenAI's older form, which is not supported: send {by}")

    return rule


@_takes({"const": False})
def _unstored(place: str, value: Any) -> None:
    _boolean(place, value)
    if value:
        raise _refused(place, f"{place} must be false: responses are not stored here")


def _both(rule: Rule) -> Field:
    return Field(rule, engine=True, litellm=True)


def _engine(rule: Rule) -> Field:
    return Field(rule, engine=True)


def _litellm(rule: Rule) -> Field:
    return Field(rule, litellm=True)


# The endpoints. A bare `Field` is accepted because well-known clients send it, but never passed on.

_ACCOUNT: dict[str, Field] = {
    "metadata": Field(_small_object),  # askdocs reads page_url
    "service_tier": Field(_text),  # it would change the operator's costs
    "store": Field(_boolean),
    "safety_identifier": Field(_text),
    "prompt_cache_key": Field(_text),
    "prompt_cache_retention": Field(_text),
    "prompt_cache_options": Field(_anything),
}
_SAMPLED: dict[str, Field] = {
    "model": _both(_name),
    "stream": _both(_boolean),
    "temperature": _both(_number(0, 2)),
    "top_p": _both(_number(0, 1)),
    "user": _both(_text),
    "stream_options": _both(_stream_options),
    "max_tokens": _both(_integer(1)),
    "n": _both(_integer(1, 128)),
    "stop": _both(_texts(STOPS)),
    "seed": _both(_seed),
    "frequency_penalty": _both(_number(-2, 2)),
    "presence_penalty": _both(_number(-2, 2)),
    "logit_bias": _both(_logit_bias),
    "response_format": _both(_response_format),
    **_ACCOUNT,
}
# Extensions of vLLM and llama.cpp. Excluded are fields that reach other users' requests or that a
# key may not choose: priority, request_id, id_slot, lora, chat_template, kv_transfer_params,
# prompt_logprobs.
_EXTRAS: dict[str, Field] = {
    "top_k": _engine(_integer(-1)),
    "min_p": _engine(_number(0, 1)),
    "repetition_penalty": _engine(_number(0, 10)),
    "length_penalty": _engine(_number(-10, 10)),
    "min_tokens": _engine(_integer(0)),
    "ignore_eos": _engine(_boolean),
    "stop_token_ids": _engine(_token_ids),
    "allowed_token_ids": _engine(_token_ids),
    "bad_words": _engine(_texts(BIASES)),
    "include_stop_str_in_output": _engine(_boolean),
    "skip_special_tokens": _engine(_boolean),
    "spaces_between_special_tokens": _engine(_boolean),
    "truncate_prompt_tokens": _engine(_integer(-1)),
    "add_special_tokens": _engine(_boolean),
    "return_tokens_as_token_ids": _engine(_boolean),
    "cache_salt": _engine(_name),
    "structured_outputs": _engine(_structure),
    "guided_json": _engine(_schema_or_text),
    "guided_regex": _engine(_grammar),
    "guided_choice": _engine(_texts(BIASES)),
    "guided_grammar": _engine(_grammar),
    "guided_decoding_backend": Field(_text),  # outlines would fill the engine's disk with schemas
    "guided_whitespace_pattern": _engine(_text),
    "grammar": _engine(_grammar),
    "json_schema": _engine(_schema),
    "typical_p": _engine(_number(0, 1)),
    "repeat_penalty": _engine(_number(0, 10)),
    "repeat_last_n": _engine(_integer(-1)),
}
_CHAT: dict[str, Field] = {
    **_SAMPLED,
    **_EXTRAS,
    "messages": _both(_chat_messages),
    "max_completion_tokens": _both(_integer(1)),
    "logprobs": _both(_boolean),
    "top_logprobs": _both(_integer(0, 20)),
    "tools": _both(_tools(64)),
    "tool_choice": _both(_tool_choice),
    "parallel_tool_calls": _both(_boolean),
    "functions": Field(_replaced("tools")),
    "function_call": Field(_replaced("tool_choice")),
    "reasoning_effort": _both(_text),
    "verbosity": _litellm(_text),
    "prediction": _litellm(_small_object),
    "modalities": _litellm(_texts(ENTRIES)),
    "audio": _litellm(_small_object),
    "web_search_options": _litellm(_small_object),
    "moderation": Field(_anything),
    "chat_template_kwargs": _engine(_template_values),
    "add_generation_prompt": _engine(_boolean),
    "continue_final_message": _engine(_boolean),
    "documents": _engine(_objects(DOCUMENTS)),
    "include_reasoning": _engine(_boolean),
    "thinking_token_budget": _engine(_integer(0)),
}
_COMPLETIONS: dict[str, Field] = {
    **_SAMPLED,
    **_EXTRAS,
    "prompt": _both(_inputs(PROMPTS)),
    "max_tokens": _both(_integer(0)),  # 0 with echo returns a text's logprobs, for evaluations
    "stop": _both(_texts(CODE_STOPS)),
    "logprobs": _both(_integer(0, 20)),
    "echo": _both(_boolean),
    "suffix": _both(_text),
    "best_of": _both(_integer(1, 128)),
}
_EMBEDDINGS: dict[str, Field] = {
    "model": _both(_name),
    "input": _both(_embedded),
    "encoding_format": _both(_choice("float", "base64")),
    "dimensions": _both(_integer(1)),
    "user": _both(_text),
    "input_type": _both(_text),  # Cohere's
    "truncate_prompt_tokens": _engine(_integer(-1)),
    "add_special_tokens": _engine(_boolean),
}
_RERANK: dict[str, Field] = {
    "model": _both(_name),
    "query": _both(_text),
    "documents": _both(_documents),
    "top_n": _both(_integer(1)),
    "return_documents": _both(_boolean),
    "max_tokens_per_doc": _both(_integer(1)),
    "max_chunks_per_doc": _both(_integer(1)),
    "rank_fields": _both(_texts(ENTRIES)),
    "truncate_prompt_tokens": _engine(_integer(-1)),
    "truncation": Field(_anything),  # Jina's
    "priority": Field(_anything),  # Cohere's
    "user": Field(_text),
}
_RESPONSES: dict[str, Field] = {
    **_ACCOUNT,
    "model": Field(_name),
    "input": Field(_response_input),
    "instructions": Field(_text),
    "max_output_tokens": Field(_integer(1)),
    "stream": Field(_boolean),
    "temperature": Field(_number(0, 2)),
    "top_p": Field(_number(0, 1)),
    "user": Field(_text),
    "tools": Field(_some_tools),
    "tool_choice": Field(_text_or_object),
    "parallel_tool_calls": Field(_boolean),
    "reasoning": Field(_small_object),
    "text": Field(_small_object),
    "background": Field(_false),
    "store": Field(_unstored),
    "previous_response_id": Field(_stored),
    "conversation": Field(_stored),
    "client_metadata": Field(_small_object),  # Codex's
    "context_management": Field(_anything),
    "include": Field(_texts(ENTRIES)),
    "max_tool_calls": Field(_integer(1)),
    "moderation": Field(_anything),
    "stream_options": Field(_small_object),
    "top_logprobs": Field(_integer(0, 20)),
    "truncation": Field(_text),
}
_MESSAGES: dict[str, Field] = {
    "model": Field(_name),
    "messages": Field(_messages),
    "max_tokens": Field(_integer(1)),
    "stream": Field(_boolean),
    "system": Field(_blocks),
    "temperature": Field(_number(0, 2)),
    "top_p": Field(_number(0, 1)),
    "top_k": Field(_integer(-1)),
    "stop_sequences": Field(_texts(CODE_STOPS)),
    "tools": Field(_some_tools),
    "tool_choice": Field(_object),
    "thinking": Field(_small_object),
    "thread": Field(_thread),
    "output_format": Field(_small_object),
    "output_config": Field(_small_object),
    "betas": Field(_texts(ENTRIES)),
    "cache_control": Field(_small_object),
    "context_management": Field(_anything),
    "inference_geo": Field(_text),
    "metadata": Field(_small_object),
    "service_tier": Field(_text),
    "speed": Field(_text),
    "user": Field(_text),
}
ENDPOINTS: dict[str, dict[str, Field]] = {
    CHAT.path: _CHAT,
    COMPLETIONS.path: _COMPLETIONS,
    EMBEDDINGS.path: _EMBEDDINGS,
    RERANK.path: _RERANK,
    RESPONSES.path: _RESPONSES,
    endpoints.MESSAGES.path: _MESSAGES,
}
REQUIRED: dict[str, tuple[str, ...]] = {
    CHAT.path: ("model", "messages"),
    COMPLETIONS.path: ("model", "prompt"),
    EMBEDDINGS.path: ("model", "input"),
    RERANK.path: ("model", "query", "documents"),
    RESPONSES.path: ("model", "input"),
    endpoints.MESSAGES.path: ("model", "messages"),
}
_NOT_FOR_ENGINES = {
    path: frozenset(name for name, field in fields.items() if not field.engine)
    for path, fields in ENDPOINTS.items()
}
_FOR_LITELLM = {
    path: frozenset(name for name, field in fields.items() if field.litellm)
    for path, fields in ENDPOINTS.items()
}


def _at_most(place: str, value: Any, most: int) -> None:
    if len(value) > most:
        raise _refused(place, f"{place} has {len(value):,} entries: send at most {most:,}")


def _wrong(place: str, wanted: str, value: Any) -> ApiError:
    return _refused(place, f"{place} must be {wanted} (it is {shown(value)})")


def _refused(place: str, message: str) -> ApiError:
    return ApiError(400, message, param=place)


def shown(value: Any) -> str:
    """Formats a value briefly, as JSON writes it."""
    if value is None:
        return "missing or null"
    if type(value) is bool:
        return str(value).lower()
    if type(value) is dict:
        return "an object"
    if type(value) is list:
        return "a list" if value else "an empty list"
    # repr raises an error for an integer of thousands of digits.
    text = "a huge number" if type(value) is int and abs(value) > 2**64 else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
