"""Rules for messages, tools, formats of answers, and other values with a structure."""

import re
from typing import Any

from gateway.api import rules
from gateway.api.rules import (
    NAME,
    NULL,
    OBJECT,
    STRING,
    Rule,
    Schema,
    at_most,
    object_with,
    refused,
    shown,
    takes,
    wrong,
)

# Counts are checked before the items. The limits are OpenAI's unless a comment says otherwise.
MESSAGES = 4096
PARTS = 4096  # of one message
CALLS = 128
TOOLS = 128
BIASES = 300
DOCUMENTS = 1000


# Content parts of a chat: OpenAI's, then vLLM's. LiteLLM answers 500 to others.
_PARTS = (
    *("text", "refusal", "image_url", "input_audio", "file"),
    *("audio_url", "video_url", "image_embeds", "audio_embeds"),
)


def _part(*others: str) -> Schema:
    """A content part: text, or one of `others`; of any type if none is named."""
    other: Schema = {"enum": list(others)} if others else {"not": {"const": "text"}}
    text = object_with({"type": {"const": "text"}, "text": STRING})
    return {"anyOf": [text, object_with({"type": {"type": "string", **other}})]}


def _function(**more: Schema) -> Schema:
    return object_with(
        {"type": {"const": "function"}, "function": object_with({"name": NAME}, **more)}
    )


_ROLES = ("system", "developer", "user", "assistant", "tool")


def _conversation(part: Schema) -> Schema:
    """Messages whose contents have parts of this kind."""
    content = {"anyOf": [STRING, {"type": "array", "items": part, "maxItems": PARTS}]}
    custom = object_with({"type": {"const": "custom"}})
    call = {"anyOf": [_function(arguments=STRING), custom]}
    calls: Schema = {"anyOf": [{"type": "array", "items": call, "maxItems": CALLS}, NULL]}
    names: dict[str, Schema] = {n: {"anyOf": [STRING, NULL]} for n in ("name", "tool_call_id")}
    role = {"enum": list(_ROLES)}
    with_content = object_with({"role": role, "content": content}, tool_calls=calls, **names)
    nothing = object_with({"role": {"const": "assistant"}}, content=NULL, tool_calls=calls, **names)
    items = {"anyOf": [with_content, nothing]}
    return {"type": "array", "minItems": 1, "maxItems": MESSAGES, "items": items}


@takes(_conversation(_part(*(kind for kind in _PARTS if kind != "text"))))
def chat_messages(place: str, value: Any) -> None:
    messages(place, value)
    for number, message in enumerate(value):
        if type(message.get("content")) is list:
            for index, part in enumerate(message["content"]):
                where = f"{place}[{number}].content[{index}]"
                if part["type"] not in _PARTS:
                    raise wrong(f"{where}.type", f"one of {', '.join(_PARTS)}", part["type"])
                file = part.get("file")
                if type(file) is dict and file.get("file_id") is not None:
                    # It would name one of the operator's files at the provider.
                    text = "files are not stored here: send file_data"
                    raise refused(f"{where}.file.file_id", text)


def check_tool_messages(messages: list[dict[str, Any]]) -> None:
    """Check that each tool message answers an earlier call by the assistant."""
    calls: set[Any] = set()
    for number, message in enumerate(messages):
        for call in message.get("tool_calls") or ():
            calls.add(call.get("id"))
        if message["role"] == "tool" and message.get("tool_call_id") not in calls:
            place = f"messages[{number}].tool_call_id"
            call_id = shown(message.get("tool_call_id"))
            text = f"{place} ({call_id}) is not the id of an earlier tool call"
            raise refused(place, text)


@takes(_conversation(_part()))
def messages(place: str, value: Any) -> None:
    if type(value) is not list or not value:
        raise wrong(place, "a list of messages, and not empty", value)
    at_most(place, value, MESSAGES)
    for number, message in enumerate(value):
        if type(message) is not dict:
            raise wrong(f"{place}[{number}]", "an object with role and content", message)
        role = message.get("role")
        if type(role) is not str or role not in _ROLES:
            raise wrong(f"{place}[{number}].role", f"one of {', '.join(_ROLES)}", role)
        content = message.get("content")
        if type(content) is str:
            pass
        elif type(content) is list:
            _content(f"{place}[{number}].content", content)
        elif content is not None or role != "assistant":
            raise wrong(f"{place}[{number}].content", "text or a list of parts", content)
        if len(message) > 2 or content is None:
            _more(f"{place}[{number}]", message)


