"""Writes docs/reference/api.md from the gateway's OpenAPI document.

`.venv/bin/python scripts/api_page.py`; a test fails when the page is stale, and another sends each
example to a running gateway.
"""

import json
from pathlib import Path
from typing import Any

from gateway.api.openapi import description

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference/api.md"
URL = "http://127.0.0.1:4000"

TOP = """\
# API

This page is generated from the gateway's OpenAPI document, `http://127.0.0.1:4000/openapi.json`.
[Gateway](gateway.md) explains what the fields do, and
[The API from Python and Node](../tutorials/sdk.md) leads through them. Paths under `/v1` also work
without it.

Send the key as `Authorization: Bearer`, `x-api-key` or `api-key`. A field that is not in the table
of its endpoint is error 400. A field may be `null` if it is not required: it is absent then.

## Headers of responses

| header | meaning |
|---|---|
{headers}

## Errors

An error has the body `{{"error": {{"message", "type", "param", "code"}}}}`;
[Errors](gateway.md#errors) lists the codes.

| status | meaning |
|---|---|
{errors}
"""

ASKED = {"role": "user", "content": "How do I stop askdocs?"}
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "/v1/chat/completions": ("chat.completions", {"model": "docs", "messages": [ASKED]}),
    "/v1/completions": ("completions", {"model": "docs", "prompt": ASKED["content"]}),
    "/v1/embeddings": ("embeddings", {"model": "minilm", "input": ["Stop askdocs"]}),
    "/v1/responses": ("responses", {"model": "docs", "input": ASKED["content"]}),
    "/v1/messages": ("", {"model": "docs", "max_tokens": 500, "messages": [ASKED]}),
    "/v1/messages/count_tokens": ("", {"model": "docs", "messages": [ASKED]}),
    "/v1/rerank": ("", {"model": "local", "query": "stop", "documents": ["Ctrl-C stops it."]}),
    "/askdocs/vote": ("", {"alias": "docs", "model": "docs@v1", "vote": "up"}),
    "/askdocs/readable": ("", {"urls": ["http://127.0.0.1:8000/tutorials/getting-started/"]}),
}
"""By path: the resource of OpenAI's SDKs with a method `create`, if they have one; and a body."""


def text() -> str:
    """The page as it should be."""
    paths = description()["paths"]
    responses = paths["/v1/chat/completions"]["post"]["responses"]
    parts = [
        TOP.format(
            headers="\n".join(
                f"| `{name}` | {header['description']} |"
                for name, header in responses["200"]["headers"].items()
            ),
            errors="\n".join(
                f"| {status} | {each['description']} |"
                for status, each in responses.items()
                if status != "200"
            ),
        )
    ]
    parts += [
        _operation(method, path, operation)
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [f"## {method.upper()} {path}", f"{operation['summary'].rstrip('?')}."]
    if operation.get("security") == []:
        parts[1] += " Needs no key."
    if parameters := operation.get("parameters"):
        rows = [
            f"| `{each['name']}` | {_shown(each['schema'])} | {each.get('description', '')} |"
            for each in parameters
        ]
        where = "header" if parameters[0]["in"] == "header" else "in the path"
        parts.append("\n".join([f"| {where} | value | meaning |", "|---|---|---|", *rows]))
    if body := operation.get("requestBody"):
        parts.append(_fields("field", body["content"]["application/json"]["schema"]))
    for kind, content in operation["responses"]["200"]["content"].items():
        if kind == "text/event-stream":
            parts.append("With `stream: true`, the response is a stream of events.")
        elif schema := _resolved(content["schema"]).get("properties"):
            parts.append(_fields("field of the response", {"properties": schema}))
    if path in EXAMPLES:
        parts.append(_example(path))
    return "\n\n".join(parts) + "\n"


def _fields(title: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    fields = sorted(schema["properties"].items(), key=lambda field: field[0] not in required)
    rows = [
        f"| `{name}`{', required' if name in required else ''} | {_shown(value)} |"
        for name, value in fields
    ]
    return "\n".join([f"| {title} | value |", "|---|---|", *rows])


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if name := schema.get("$ref"):
        resolved: dict[str, Any] = description()["components"]["schemas"][name.rpartition("/")[2]]
        return resolved
    return schema


def _shown(schema: dict[str, Any], *, is_whole: bool = True) -> str:
    """A schema in words. An object inside another one is not spelled out."""
    schema = _resolved(schema)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"] if value is not None)
    if choices := schema.get("anyOf"):
        shown = [_shown(each, is_whole=is_whole) for each in choices if each != {"type": "null"}]
        return " or ".join(dict.fromkeys(shown))
    kind = schema.get("type", "any value")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    if kind == "array":
        inner = _shown(schema.get("items", {}), is_whole=False)
        return f"list of {inner}{_bounds(schema, 'Items')}"
    if kind == "object":
        names = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
        return f"object: {names}" if names and is_whole else "object"
    return f"{kind}{_bounds(schema, 'Length')}"


def _bounds(schema: dict[str, Any], what: str) -> str:
    low = schema.get("minimum", schema.get(f"min{what}"))
    high = schema.get("maximum", schema.get(f"max{what}"))
    if isinstance(high, int) and high >= 2**31 - 1:  # what the engines can count
        high = None
    is_number = "minimum" in schema or "maximum" in schema
    unit = "" if is_number else {"Items": " entries", "Length": " characters"}[what]
    if low is not None and high is not None:
        return f" ({low:,} to {high:,}{unit})"
    if low is not None and low > -(2**31):
        return " (not empty)" if unit else f" (at least {low:,})"
    return "" if high is None else f" (at most {high:,}{unit})"


def _example(path: str) -> str:
    resource, body = EXAMPLES[path]
    one_line = json.dumps(body)
    python_fields = "\n".join(f"    {json.dumps(name)}: {json.dumps(body[name])}," for name in body)
    python = f"""\
import json
import os
import urllib.request

body = {{
{python_fields}
}}
request = urllib.request.Request(
    "{URL}{path}",
    json.dumps(body).encode(),
    {{
        "Authorization": f"Bearer {{os.environ['ASKDOCS_KEY']}}",
        "Content-Type": "application/json",
    }},
)
print(urllib.request.urlopen(request).read().decode())"""
    node = f"""\
const response = await fetch("{URL}{path}", {{
  method: "POST",
  headers: {{
    Authorization: `Bearer ${{process.env.ASKDOCS_KEY}}`,
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({one_line}),
}});
console.log(await response.json());"""
    if resource:
        arguments = "\n".join(f"    {name}={json.dumps(value)}," for name, value in body.items())
        python = f"""\
import os

from openai import OpenAI

client = OpenAI(base_url="{URL}/v1", api_key=os.environ["ASKDOCS_KEY"])
reply = client.{resource}.create(
{arguments}
)
print(reply)"""
        node = f"""\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{URL}/v1", apiKey: process.env.ASKDOCS_KEY }});
console.log(await client.{resource}.create({one_line}));"""
    curl = f"""\
curl {URL}{path} \\
  -H "Authorization: Bearer $ASKDOCS_KEY" -H "Content-Type: application/json" \\
  -d '{one_line}'"""
    tabs = (("curl", "sh", curl), ("Python", "python", python), ("Node", "js", node))
    return "\n\n".join(
        f'=== "{name}"\n\n' + "\n".join(f"    {line}".rstrip() for line in fenced.split("\n"))
        for name, language, code in tabs
        for fenced in [f"```{language}\n{code}\n```"]
    )


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
