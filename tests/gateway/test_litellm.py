"""LiteLLM gets nothing of a client's request but fields that change nothing but the answer.

The fields and headers that it looks at are read from the source of the LiteLLM that is installed,
so that a new version cannot bring a way in that nobody has looked at.
"""

import ast
import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from gateway.api import schemas
from gateway.core.lazy import Lazy
from gateway.routing.dispatch import Call, CandidateFailed, Dispatch
from gateway.routing.registry import Served
from gateway.telemetry.tracing import OFF
from gateway.upstream.litellm import LiteLLM, is_its_own, is_unreadable, plain
from tests.garbage import uncollected

# Names under which LiteLLM's proxy, router and entry points keep what came in a body.
BODIES = {
    *("data", "request_data", "request_body", "request_kwargs", "body", "kwargs", "new_kwargs"),
    *("litellm_params", "optional_params", "non_default_params", "passed_params", "local_vars"),
    *("params", "request", "input_kwargs", "fallback_kwargs", "responses_api_request"),
}
# What LiteLLM looks at and may get: each was looked up, and shapes the answer alone.
REVIEWED = {
    *("audio", "best_of", "dimensions", "documents", "echo", "encoding_format"),
    *("frequency_penalty", "function_call", "functions", "input", "input_type", "instructions"),
    *("logit_bias", "logprobs", "max_chunks_per_doc", "max_completion_tokens"),
    *("max_output_tokens", "max_tokens", "max_tokens_per_doc", "messages", "modalities", "n"),
    *("output_format", "parallel_tool_calls", "prediction", "presence_penalty", "prompt", "query"),
    *("rank_fields", "reasoning", "reasoning_effort", "response_format", "return_documents"),
    *("seed", "stop", "stop_sequences", "stream", "stream_options", "suffix", "system"),
    *("temperature", "text", "thinking", "tool_choice", "tools", "top_k", "top_logprobs"),
    *("top_n", "top_p", "user", "verbosity", "web_search_options"),
    "model",  # replaced by the gateway's own
}
# They change models, addresses, credentials, retries, timeouts or callbacks.
DANGEROUS = {
    *("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_list"),
    *(
        "timeout",
        "stream_timeout",
        "request_timeout",
        "num_retries",
        "max_retries",
        "mock_response",
    ),
    *("api_base", "base_url", "api_key", "api_version", "organization", "custom_llm_provider"),
    *("extra_headers", "extra_body", "headers", "client", "ssl_verify", "user_config", "callbacks"),
    *("metadata", "litellm_metadata", "proxy_server_request", "cache", "guardrails", "tags"),
    *("vertex_credentials", "aws_secret_access_key", "litellm_credential_name", "drop_params"),
}


def sources() -> Iterator[Path]:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    yield from (root / "proxy").rglob("*.py")
    yield from (root / "router_utils").rglob("*.py")
    yield from (root / "responses").rglob("*.py")
    yield from (root / name for name in ("router.py", "main.py", "utils.py", "types/router.py"))


def name_of(node: ast.AST) -> str:
    return (
        node.id
        if isinstance(node, ast.Name)
        else node.attr
        if isinstance(node, ast.Attribute)
        else ""
    )


