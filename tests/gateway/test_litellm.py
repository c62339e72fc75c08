"""LiteLLM is a process of its own, which gets nothing of a client's request but fields that change
nothing but the answer.

The fields and headers that it looks at are read from the source of the LiteLLM that is installed,
so that a new version cannot bring a way in that nobody has looked at.
"""

import ast
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from core.errors import AskdocsError
from core.tasks import Tasks
from gateway.api import schemas
from gateway.settings import GatewaySettings, ModelEntry
from gateway.upstream import litellm
from gateway.upstream.litellm import LiteLLM, Proxies, config, interpreter, is_failure, plain
from tests import starting
from tests.conformance import providers as stand_in
from tests.conformance.providers import Providers
from tests.garbage import uncollected
from tests.starting import KEY, Gateway

CLOUD = ModelEntry(litellm="openai/x", api_base="http://127.0.0.1:1/v1", key_env="TEST_SECRET")
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


def litellm_python() -> Path:
    return starting.litellm_python()


def sources() -> Iterator[Path]:
    (root,) = litellm_python().parents[1].glob("lib/python3*/site-packages/litellm")
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
    code = "import json, litellm.types.utils as u; print(json.dumps(u.all_litellm_params))"
    own = subprocess.run([litellm_python(), "-I", "-c", code], capture_output=True, check=True)
    fields, headers = set(json.loads(own.stdout.splitlines()[-1])), set()
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


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", schemas.ENDPOINTS)
def test_no_field_that_litellm_looks_at_passes_unless_it_was_reviewed(endpoint: str) -> None:
    fields, _ = looks()
    assert fields >= DANGEROUS, DANGEROUS - fields
    passed = schemas.for_litellm(endpoint, dict.fromkeys(schemas.ENDPOINTS[endpoint], ()))
    assert (passed.keys() & fields) - REVIEWED == set()
    every = dict.fromkeys(fields | DANGEROUS, ())
    assert schemas.for_litellm(endpoint, every).keys() & DANGEROUS == set()


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
        ("litellm.BadRequestError: XException - ", "the provider refused this request"),
    ],
)
def test_a_providers_error_is_told_without_litellms_words(text: str, shown: str) -> None:
    body = orjson.dumps({"error": {"message": text, "code": "400"}})
    error = orjson.loads(plain(body))["error"]
    assert error["message"] == shown
    is_too_long = "ContextWindow" in text
    assert error.get("code") == ("context_length_exceeded" if is_too_long else None)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("litellm.APIConnectionError: 'schema'", True),
        ("Invalid request format: litellm.InternalServerError: OpenAIException - x", True),
        ("litellm.BadRequestError: AnthropicException - max_tokens", False),
        ("litellm.BadRequestError: XException - litellm.APIConnectionError", False),
    ],
)
def test_a_failure_is_known_whatever_its_status(text: str, failed: bool) -> None:
    assert is_failure(orjson.dumps({"error": {"message": text, "code": "400"}})) is failed


def test_the_configuration_names_keys_and_does_not_contain_them() -> None:
    models = {"own": ModelEntry(url="http://127.0.0.1:2/v1"), "cloud": CLOUD}
    made = config(models)
    assert made is not None
    assert made["model_list"] == [
        {
            "model_name": "cloud",
            "litellm_params": {
                "model": "openai/x",
                "api_base": "http://127.0.0.1:1/v1",
                "api_key": "os.environ/TEST_SECRET",
            },
        }
    ]
    assert config({"own": models["own"]}) is None


def test_a_provider_without_litellm_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASKDOCS_HOME", str(tmp_path))
    monkeypatch.setattr(litellm, "find_spec", lambda _: None)
    with pytest.raises(AskdocsError, match=f"askdocs.environments providers --home {tmp_path}$"):
        interpreter()
    with pytest.raises(AskdocsError, match="LiteLLM is not installed"):
        Proxies(Tasks()).follow(GatewaySettings(models={"cloud": CLOUD}))


async def test_litellm_gets_the_gateways_own_headers_and_an_empty_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with stand_in.providers() as server:
        connection = LiteLLM({litellm.URL: server.url, litellm.KEY: "sk-own"})
        await connection.watch()
        body = orjson.dumps({"model": "m", "query": "a", "documents": ["a"]})
        reply = await connection.open("/rerank", [(b"traceparent", b"00-1-2-01")], body)
        reply.close()
        await connection.close()
    path, headers = server.heard[-1]
    assert path == "/v1/rerank"
    assert headers == {"host", "content-type", "content-length", "authorization", "traceparent"}


# In place of LiteLLM: answers on its port with its process and the names of its models.
SHORT = """\
import http.server, json, os, sys
config, port = sys.argv[sys.argv.index("--config") + 1], sys.argv[sys.argv.index("--port") + 1]
text = open(config).read()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "config": text}).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def told() -> Any:
    """What the proxy tells that workers would ask now; None if none listens there."""
    try:
        return httpx.get(os.environ[litellm.URL], trust_env=False, timeout=2).json()
    except httpx.HTTPError:
        return None


def until(found: Any, seconds: float = 30) -> Any:
    """The first true value of the function."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture
def proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxies]:
    monkeypatch.setenv("ASKDOCS_HOME", str(tmp_path))
    monkeypatch.setattr(litellm, "_START", SHORT)
    monkeypatch.setattr(litellm, "find_spec", lambda _: True)
    for name in (litellm.URL, litellm.KEY):
        monkeypatch.delenv(name, raising=False)
    made = Proxies(Tasks())
    yield made
    made.close()


def test_new_workers_have_a_new_proxy_if_the_providers_change(proxies: Proxies) -> None:
    proxies.follow(GatewaySettings())
    assert litellm.URL not in os.environ
    proxies.follow(GatewaySettings(models={"a": CLOUD}))
    proxies.settle()
    first, old = os.environ[litellm.URL], until(told)
    proxies.follow(GatewaySettings(models={"a": CLOUD}))
    proxies.settle()
    assert told()["pid"] == old["pid"]
    proxies.follow(GatewaySettings(models={"b": CLOUD}))
    assert "model_name: b" in until(told)["config"]
    assert httpx.get(first).json()["pid"] == old["pid"]  # for the workers that are still there
    proxies.settle()
    with pytest.raises(httpx.HTTPError):
        httpx.get(first)
    assert told()
    proxies.follow(GatewaySettings())
    proxies.settle()
    assert litellm.URL not in os.environ


def test_if_the_workers_stay_their_proxy_stays(proxies: Proxies) -> None:
    proxies.follow(GatewaySettings(models={"a": CLOUD}))
    proxies.settle()
    old = until(told)
    proxies.follow(GatewaySettings(models={"b": CLOUD}))
    other = until(told)
    proxies.go_back()
    assert told()["pid"] == old["pid"]
    assert not psutil.pid_exists(other["pid"])


def test_a_proxy_that_does_not_answer_is_started_again(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "LOOK_S", 0.1)
    monkeypatch.setattr(litellm, "SILENT_S", 0.5)
    proxies.follow(GatewaySettings(models={"a": CLOUD}))
    pid = until(told)["pid"]
    time.sleep(0.3)  # the proxy's owner has heard it
    os.kill(pid, signal.SIGSTOP)
    assert until(told)["pid"] != pid


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with stand_in.providers() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_PROVIDER_KEY", stand_in.KEY)
        yield server


@pytest.fixture
def gateway(tmp_path: Path, providers: Providers) -> Iterator[Gateway]:
    models = {"claude": providers.models["claude"]}
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Hello\n\nHello.\n")
    with starting.gateway(
        tmp_path, ready=False, gateway_models=json.dumps(models), gateway_docs=str(docs)
    ) as gateway:
        yield gateway


def ask(gateway: Gateway) -> httpx.Response:
    return httpx.post(
        f"{gateway.url}/chat/completions",
        json={"model": "claude", "messages": [{"role": "user", "content": "Hi"}]},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=120,
    )


def child(gateway: Gateway) -> psutil.Process | None:
    """The process of LiteLLM."""
    every = psutil.Process(gateway.process.pid).children(recursive=True)
    return next((one for one in every if "run_server" in " ".join(one.cmdline())), None)


@pytest.mark.slow
def test_a_killed_litellm_is_started_again_and_ends_with_the_gateway(gateway: Gateway) -> None:
    assert ask(gateway).json()["choices"][0]["message"]["content"] == "Hello."
    first = child(gateway)
    assert first is not None
    first.kill()
    first.wait(10)
    error = ask(gateway)
    assert (error.status_code, error.headers["retry-after"]) == (503, "5")
    assert error.json()["error"]["code"] == "litellm_unavailable"
    # The breaker lets one request in ten seconds through.
    until(lambda: ask(gateway).status_code == 200, 120)
    second = child(gateway)
    assert second is not None
    assert second.pid != first.pid
    gateway.process.kill()
    second.wait(10)


@pytest.mark.slow
def test_litellm_listens_on_this_machine_and_knows_its_own_key_alone(gateway: Gateway) -> None:
    assert ask(gateway).status_code == 200
    process = child(gateway)
    assert process is not None
    (listens,) = {c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listens.ip == "127.0.0.1"
    for key in (KEY, "sk-1234"):
        reply = httpx.post(
            f"http://127.0.0.1:{listens.port}/v1/chat/completions",
            json={"model": "claude", "messages": [{"role": "user", "content": "Hi"}]},
            headers={"authorization": f"Bearer {key}"},
        )
        assert reply.status_code in (400, 401), reply.text
    environment = process.environ()
    assert [name for name in environment if name.startswith("ASKDOCS_")] == []
    file = gateway.home / "run" / f"litellm-{gateway.port}.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stand_in.KEY not in file.read_text()
    # It calls nobody but the provider.
    others = {c.raddr.ip for c in process.net_connections() if c.raddr}
    assert others <= {"127.0.0.1"}


@pytest.mark.slow
def test_without_a_provider_there_is_no_litellm(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Hello\n\nHello.\n")
    with starting.gateway(tmp_path, ready=False, gateway_docs=str(docs)) as gateway:
        assert psutil.Process(gateway.process.pid).children(recursive=True) == []
        assert not (gateway.home / "run").exists()
        maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
        assert "litellm" not in maps
