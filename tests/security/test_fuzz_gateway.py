"""The gateway, with LiteLLM and the real engine, against its own description."""

import copy
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from gateway.api import openapi, schemas
from gateway.api.endpoints import DESCRIPTION, MCP
from gateway.http.asgi import ApiError
from gateway.runtime import app
from gateway.settings import GatewaySettings
from tests import starting
from tests.security.fuzzing import PATIENCE, fuzz, tool

WIKI = "# Coffee\n\n## Where is the coffee machine?\n\nIt stands in the kitchen.\n"
MODELS = {"/v1/embeddings": ["minilm"], "/v1/rerank": ["local"]}
NULL = {"type": "null"}
OPEN = {"/health", "/ready", "/metrics", DESCRIPTION}
SAID = {"type": "string", "minLength": 1}
# Fields that depend on each other, on the model or on the wiki, as they go together; no answer is
# long.
TOGETHER = {
    **dict.fromkeys(("top_logprobs", "tool_choice", "suffix", "best_of"), NULL),
    "dimensions": {"const": 384},
    **{
        name: {"type": "integer", "minimum": 1, "maximum": 2}
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens", "n")
    },
}
USER = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"const": "user"}, "content": SAID},
}
# What makes sense together, and what a ranker reads.
SAYING = {"messages": {"type": "array", "minItems": 1, "items": USER}, "tools": NULL}
SENSIBLE = {
    "/v1/chat/completions": SAYING,
    "/v1/messages": SAYING,
    "/v1/messages/count_tokens": SAYING,
    "/v1/completions": {"prompt": SAID, "echo": NULL, "logprobs": NULL},
    "/v1/responses": {"input": SAID, "tools": NULL},
    "/v1/rerank": {"query": {"const": "coffee"}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shallow: Path) -> Iterator[starting.Gateway]:
    tool("schemathesis")  # before what takes long
    folder = tmp_path_factory.mktemp("fuzzed")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "coffee.md").write_text(WIKI)
    with (
        starting.engine(folder, gguf=shallow, name="small", context=2048) as engine,
        starting.gateway(
            folder,
            gateway_engine_url=engine.url,
            gateway_docs=str(docs),
            gateway_max_tokens="16",
            gateway_max_output="16",
        ) as started,
    ):
        yield started


def narrowed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with the models that this gateway has, and what goes together."""
    narrow = copy.deepcopy(description)
    for path, item in narrow["paths"].items():
        models = MODELS.get(path, ["base"])
        asked = {"enum": [*models, "docs"] if models == ["base"] else models}
        for parameter in item.get("post", {}).get("parameters", []):
            if parameter["name"] == "x-askdocs-model":
                parameter["schema"] = {"enum": models}
        if body := item.get("post", {}).get("requestBody"):
            schema = body["content"]["application/json"]["schema"]
            fields = schema["properties"]
            own = {"alias": asked, "model": {"enum": models} if "alias" in fields else asked}
            fields |= {name: schema for name, schema in own.items() if name in fields}
            fields |= {name: schema for name, schema in TOGETHER.items() if name in fields}
            fields |= SENSIBLE.get(path, {})
            # Without a length, an answer may fill the context.
            lengths = [name for name in ("max_tokens", "max_output_tokens") if name in fields]
            schema["required"] = [*schema.get("required", []), *lengths]
    return narrow


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
def test_no_request_is_answered_by_a_fault_or_otherwise_than_described(
    gateway: starting.Gateway, tmp_path: Path
) -> None:
    description = httpx.get(f"{gateway.root}/openapi.json").json()
    headers = {"Authorization": f"Bearer {starting.KEY}"}
    right = fuzz(
        tmp_path / "right",
        narrowed(description),
        gateway.root,
        headers,
        mode="positive",
        left_out=("negative_data_rejection",),  # what is beyond the narrowed one is right, too
    )
    # Where nothing is sent, nothing can be sent wrongly.
    posted = {path: item for path, item in description["paths"].items() if "post" in item}
    wrong = fuzz(
        tmp_path / "wrong",
        {**description, "paths": posted},
        gateway.root,
        headers,
        mode="negative",
    )

    operations = {
        f"{method.upper()} {path}" for path, item in description["paths"].items() for method in item
    }
    # It got through to what answers, and not only to what refuses.
    assert right.with_status(200) == operations
    keyed = {name for name in operations if name.split()[1] not in OPEN}
    assert right.with_status(401) >= keyed
    assert wrong.with_status(400) == {f"POST {path}" for path in posted}
    assert wrong.with_status(405) == {f"POST {path}" for path in posted}
    assert re.findall(r"request \S+ failed", gateway.log.read_text(errors="replace")) == []
    assert httpx.get(f"{gateway.root}/ready").status_code == 200


def test_everything_that_is_served_is_described() -> None:
    described = {
        path: {method.upper() for method in item}
        for path, item in openapi.description()["paths"].items()
    }
    routes = app.Gateway(GatewaySettings()).routes()
    served = {route.path.replace("{name:path}", "{model}"): route.methods for route in routes}
    for path, methods in served.items():
        # Every path below /v1 works without it, too; MCP describes itself.
        if f"/v1{path}" not in served and not path.endswith(MCP.path):
            assert described.pop(path) == methods - {"HEAD"}, path
    assert described == {}


def test_the_description_needs_no_key_and_names_no_address() -> None:
    paths = openapi.description()["paths"]
    assert {
        path for path, item in paths.items() if item.get("get", {}).get("security") == []
    } == OPEN
    assert "servers" not in openapi.description()


names = st.sampled_from(
    ["type", "role", "content", "text", "function", "custom", "name", "tool_calls", "json_schema"]
)
words = st.sampled_from(["", "text", "user", "assistant", "function", "custom", "json_schema", "x"])
numbers = st.integers(-3, 200) | st.floats(-3, 3)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


rules = [
    (f"{endpoint} {name}", field.rule, Draft202012Validator(field.rule.schema))
    for endpoint, fields in schemas.ENDPOINTS.items()
    for name, field in fields.items()
]


@settings(max_examples=100, deadline=None)
@given(value=values)
def test_a_schema_takes_whatever_its_rule_takes(value: Any) -> None:
    for place, rule, schema in rules:
        with suppress(ApiError):
            rule(place, value)
            assert schema.is_valid(value), place
