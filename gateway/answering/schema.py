"""Validates against clients' JSON schemas in bounded time.

`jsonschema` validates; this module adds limits. Every keyword consumes steps of a budget, as
references can multiply without end; the check of the schema itself has a budget, too. A subschema
that names another draft is read in the draft of the whole schema: `jsonschema` would switch to a
validator without a budget. `$ref` never fetches anything. Patterns run in pydantic's linear-time
Rust engine; patterns that it does not support (look-around, back-references) are not checked.
`jsonschema` takes 0.1 s to import: import this module late.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend, validator_for
from jsonschema_specifications import REGISTRY as _METASCHEMAS
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

STEPS = 20_000  # per check: at most half a second
CONTAINERS = 2_000  # lists and objects of a schema: scanning takes 1 ms each
STEPS_OF_SCHEMA = 1_000_000  # to check a schema itself: 500 per list or object
_LONGEST = 200  # characters of a message, which quotes the value
_EXPENSIVE = {"$ref": 10, "$dynamicRef": 10, "pattern": 20}

Check = Callable[[Any, Any, Any, Any], Any]

_left: ContextVar[list[int]] = ContextVar("steps")


class _TooMuch(Exception):
    """The budget is exhausted."""


class Schema:
    """A valid schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ValueError: the schema is invalid, or too large to check."""
        if _containers(schema) > CONTAINERS:
            raise ValueError(f"has more than {CONTAINERS:,} lists and objects")
        bounded = _bounded(validator_for(schema, default=Draft202012Validator))
        of_schemas = bounded(bounded.META_SCHEMA, registry=_METASCHEMAS)
        try:
            wrong = _first_error(of_schemas, schema, STEPS_OF_SCHEMA)
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        except _TooMuch:
            raise ValueError("takes too long to check") from None
        if wrong:
            raise ValueError(f"is not a JSON schema: {_described(wrong)}")
        self._validator = bounded(schema, registry=Registry())

    def problem(self, text: str) -> str:
        """The reason why `text` is not JSON that matches the schema; empty if it matches."""
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return "it is not JSON"
        try:
            wrong = _first_error(self._validator, value, STEPS)
        except (_TooMuch, RecursionError):
            return "the schema takes too long to check"
        except ArithmeticError:  # multipleOf of a number with hundreds of digits
            return "a number is too large to check"
        except Unresolvable as error:
            return f"the schema refers to {str(error.ref)[:_LONGEST]!r}, which is not in it"
        return _described(wrong) if wrong else ""


def _first_error(validator: Any, value: Any, steps: int) -> ValidationError | None:
    """Raises _TooMuch, RecursionError, Unresolvable."""
    token = _left.set([steps])
    try:
        error: ValidationError | None = next(validator.iter_errors(value), None)
        return error
    finally:
        _left.reset(token)


def _described(error: ValidationError) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
    message = error.message
    if len(message) > _LONGEST:  # the value comes first and takes most of the message
        message = f"...{message[-_LONGEST:]}"
    return f"{place.lstrip('.')[:_LONGEST]}: {message}" if place else message


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _containers(schema: Any) -> int:
    waiting, count = [schema], 0
    while waiting and count <= CONTAINERS:
        value = waiting.pop()
        if isinstance(value, dict | list):
            count += 1
            waiting += value.values() if isinstance(value, dict) else value
    return count


def _spend(steps: int) -> None:
    left = _left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuch


@lru_cache(maxsize=16)
def _bounded(base: Any) -> Any:
    """A draft's validator with a budget."""
    own: dict[str, Check] = {**base.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}
    if "patternProperties" in own:
        own |= {"patternProperties": _by_pattern, "additionalProperties": _additional}
    if "unevaluatedProperties" in own:
        own["unevaluatedProperties"] = _unevaluated(own["unevaluatedProperties"])
    bounded: Any = extend(base, {name: _counted(name, check) for name, check in own.items()})
    bounded.evolve = _evolving(bounded.evolve)
    return bounded


def _evolving(evolve: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps the class of the validator for subschemas, whatever draft they name."""

    def evolved(validator: Any, **changes: Any) -> Any:
        schema = changes.get("schema")
        if isinstance(schema, dict):
            _spend(len(schema) // 100)
            changes["schema"] = {k: v for k, v in schema.items() if k != "$schema"}
        return evolve(validator, **changes)

    return evolved


def _counted(name: str, check: Check) -> Check:
    price = _EXPENSIVE.get(name, 1)

    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _spend(price + (len(value) if isinstance(value, dict | list) else 0))
        yield from check(validator, value, instance, schema) or ()

    return counted


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None


def _matches(pattern: Any, text: str) -> bool:
    """Does the text match? True if the pattern is not supported."""
    _spend(1 + len(text) // 100)
    compiled = _compiled(pattern) if isinstance(pattern, str) else None
    return compiled is None or compiled.isinstance_python(text)


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _by_pattern(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[Any]:
    for pattern, inside in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, inside, path=name, schema_path=pattern)


def _additional(validator: Any, inside: Any, instance: Any, schema: Any) -> Iterator[Any]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items() if isinstance(instance, dict) else ():
        if name not in known and not any(_matches(pattern, name) for pattern in patterns):
            if inside is False:
                yield ValidationError(f"{name!r} is not among the properties")
            else:
                yield from validator.descend(value, inside, path=name)


def _unevaluated(check: Check) -> Check:
    """`jsonschema` runs its own patterns here: skip the check if there are patterns."""

    def unevaluated(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        has_patterns = "patternProperties" in json.dumps(validator.schema)
        return () if has_patterns else check(validator, value, instance, schema)

    return unevaluated


def _unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if wanted is True and isinstance(instance, list):
        _spend(_containers(instance))
        if len({json.dumps(entry, sort_keys=True) for entry in instance}) < len(instance):
            yield ValidationError("the entries are not unique")