def _content(place: str, parts: list[Any]) -> None:
    at_most(place, parts, PARTS)
    for number, part in enumerate(parts):
        if type(part) is not dict or type(part.get("type")) is not str:
            raise wrong(f"{place}[{number}]", "an object with type, such as text", part)
        if part["type"] == "text" and type(part.get("text")) is not str:
            rules.string(f"{place}[{number}].text", part.get("text"))


_tool_type = rules.one_of("function", "custom")
_calls = rules.objects(CALLS)


def _more(place: str, message: dict[str, Any]) -> None:
    """Check the fields of a message other than role and content."""
    for name in ("name", "tool_call_id"):
        if (value := message.get(name)) is not None:
            rules.string(f"{place}.{name}", value)
    if (calls := message.get("tool_calls")) is None:
        return
    _calls(f"{place}.tool_calls", calls)
    for number, call in enumerate(calls):
        where = f"{place}.tool_calls[{number}]"
        _tool_type(f"{where}.type", call.get("type"))
        if (id := call.get("id")) is not None:
            rules.string(f"{where}.id", id)
        if call["type"] == "function":
            function = call.get("function")
            rules.json_object(f"{where}.function", function)
            rules.nonempty_string(f"{where}.function.name", function.get("name"))
            rules.string(f"{where}.function.arguments", function.get("arguments", ""))


_CUSTOM = object_with({"type": {"const": "custom"}, "custom": object_with({"name": NAME})})
some_tools = rules.objects(TOOLS)


def tools(longest: int) -> Rule:
    """`longest`: the maximum length of a name, in characters."""
    letters = re.compile(rf"[a-zA-Z0-9_-]{{1,{longest}}}\Z")

    @takes({"type": "array", "items": {"anyOf": [_function(), _CUSTOM]}, "maxItems": TOOLS})
    def rule(place: str, value: Any) -> None:
        some_tools(place, value)
        for number, tool in enumerate(value):
            where = f"{place}[{number}]"
            _tool_type(f"{where}.type", tool.get("type"))
            kind = tool["type"]
            inside = tool.get(kind)
            rules.json_object(f"{where}.{kind}", inside)
            name = inside.get("name")
            if type(name) is not str or not letters.match(name):
                raise wrong(f"{where}.{kind}.name", f"1 to {longest} letters, digits, _, -", name)
            if (about := inside.get("description")) is not None:
                rules.string(f"{where}.{kind}.description", about)
            if (parameters := inside.get("parameters")) is not None:
                rules.schema(f"{where}.{kind}.parameters", parameters)
            if (strict := inside.get("strict")) is not None:
                rules.boolean(f"{where}.{kind}.strict", strict)

    return rule


translated_tools = tools(128)  # Anthropic's names are longer than OpenAI's


_OTHER = object_with({"type": {"type": "string", "minLength": 1, "not": {"const": "function"}}})
_tool_word = rules.one_of("none", "auto", "required")


@takes({"anyOf": [{"enum": ["none", "auto", "required"]}, _function(), _OTHER]})
def tool_choice(place: str, value: Any) -> None:
    if type(value) is str:
        _tool_word(place, value)
    elif type(value) is not dict:
        raise wrong(place, "none, auto, required, or an object that names a function", value)
    else:
        rules.nonempty_string(f"{place}.type", value.get("type"))
        if value["type"] == "function":
            rules.json_object(f"{place}.function", value.get("function"))
            rules.nonempty_string(f"{place}.function.name", value["function"].get("name"))


def choose(choice: Any, tools: list[dict[str, Any]]) -> None:
    """Check that the chosen tool exists; otherwise llama.cpp would not force any tool.

    Raises ApiError 400: the tool does not exist, or `choice` is not valid in Chat.
    """
    tool_choice("tool_choice", choice)
    if not tools:
        raise refused("tool_choice", "tool_choice requires a tool, but tools is empty")
    if type(choice) is dict and choice["type"] == "function":
        name = choice["function"]["name"]
        names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
        if name not in names:
            text = f"tool_choice names {shown(name)}; tools has {', '.join(names)[:200]}"
            raise refused("tool_choice", text)


_mode = rules.one_of("auto", "required")


