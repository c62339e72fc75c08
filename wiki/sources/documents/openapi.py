"""API descriptions (OpenAPI 3, Swagger 2): one section per operation."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from wiki.pages.page import Page, Section
from wiki.sources import safe_yaml, sections
from wiki.sources.documents.made import section, table
from wiki.sources.tree import decode

SUFFIXES = (".json", ".yaml", ".yml")
# Bytes at the start of a file that are checked to recognise an API description.
LOOKED_AT = 4096
_SIGN = re.compile(rb"""(?:^|[{,\n])\s*["']?(?:openapi|swagger)["']?\s*:\s*["']?[23]\.""")
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_OPERATIONS = 5_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_openapi(beginning: bytes) -> bool:
    """Does a file with this beginning describe an API?"""
    return _SIGN.search(beginning) is not None


def page(data: bytes, path: str, url: str) -> Page:
    """Read a description. Raises ValueError: it is invalid."""
    text = decode(data)
    try:
        document = json.loads(text) if path.endswith(".json") else safe_yaml.load(text, _Loader)
    except (json.JSONDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"cannot be read: {' '.join(str(error).split())[:300]}") from None
    about = _mapping(_mapping(document).get("info"))
    title = _line(about.get("title")) or sections.name(path)
    intro = _text(about.get("description"))
    lead = [Section("", "", (), intro)] if intro else []
    operations = list(_operations(_mapping(document)))
    if len(operations) > _OPERATIONS:
        raise ValueError(f"describes more than {_OPERATIONS:,} operations: split it")
    return Page(path, title, url, (*lead, *operations))


def _operations(api: dict[str, Any]) -> Iterator[Section]:
    for address, item in _mapping(api.get("paths")).items():
        common = _list(_mapping(item).get("parameters"))
        for method, operation in _mapping(item).items():
            if method in _METHODS and isinstance(operation, dict):
                yield _operation(api, f"{method.upper()} {address}", operation, common)


def _operation(
    api: dict[str, Any], name: str, operation: dict[str, Any], common: list[Any]
) -> Section:
    parts = [_text(operation.get("summary")), _text(operation.get("description"))]
    if operation.get("deprecated") is True:
        parts.append("Deprecated.")
    parameters = [
        _resolved(api, parameter) for parameter in (*common, *_list(operation.get("parameters")))
    ]
    if parameters:
        rows = [["Parameter", "In", "Type", "Required", "Description"]]
        parts.append(table([*rows, *map(_parameter, parameters)]))
    body = _resolved(api, operation.get("requestBody"))
    for kind, content in _mapping(body.get("content")).items():
        parts += [f"Request body ({kind}):", *_schema(api, _mapping(content).get("schema"))]
    rows = [["Status", "Description"]]
    for status, answer in _mapping(operation.get("responses")).items():
        rows.append([str(status), _line(_resolved(api, answer).get("description"))])
    if len(rows) > 1:
        parts.append(table(rows))
    tags = [tag for tag in _list(operation.get("tags")) if isinstance(tag, str)][:1]
    return section(name, tags, "\n\n".join(filter(None, parts)))


def _parameter(parameter: dict[str, Any]) -> list[str]:
    return [
        _line(parameter.get("name")),
        _line(parameter.get("in")),
        _type(parameter.get("schema") or parameter),
        "yes" if parameter.get("required") is True else "no",
        _line(parameter.get("description")),
    ]


def _schema(api: dict[str, Any], schema: Any) -> list[str]:
    """The fields of an object, without those of nested objects."""
    resolved = _resolved(api, schema)
    required = _list(resolved.get("required"))
    rows = [
        [str(name), _type(field), "yes" if name in required else "no", _line(_description(field))]
        for name, field in _mapping(resolved.get("properties")).items()
    ]
    if not rows:
        return [_type(schema)]
    return [table([["Field", "Type", "Required", "Description"], *rows])]


def _description(schema: Any) -> Any:
    return _mapping(schema).get("description")


def _type(schema: Any) -> str:
    known = _mapping(schema)
    if isinstance(named := known.get("$ref"), str):
        return named.rpartition("/")[2]
    kind = known.get("type")
    name = "/".join(map(str, kind)) if isinstance(kind, list) else _line(kind)
    if name == "array":
        return f"array of {_type(known.get('items'))}"
    return f"{name}: {', '.join(map(str, _list(known.get('enum'))))}" if "enum" in known else name


def _resolved(api: dict[str, Any], value: Any) -> dict[str, Any]:
    """The target of a reference within the file, resolved one step."""
    named = _mapping(value).get("$ref")
    if not isinstance(named, str) or not named.startswith("#/"):
        return _mapping(value)
    target: Any = api
    for part in named[2:].split("/"):
        target = _mapping(target).get(part.replace("~1", "/").replace("~0", "~"))
    return _mapping(target)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _line(value: Any) -> str:
    return " ".join(_text(value).split())
