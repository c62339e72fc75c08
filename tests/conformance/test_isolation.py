"""A key for one alias, and all that LiteLLM would let a client do with it."""

from typing import Any

import httpx
import pytest

from core import database
from gateway.access.keys import Keys
from gateway.telemetry.metrics import PREFIX
from tests.conformance.conftest import INSTRUCTIONS, Lane
from tests.conformance.test_openai import HELLO
from tests.starting import KEY

pytestmark = pytest.mark.slow

BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": HELLO, "max_tokens": 4},
    "/responses": {"input": "Say hello.", "max_output_tokens": 16},
    "/messages": {"messages": HELLO, "max_tokens": 4},
}
ELSEWHERE: list[tuple[str, Any]] = [
    ("fallbacks", [{"model": "askdocs/hr", "timeout": 30}]),
    ("fallbacks", ["askdocs/hr"]),
    ("timeout", 1e-9),
    ("request_timeout", 1e-9),
    ("headers", {"x-askdocs-model": "hr"}),
    ("client", "x"),
    ("custom_llm_provider", "deepseek"),
    ("extra_body", {"model": "hr"}),
    ("extra_headers", {"x-askdocs-model": "hr"}),
    ("organization", "org-other"),
    ("num_retries", 5),
    ("max_retries", 5),
    ("ssl_verify", False),
    ("api_base", "http://127.0.0.1:9/v1"),
    ("base_url", "http://127.0.0.1:9/v1"),
    ("api_key", "x"),
    ("model_list", []),
    ("mock_response", "hello"),
    ("litellm_metadata", {"tags": ["x"]}),
    ("callbacks", ["x"]),
    ("x-litellm-timeout", 1),
]


@pytest.fixture(scope="session")
def narrow(lane: Lane) -> str:
    """A key that may use the model base."""
    return Keys(database.open(lane.gateway.database)).create("one alias", models=["base"])[1]


def post(
    lane: Lane, key: str, endpoint: str, query: str = "", headers: Any = None, **more: Any
) -> httpx.Response:
    return httpx.post(
        f"{lane.gateway.url}{endpoint}{query}",
        json={"model": "base", **BODIES[endpoint], **more},
        headers={"authorization": f"Bearer {key}", **(headers or {})},
        timeout=120,
    )


@pytest.mark.parametrize("endpoint", BODIES)
@pytest.mark.parametrize(("field", "value"), ELSEWHERE)
def test_a_field_of_litellms_is_refused_by_name(
    lane: Lane, narrow: str, endpoint: str, field: str, value: Any
) -> None:
    for model in ("base", "claude"):
        key = KEY if model == "claude" else narrow
        reply = httpx.post(
            f"{lane.gateway.url}{endpoint}",
            json={"model": model, **BODIES[endpoint], field: value},
            headers={"authorization": f"Bearer {key}"},
        )
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["param"] == field


@pytest.mark.parametrize("endpoint", BODIES)
def test_query_and_headers_lead_nowhere_else(lane: Lane, narrow: str, endpoint: str) -> None:
    headers = {
        "x-litellm-timeout": "0.000000001",
        "x-litellm-num-retries": "5",
        "x-litellm-model": "askdocs/hr",
        "x-litellm-api-base": "http://127.0.0.1:9/v1",
        "x-askdocs-loopback": "1",
    }
    query = "?model=askdocs/hr&timeout=0.000000001&custom_llm_provider=deepseek"
    reply = post(lane, narrow, endpoint, query, headers)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-askdocs-model"] == "base"
    assert reply.json()["model"] == "base"


def test_timeouts_of_clients_open_no_breaker(lane: Lane) -> None:
    headers = {"x-litellm-timeout": "0.000000001"}
    assert post(lane, KEY, "/chat/completions", "", headers, model="claude").is_success
    for _ in range(5):  # without a success, after which failures are counted again
        post(lane, KEY, "/chat/completions", model="claude", timeout=1e-9)
        post(lane, KEY, "/responses", timeout=1e-9)
    metrics = httpx.get(f"{lane.gateway.root}/metrics").text
    name = f"{PREFIX}circuit_state"
    assert f"# TYPE {name} gauge" in metrics
    circuits = [line for line in metrics.splitlines() if line.startswith(f"{name}{{")]
    assert {line.rpartition(" ")[2] for line in circuits} <= {"0.0"}


@pytest.mark.parametrize("endpoint", ["/responses", "/messages"])
def test_headers_of_askdocs_hold_for_translated_requests(lane: Lane, endpoint: str) -> None:
    where = "Where is the coffee machine?"
    coffee: Any = {"messages": [{"role": "user", "content": where}]}
    if endpoint == "/responses":
        coffee = {"input": where}

    def read(headers: dict[str, str]) -> int:
        reply = post(lane, KEY, endpoint, "", headers, model="hr", **coffee)
        assert reply.status_code == 200, reply.text
        return int(reply.json()["usage"]["input_tokens"])

    assert read({"x-askdocs-grounding": "off"}) < read({}) - 20
    before = len(lane.providers.asked)
    reply = post(lane, KEY, endpoint, "", {"x-askdocs-model": "claude"}, model="hr", **coffee)
    assert reply.status_code == 200, reply.text
    assert len(lane.providers.asked) == before + 1
    asked = next(body for path, body in reversed(lane.providers.asked) if path == "/v1/messages")
    assert INSTRUCTIONS in str(asked)


def test_a_narrow_key_chooses_no_model_for_a_translated_request(lane: Lane, narrow: str) -> None:
    for endpoint in ("/responses", "/messages"):
        reply = post(lane, narrow, endpoint, "", {"x-askdocs-model": "claude"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "model_not_allowed")
