"""The OpenAPI description of the gateway's API: `GET /openapi.json`.

`gateway.api.schemas` declares the fields of requests, and rejects invalid values and unknown
fields. OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.1.html
"""

from functools import cache
from importlib import metadata
from typing import Any, get_args

from gateway.api import readable, schemas, votes
from gateway.api.endpoints import (
    COUNT_TOKENS,
    DESCRIPTION,
    ENDPOINTS,
    GROUNDING,
    MESSAGES,
    MODELS,
    PROGRESS,
    SOURCES,
)
from gateway.api.rules import Schema
from gateway.http.asgi import EVENTS, JSON

ABOUT = """\
The OpenAI API of your own model, which answers from your wiki. Every path below /v1 works without
it, too. A field that is not described is refused."""

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_HEADERS = {
    "x-request-id": "The request's id in the log.",
    "x-askdocs-model": "The model that answered.",
    "x-askdocs-fallback": "The first candidate, and why it did not answer.",
    GROUNDING: "`on; pages=2`, or `off; reason=no-page`: the pages given to the model.",
}


def _object(required: dict[str, Schema], **more: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _or_null(schema: Schema) -> Schema:
    """Allows null, which means that the field is absent or has no value."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_USAGE = _object({"prompt_tokens": _COUNT, "total_tokens": _COUNT}, completion_tokens=_COUNT)
_PAGE = _object({"title": _TEXT, "url": _TEXT})
_VERDICT = {"enum": ["supported", "unsupported", "contradicted", "none"]}
_CLAIM = _object(
    {
        "start": _COUNT,
        "end": _COUNT,
        "verdict": _VERDICT,
        "reason": _TEXT,
        "source": _TEXT,
        "score": _or_null(_NUMBER),
    }
)
_REFERENCE = _object({"number": _COUNT, "title": _TEXT, "section": _TEXT, "url": _TEXT})
_SOURCE = _object({"title": _TEXT, "url": _TEXT, "section": _TEXT, "quote": _TEXT, "rest": _TEXT})
_SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        {
            "error": _object(
                {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": _or_null(_TEXT),
                    "code": _or_null(_TEXT),
                }
            )
        }
    ),
    "Model": _object(
        {
            "id": _TEXT,
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": _TEXT,
            "root": _TEXT,
            "max_model_len": {"type": ["integer", "null"]},
            "serves": _or_null(_TEXT),
        },
        mode=_TEXT,
        grounding=_object(
            {
                "answers": {"enum": ["write", "quote"]},
                "page_budget": _COUNT,
                "prompt": _TEXT,
            }
        ),
    ),
    "Models": _object({"object": {"const": "list"}, "data": _list(_ref("Model"))}),
    "Askdocs": _object(
        {
            "model": _TEXT,
            "mode": {"enum": ["extractive", "generative"]},
            "refused": {"type": "boolean"},
            "reason": {"enum": ["", "no_page", "no_question", "no_room", "model", "unsupported"]},
            "verdict": _VERDICT,
            "claims": _list(_CLAIM),
            "cut": {"type": "boolean"},
            "references": _list(_REFERENCE),
            "sources": _list(_SOURCE),
            "pages": _list(_PAGE),
        },
        confidence=_or_null(_NUMBER),
        caution={"type": "boolean"},
    ),
    "ChatCompletion": _object(
        {
            "id": _TEXT,
            "object": {"const": "chat.completion"},
            "created": {"type": "integer"},
            "model": _TEXT,
            "choices": _list(
                _object(
                    {
                        "index": _COUNT,
                        "message": _object({"role": _TEXT, "content": _or_null(_TEXT)}),
                        "finish_reason": _or_null(_TEXT),
                    }
                )
            ),
        },
        usage=_USAGE,
        askdocs=_ref("Askdocs"),
    ),
    "Completion": _object(
        {
            "id": _TEXT,
            "object": {"const": "text_completion"},
            "created": {"type": "integer"},
            "model": _TEXT,
            "choices": _list(
                _object({"index": _COUNT, "text": _TEXT, "finish_reason": _or_null(_TEXT)})
            ),
        },
        usage=_USAGE,
    ),
    "Embeddings": _object(
        {
            "object": {"const": "list"},
            "model": _TEXT,
            "data": _list(
                _object(
                    {
                        "object": {"const": "embedding"},
                        "index": _COUNT,
                        "embedding": {"anyOf": [_list(_NUMBER), _TEXT]},
                    }
                )
            ),
        },
        usage=_USAGE,
    ),
    "Ranks": _object({"results": _list(_object({"index": _COUNT, "relevance_score": _NUMBER}))}),
    "Response": _object(
        {
            "id": _TEXT,
            "object": {"const": "response"},
            "status": _TEXT,
            "output": _list(_object({})),
        }
    ),
    "Message": _object(
        {
            "id": _TEXT,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "content": _list(_object({"type": _TEXT})),
        }
    ),
}
# The error responses of every endpoint that requires a key.
_REFUSALS = {
    "400": "A field is missing or wrong, and `param` names it; or the request is not valid HTTP.",
    "401": "No key, or a wrong, revoked or expired one.",
    "403": "The key lacks permission.",
    "404": "There is no such model, page or endpoint.",
    "405": "The endpoint does not support this method.",
    "408": "The body took too long.",
    "413": "The body is too large.",
    "429": "A limit of the key; `Retry-After` says when to retry.",
    "431": "The headers are too large.",
    "500": "A fault of the gateway; its log has the request by its x-request-id.",
    "503": "No model answers, or the database is unavailable; `Retry-After` says when to retry.",
}
_MODEL = {
    "name": "x-askdocs-model",
    "in": "header",
    "description": "Answer this request with this model only.",
    "schema": {"type": "string", "minLength": 1},
}
_READ: dict[str, dict[str, Any]] = {
    GROUNDING: {
        "description": "`off`: answer without the wiki.",
        "schema": {"type": "string", "enum": ["on", "off"]},
    },
    SOURCES: {
        "description": "`text`: a generated answer ends with a list of the sources that it cites.",
        "schema": {"type": "string", "enum": ["text", "annotations"]},
    },
    PROGRESS: {
        "description": "`on`: the stream starts with the pages being read and the estimated time.",
        "schema": _TEXT,
    },
}


@cache
def description() -> dict[str, Any]:
    """Returns the whole description. It is shared: do not modify it."""
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        answers: Schema = {JSON: {"schema": _ref(endpoint.answer)}}
        if "stream" in schemas.ENDPOINTS[endpoint.path]:
            answers[EVENTS] = {}
        read = [{"name": name, "in": "header", **_READ[name]} for name in endpoint.headers]
        paths[f"/v1{endpoint.path}"] = {
            "post": _operation(
                endpoint.summary, answers, body=_body(endpoint.path), parameters=[*read, _MODEL]
            )
        }
    count = _object({"input_tokens": _COUNT})
    paths[f"/v1{COUNT_TOKENS.path}"] = {
        "post": _operation(
            "Count the tokens of a request to /v1/messages",
            {JSON: {"schema": count}},
            body=_body(MESSAGES.path),
            parameters=[_MODEL],
        )
    }
    paths[f"/v1{MODELS.path}"] = {
        "get": _operation("The models that the key may use", {JSON: {"schema": _ref("Models")}})
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}}
    paths[f"/v1{MODELS.path}/{{model}}"] = {
        "get": _operation("One model", {JSON: {"schema": _ref("Model")}}, parameters=[name])
    }
    paths[votes.PATH] = {
        "post": _operation(
            "Count a reader's vote for the model that answered",
            {JSON: {"schema": _object({"counted": {"const": True}})}},
            body=_object(
                {
                    "alias": _TEXT,
                    "model": _TEXT,
                    "vote": {"type": "string", "enum": list(get_args(votes.Direction))},
                }
            ),
        )
    }
    paths[readable.PATH] = {
        "post": _operation(
            "Check which of these pages the reader may read, to show a stored answer",
            {
                JSON: {
                    "schema": _object(
                        {"readable": _list({"type": "boolean"})},
                        readers=_list(_list(_list(_TEXT))),
                        known=_list({"type": "boolean"}),
                        revision=_TEXT,
                    )
                }
            },
            body=_object({"urls": _list(_TEXT)}),
        )
    }
    for path, what in (
        ("/llms.txt", "The wiki's pages, one per line"),
        ("/llms-full.txt", "The wiki as text"),
    ):
        paths[path] = {"get": _operation(what, {"text/plain": {"schema": _TEXT}})}
    paths |= _open()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "askdocs gateway",
            "version": metadata.version("askdocs"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"key": []}, {"x-api-key": []}, {"api-key": []}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


def _body(endpoint: str) -> Schema:
    required = schemas.REQUIRED[endpoint]
    return {
        "type": "object",
        "required": list(required),
        "properties": {
            name: field.rule.schema if name in required else _or_null(field.rule.schema)
            for name, field in schemas.ENDPOINTS[endpoint].items()
        },
        "additionalProperties": False,
    }


def _operation(
    what: str,
    answers: dict[str, Any],
    *,
    body: Schema | None = None,
    parameters: list[dict[str, Any]] | None = None,
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    headers = {name: {"description": text, "schema": _TEXT} for name, text in _HEADERS.items()}
    refused = {JSON: {"schema": _ref("Error")}}
    operation: dict[str, Any] = {
        "summary": what,
        "responses": {
            "200": {"description": "The answer.", "headers": headers, "content": answers},
            **{
                status: {"description": text, "content": refused}
                for status, text in {**_REFUSALS, **(more or {})}.items()
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return operation


def _open() -> dict[str, Any]:
    """The endpoints that need no key."""
    status = _object({"status": _TEXT})
    described = {
        "/health": ("Is the gateway alive?", {JSON: {"schema": status}}),
        "/ready": ("Are database and engine available?", {JSON: {"schema": status}}),
        "/metrics": ("Metrics for Prometheus", {"text/plain": {"schema": _TEXT}}),
        DESCRIPTION: ("This description", {JSON: {"schema": _object({"openapi": _TEXT})}}),
    }
    paths = {}
    for path, (what, answers) in described.items():
        responses: dict[str, Any] = {"200": {"description": "The answer.", "content": answers}}
        if path == "/ready":
            waiting = _object({"status": _TEXT, "for": _TEXT})
            responses["503"] = {
                "description": "Not ready; `for` names the missing part.",
                "content": {JSON: {"schema": waiting}},
            }
        paths[path] = {"get": {"summary": what, "security": [], "responses": responses}}
    return paths