def apply_allowed_tools(accepted: dict[str, Any]) -> None:
    """Keep the tools that `tool_choice` allows, and its mode: engines do not know allowed tools."""
    choice, tools = accepted.get("tool_choice"), accepted.get("tools") or []
    if type(choice) is not dict or choice["type"] != "allowed_tools":
        return
    place = "tool_choice.allowed_tools"
    inside: Any = choice.get("allowed_tools")
    rules.json_object(place, inside)
    _mode(f"{place}.mode", inside.get("mode"))
    some_tools(f"{place}.tools", inside.get("tools"))
    known = {(tool["type"], tool[tool["type"]]["name"]): tool for tool in tools}
    allowed = {}
    for number, tool in enumerate(inside["tools"]):
        where = f"{place}.tools[{number}]"
        kind: Any = tool.get("type")
        _tool_type(f"{where}.type", kind)
        rules.json_object(f"{where}.{kind}", tool.get(kind))
        name: Any = tool[kind].get("name")
        rules.nonempty_string(f"{where}.{kind}.name", name)
        if (kind, name) not in known:
            raise refused(where, f"{where} names {shown(name)}, which is not in tools")
        allowed[kind, name] = known[kind, name]
    accepted["tools"] = list(allowed.values())
    accepted["tool_choice"] = inside["mode"]


_format_type = rules.one_of("text", "json_object", "json_schema", "structural_tag")
_PLAIN = object_with({"type": {"enum": ["text", "json_object", "structural_tag"]}})
_JSON = object_with(
    {"type": {"const": "json_schema"}, "json_schema": object_with({}, schema=OBJECT)}
)


@takes({"anyOf": [_PLAIN, _JSON]})
def response_format(place: str, value: Any) -> None:
    rules.json_object(place, value)
    _format_type(f"{place}.type", value.get("type"))
    if value["type"] == "json_schema":
        rules.json_object(f"{place}.json_schema", value.get("json_schema"))
        rules.schema(f"{place}.json_schema.schema", value["json_schema"].get("schema", {}))
    elif value.get("schema") is not None:  # llama.cpp's format
        rules.schema(f"{place}.schema", value["schema"])
    else:
        rules.bounded(place, value)


@takes({"type": "object", "properties": {"include_usage": {"type": ["boolean", "null"]}}})
def stream_options(place: str, value: Any) -> None:
    rules.small_object(place, value)
    if (usage := value.get("include_usage")) is not None:
        rules.boolean(f"{place}.include_usage", usage)


_bias = rules.number(-100, 100)


@takes({"type": "object", "additionalProperties": _bias.schema, "maxProperties": BIASES})
def logit_bias(place: str, value: Any) -> None:
    rules.json_object(place, value)
    at_most(place, value, BIASES)
    for token, bias in value.items():
        _bias(f"{place}.{token[:20]}", bias)


_items = rules.objects(MESSAGES)


@takes({"anyOf": [STRING, _items.schema]})
def response_input(place: str, value: Any) -> None:
    if type(value) is list:
        _items(place, value)
    elif type(value) is not str:
        raise wrong(place, "text or a list of items", value)


@takes({"anyOf": [STRING, {"type": "array", "items": _part(), "maxItems": PARTS}]})
def blocks(place: str, value: Any) -> None:
    """Checks text, or a list of parts, in the format of Messages."""
    if type(value) is list:
        _content(place, value)
    elif type(value) is not str:
        raise wrong(place, "text or a list of parts", value)


_DOCUMENT = {"anyOf": [STRING, OBJECT]}


@takes({"type": "array", "minItems": 1, "maxItems": DOCUMENTS, "items": _DOCUMENT})
def documents(place: str, value: Any) -> None:
    if type(value) is list:
        at_most(place, value, DOCUMENTS)
    if type(value) is not list or not value or not set(map(type, value)) <= {str, dict}:
        raise wrong(place, "a list of texts, and not empty", value)


@takes({"not": {}})
def stored(place: str, value: Any) -> None:
    raise refused(place, f"{place}: responses are not stored here; send the whole conversation")


@takes({"not": {}})
def thread(place: str, value: Any) -> None:
    """Anthropic's SDK continues without a thread if the error says that there are none."""
    error = refused(place, f"{place}: messages are not stored here; send the whole conversation")
    details = {"error_code": "thread_unsupported_request", "unsupported": [place]}
    error.body["error"]["details"] = details
    raise error


def replaced(by: str, *unset: Any) -> Rule:
    """Refuses a field in favour of `by`, except with a value that asks for nothing."""

    @takes({"enum": list(unset)})
    def rule(place: str, value: Any) -> None:
        if value not in unset:
            text = f"{place} is OpenAI's older form, which is not supported: send {by}"
            raise refused(place, text)

    return rule


@takes({"const": False})
def unstored(place: str, value: Any) -> None:
    rules.boolean(place, value)
    if value:
        raise refused(place, f"{place} must be false: responses are not stored here")