def looked_at(node: ast.AST) -> tuple[str, str] | None:
    """What is looked into, and for which key."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        if node.func.attr in ("get", "pop", "setdefault"):
            key = node.args[0]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                return name_of(node.func.value), key.value
    elif isinstance(node, ast.Subscript):
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return name_of(node.value), node.slice.value
    elif (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Constant)
        and isinstance(node.left.value, str)
        and isinstance(node.ops[0], ast.In | ast.NotIn)
    ):
        return name_of(node.comparators[0]), node.left.value
    return None


@cache
def looks() -> tuple[frozenset[str], frozenset[str]]:
    """The fields and the headers that the installed LiteLLM looks at."""
    from litellm.types.utils import all_litellm_params

    fields, headers = set(all_litellm_params), set()
    with uncollected():  # millions of nodes, none of them in a cycle
        for file in sources():
            for node in ast.walk(ast.parse(file.read_bytes())):
                if found := looked_at(node):
                    where, key = found
                    if where in BODIES:
                        fields.add(key)
                    elif "header" in where.lower():
                        headers.add(key.lower())
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and file.name in (
                    "router.py",
                    "main.py",
                ):
                    fields |= {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
    return frozenset(fields), frozenset(headers)


@pytest.mark.parametrize(
    ("last", "own"),
    [
        ("KeyError: 'function'", True),
        ("Exception: Invalid user message at index 0.", True),
        ("RecursionError: maximum recursion depth exceeded", True),
        ("  File \"a.py\", line 2, in transform_response\n    ...\nKeyError: 'content'", False),
        ("httpx.ReadError", False),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", False),
        ("KeyError: 'a'\n\nDuring handling\n\nhttpx.ConnectTimeout: late", False),
        ("", False),
    ],
)
def test_an_error_of_litellms_own_code_is_known(last: str, own: bool) -> None:
    frames = 'Traceback (most recent call last):\n  File "main.py", line 1, in completion\n'
    text = f"litellm.APIConnectionError: x\n{frames}{last}\n. Received Model Group=claude"
    assert is_its_own(orjson.dumps({"error": {"message": text}})) is own
    for other in (text.replace("APIConnectionError", "InternalServerError"), last):
        assert not is_its_own(orjson.dumps({"error": {"message": other}}))
    for body in (b"", b"[]", b'{"error": 5}', text.encode()):
        assert not is_its_own(body)


FRAMES = 'Traceback (most recent call last):\n  File "main.py", line 1, in completion\n'


@pytest.mark.parametrize(
    ("text", "unreadable"),
    [
        ("litellm.InternalServerError: InternalServerError: OpenAIException - Invalid response"
         " object Traceback (most recent call last): ...", True),
        ("litellm.BadRequestError: OpenAIException - Error in response object", True),
        ("litellm.BadRequestError: AnthropicException - b''\n\nLiteLLM: model group", True),
        ("litellm.BadRequestError: AnthropicException - b'wrong'\n\nLiteLLM: model group", False),
        ("litellm.InternalServerError: InternalServerError: OpenAIException - 'list' object has no"
         " attribute 'model_dump'", True),
        (f"litellm.APIConnectionError: x\n{FRAMES}  File \"a.py\", line 2, in transform_response\n"
         "AttributeError: no attribute 'get'", True),
        (f"litellm.APIConnectionError: x\n{FRAMES}  File \"a.py\", line 2, in _parse_sse_data\n"
         "    ...\n  File \"b.py\", line 3, in chunk_parser\nKeyError: 'type'", True),
        (f"litellm.APIConnectionError: x\n{FRAMES}AttributeError: no attribute 'get'", False),
        ("litellm.BadRequestError: OpenAIException - Bad: 'Invalid response object'", False),
        ("litellm.BadRequestError: XException - \n  File \"a\", in transform_response\n", False),
        ("", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "Invalid request format: "])
def test_an_answer_that_litellm_cannot_read_is_known(
    text: str, unreadable: bool, prefix: str
) -> None:
    body = orjson.dumps({"error": {"message": prefix + text}})
    assert is_unreadable(body) is unreadable


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", schemas.ENDPOINTS)
def test_no_field_that_litellm_looks_at_passes_unless_it_was_reviewed(endpoint: str) -> None:
    fields, _ = looks()
    assert fields >= DANGEROUS, DANGEROUS - fields
    passed = schemas.for_litellm(endpoint, dict.fromkeys(schemas.ENDPOINTS[endpoint], ()))
    assert (passed.keys() & fields) - REVIEWED == set()
    every = dict.fromkeys(fields | DANGEROUS, ())
    assert schemas.for_litellm(endpoint, every).keys() & DANGEROUS == set()


async def test_litellm_gets_an_empty_query_and_our_own_headers() -> None:
    heard: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((scope, orjson.loads((await receive())["body"])))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    litellm = LiteLLM([])
    litellm._app = Lazy(lambda: nullcontext(app))  # type: ignore[arg-type]
    body = {"model": "a", "messages": [], "fallbacks": ["b"], "metadata": {}, "temperature": 0}
    reply = await litellm.open("/chat/completions", body, "cloud", [(b"traceparent", b"00-1-2-01")])
    await reply.close()
    await litellm.close()
    ((scope, asked),) = heard
    assert asked == {"model": "cloud", "messages": [], "temperature": 0}
    assert (scope["query_string"], scope["path"]) == (b"", "/v1/chat/completions")
    names = {name.decode() for name, _ in scope["headers"]}
    assert names == {"host", "content-type", "content-length", "authorization", "traceparent"}


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"te', b"[]", b"{}", b"", b'{"choices": [{"message": null}]}']
)
async def test_a_stream_of_several_choices_that_breaks_off_is_left_for_another_model(
    body: bytes,
) -> None:
    """Such an answer is asked for as a whole."""
    left = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "stream" not in orjson.loads((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    litellm = LiteLLM([])
    litellm._app = Lazy(lambda: nullcontext(app))  # type: ignore[arg-type]
    request = {"prompt": ["a", "b"], "stream": True}
    call = Call("/completions", {"type": "http", "headers": []}, True, cast(Any, None))
    served = cast(Served, SimpleNamespace(name="cloud", engine=None, client=None, local=None))
    dispatch = Dispatch(cast(Any, None), litellm, cast(Any, None))
    with pytest.raises(CandidateFailed, match=r"unreadable|broke off|empty"):
        await dispatch._over_litellm(call, served, request, OFF)
    await asyncio.wait_for(left.wait(), 30)
    await litellm.close()


@pytest.mark.slow
def test_litellm_looks_at_headers_that_change_its_ways() -> None:
    """If it looked at none, the reading of its source would be broken."""
    _, headers = looks()
    assert headers >= {"x-litellm-timeout", "x-litellm-num-retries", "x-litellm-tags"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            'litellm.BadRequestError: AnthropicException - {"type":"error","error":{"type":"x",'
            '"message":"max_tokens: too many"}}\n\nLiteLLM: model group \'claude\' failed.',
            "max_tokens: too many",
        ),
        (
            "litellm.UnsupportedParamsError: anthropic does not support parameters: ['logprobs'],"
            " for model=claude. To drop these, set `litellm.drop_params=True`.",
            "anthropic does not support parameters: ['logprobs'], for model=claude.",
        ),
        ("litellm.ContextWindowExceededError: too long. Received Model Group=x", "too long"),
        (
            "litellm.ContextWindowExceededError: OpenAIException - too long, try increasing it\n"
            "model=gpt. context_window_fallbacks=None. fallbacks=None.\n\nSet "
            "'context_window_fallback' - https://docs.litellm.ai/docs/routing#fallbacks",
            "too long, try increasing it",
        ),
        ("litellm is confused", "the provider refused this request"),
    ],
)
def test_a_providers_error_is_told_without_litellms_words(text: str, shown: str) -> None:
    body = orjson.dumps({"error": {"message": text, "code": "400"}})
    error = orjson.loads(plain(body))["error"]
    assert error["message"] == shown
    is_too_long = "ContextWindow" in text
    assert error.get("code") == ("context_length_exceeded" if is_too_long else None)
