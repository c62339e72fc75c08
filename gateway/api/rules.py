"""Rules for the values of fields, each with its JSON Schema.

A schema may accept more than its rule, never less.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from gateway.http.asgi import ApiError
from gateway.http.json_body import nested

Schema = dict[str, Any]

BIGGEST = 2**31 - 1
# Counts are checked before the items. The limits are OpenAI's unless a comment says otherwise.
INPUTS = 2048
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


def takes(schema: Schema) -> Callable[[Callable[[str, Any], None]], Rule]:
    """Attaches the schema to a rule."""

    def decorate(rule: Callable[[str, Any], None]) -> Rule:
        rule.schema = schema  # type: ignore[attr-defined]
        return cast(Rule, rule)

    return decorate


STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
OBJECT: Schema = {"type": "object"}
NULL: Schema = {"type": "null"}
NAME: Schema = {"type": "string", "minLength": 1}


def object_with(required: Mapping[str, Schema], **more: Schema) -> Schema:
    """An object with these required fields; others are allowed."""
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


# Values come from JSON, so `type(x) is` is exact, and rejects booleans as numbers.


def integer(low: int, high: int = BIGGEST) -> Rule:
    @takes({"type": "integer", "minimum": low, "maximum": high})
    def rule(place: str, value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            upper = f" to {high}" if high != BIGGEST else ""
            raise wrong(place, f"an integer from {low}{upper or ' on'}", value)

    return rule


@takes({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1})
def seed(place: str, value: Any) -> None:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise wrong(place, "an integer of 64 bits", value)


def number(low: float, high: float) -> Rule:
    @takes({"type": "number", "minimum": low, "maximum": high})
    def rule(place: str, value: Any) -> None:
        # NaN is outside every range.
        if type(value) not in (int, float) or not low <= value <= high:
            raise wrong(place, f"a number from {low:g} to {high:g}", value)

    return rule


@takes(STRING)
def string(place: str, value: Any) -> None:
    if type(value) is not str:
        raise wrong(place, "a string", value)


@takes(NAME)
def nonempty_string(place: str, value: Any) -> None:
    if type(value) is not str or not value:
        raise wrong(place, "a string that is not empty", value)


@takes({"type": "boolean"})
def boolean(place: str, value: Any) -> None:
    if type(value) is not bool:
        raise wrong(place, "true or false", value)


@takes({"const": False})
def false(place: str, value: Any) -> None:
    if value is not False:
        raise wrong(place, "false here", value)


@takes(OBJECT)
def json_object(place: str, value: Any) -> None:
    if type(value) is not dict:
        raise wrong(place, "an object", value)


@takes({"type": "object", "maxProperties": ENTRIES})
def small_object(place: str, value: Any) -> None:
    json_object(place, value)
    at_most(place, value, ENTRIES)


# Template variables of Transformers and llama.cpp. In llama.cpp, `messages` would replace the
# prompt, including the alias's instructions.
_RENDERED = (
    *("messages", "conversation", "tools", "documents", "chat_template", "tokenizer_kwargs"),
    *("add_generation_prompt", "continue_final_message", "tokenize", "padding", "truncation"),
    *("max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"),
    *("bos_token", "eos_token", "raise_exception", "strftime_now"),
)


@takes({**small_object.schema, "propertyNames": {"not": {"enum": list(_RENDERED)}}})
def template_values(place: str, value: Any) -> None:
    small_object(place, value)
    for name in value:
        if name in _RENDERED:
            text = f"{place}.{name} may not be set by clients"
            raise refused(f"{place}.{name}", text)


@takes({})
def anything(place: str, value: Any) -> None:
    """Accepts any value, for fields that are not passed on."""


def objects(most: int) -> Rule:
    @takes({"type": "array", "items": OBJECT, "maxItems": most})
    def rule(place: str, value: Any) -> None:
        if type(value) is not list:
            raise wrong(place, "a list of objects", value)
        at_most(place, value, most)
        for number, item in enumerate(value):
            if type(item) is not dict:
                raise wrong(f"{place}[{number}]", "an object", item)

    return rule


def one_of(*known: str) -> Rule:
    @takes({"type": "string", "enum": list(known)})
    def rule(place: str, value: Any) -> None:
        if type(value) is not str or value not in known:
            raise wrong(place, f"one of {', '.join(known)}", value)

    return rule


def strings(most: int) -> Rule:
    @takes({"anyOf": [STRING, {**STRINGS, "maxItems": most}]})
    def rule(place: str, value: Any) -> None:
        if type(value) is str:
            return
        if type(value) is list:
            at_most(place, value, most)
        if type(value) is not list or not set(map(type, value)) <= {str}:
            raise wrong(place, "a string or a list of strings", value)

    return rule


@takes({"type": "array", "items": {"type": "integer"}, "maxItems": IDS})
def token_ids(place: str, value: Any) -> None:
    if type(value) is list:
        at_most(place, value, IDS)
    if type(value) is not list or not set(map(type, value)) <= {int}:
        raise wrong(place, "a list of token ids", value)


@takes({"anyOf": [STRING, OBJECT]})
def string_or_object(place: str, value: Any) -> None:
    if type(value) not in (str, dict):
        raise wrong(place, "a string or an object", value)


_TOKENS = {"type": "array", "minItems": 1, "items": {"type": "integer"}}


def _text_or_tokens(text: Schema, most: int) -> Schema:
    several = [
        {"type": "array", "minItems": 1, "maxItems": most, "items": item}
        for item in (text, _TOKENS)
    ]
    return {"anyOf": [text, _TOKENS, *several]}


def inputs(most: int) -> Rule:
    """Accepts text or tokens, one input or several."""

    @takes(_text_or_tokens(STRING, most))
    def rule(place: str, value: Any) -> None:
        if type(value) is str:
            return
        if type(value) is list and value:
            if type(value[0]) is not int:
                at_most(place, value, most)
            kinds = set(map(type, value))
            if kinds == {int}:
                return
            if kinds == {str}:
                return
            if kinds == {list} and all(set(map(type, tokens)) == {int} for tokens in value):
                return
        raise wrong(place, "a string, a list of strings, or tokens", value)

    return rule


_embedded_inputs = inputs(INPUTS)


@takes(_text_or_tokens(NAME, INPUTS))
def embedded(place: str, value: Any) -> None:
    _embedded_inputs(place, value)
    if value == "" or (type(value) is list and "" in value):
        raise refused(place, f"{place} has an empty text, which cannot be embedded")


# Schemas and grammars of an answer


def bounded(place: str, schema: Any) -> None:
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
            raise refused(place, text)


@takes(OBJECT)
def schema(place: str, value: Any) -> None:
    json_object(place, value)
    bounded(place, value)


@takes({"type": "string", "maxLength": GRAMMAR})
def grammar(place: str, value: Any) -> None:
    """Checks a grammar or a regular expression."""
    string(place, value)
    if len(value) > GRAMMAR or value.count("|") > ALTERNATIVES:
        text = f"{place} is too large: send at most {GRAMMAR:,} characters, and {ALTERNATIVES:,} |"
        raise refused(place, text)


@takes({"anyOf": [grammar.schema, OBJECT]})
def schema_or_string(place: str, value: Any) -> None:
    if type(value) not in (str, dict):
        raise wrong(place, "a string or an object", value)
    (grammar if type(value) is str else bounded)(place, value)


@takes({"type": "object", "maxProperties": ENTRIES})
def structure(place: str, value: Any) -> None:
    """Checks vLLM's structure, which holds a schema, a regular expression, a grammar or a
    choice."""
    small_object(place, value)
    bounded(place, value)
    for name, inside in value.items():
        if type(inside) is str:
            grammar(f"{place}.{name}", inside)


def at_most(place: str, value: Any, most: int) -> None:
    if len(value) > most:
        raise refused(place, f"{place} has {len(value):,} entries: send at most {most:,}")


def wrong(place: str, wanted: str, value: Any) -> ApiError:
    return refused(place, f"{place} must be {wanted} (it is {shown(value)})")


def refused(place: str, message: str) -> ApiError:
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
