"""`litellm --config gateway/litellm.yaml` without the gateway: keys open chat, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from askdocs.checks import free_port
from gateway import database
from gateway.keys import Keys, Limits

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWN = "ask-of-the-installation"


class Alone(NamedTuple):
    url: str
    store: Keys
    all: str
    docs: str
    """A key for the model docs only."""


@pytest.fixture(scope="module")
def alone(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("litellm")
    engine = database.open(f"sqlite:///{folder}/askdocs.db")
    database.migrate(engine)
    store = Keys(engine)
    _, everything = store.create("everything")
    _, docs = store.create("docs only", models=["docs"])
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
    env |= {
        "PYTHONPATH": str(ROOT),
        "LITELLM_ENGINE_MODEL": "hosted_vllm/small",
        "LITELLM_ENGINE_URL": engine_url,
        "LITELLM_ENGINE_KEY": "none",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": "sk-master",
        "ASKDOCS_GATEWAY_KEY": OWN,
        "ASKDOCS_DATABASE_URL": f"sqlite:///{folder}/askdocs.db",
    }
    litellm = Path(sys.executable).with_name("litellm")
    words = ["--config", str(ROOT / "gateway" / "litellm.yaml"), "--host", "127.0.0.1"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [litellm, *words, "--port", str(port)],
            env=env,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not is_alive(url):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield Alone(url, store, everything, docs)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        engine.dispose()


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/liveliness", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def chat(alone: Alone, key: str, path: str = "/v1/chat/completions", **more: object) -> int:
    body = {
        "model": "docs",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
        **more,
    }
    return post(alone, path, key, body).status_code


def post(alone: Alone, path: str, key: str, body: object) -> httpx.Response:
    given = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{alone.url}{path}", json=body, headers=given, timeout=60)


def test_chat_passes_with_any_key_that_opens(alone: Alone) -> None:
    assert [chat(alone, key) for key in (OWN, alone.all, alone.docs)] == [200, 200, 200]
    assert chat(alone, alone.all, model="base") == 200
    body = {"model": "docs", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    for name in ("x-api-key", "api-key"):
        answer = httpx.post(
            f"{alone.url}/v1/chat/completions", json=body, headers={name: alone.all}, timeout=60
        )
        assert answer.status_code == 200, name


@pytest.mark.parametrize("key", ["", "ask-wrong", f"ask-abcdefghij-{'x' * 43}", "sk-master"])
def test_without_a_key_that_opens_nothing_passes(alone: Alone, key: str) -> None:
    # LiteLLM's own master key is none either.
    answer = post(alone, "/v1/chat/completions", key, {"model": "docs", "messages": []})
    assert answer.status_code == 401
    assert "key" in answer.json()["error"]["message"]
    assert chat(alone, key) == 401


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/key/generate"),
        ("POST", "/key/delete"),
        ("GET", "/key/list"),
        ("POST", "/user/new"),
        ("POST", "/team/new"),
        ("POST", "/model/new"),
        ("POST", "/model/delete"),
        ("GET", "/model/info"),
        ("GET", "/v1/model/info"),
        ("GET", "/model_group/info"),
        ("POST", "/config/update"),
        ("GET", "/get/config/callbacks"),
        ("GET", "/health"),
        ("GET", "/health/services?service=slack"),
        ("POST", "/cache/flushall"),
        ("GET", "/spend/logs"),
        ("GET", "/settings"),
        ("GET", "/v1/files"),
        ("POST", "/v1/files"),
        ("POST", "/openai/deployments/base/chat/completions"),
        ("POST", "/engines/base/chat/completions"),
        ("POST", "/anthropic/v1/messages"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", "//v1/chat/completions"),
    ],
)
def test_the_routes_of_its_admin_are_closed_to_every_key(
    alone: Alone, method: str, path: str, own: bool
) -> None:
    given = {"authorization": f"Bearer {OWN if own else alone.all}"}
    body = {"model": "base", "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.request(
        method,
        f"{alone.url}{path}",
        json=body if method == "POST" else None,
        headers=given,
        timeout=60,
    )
    assert answer.status_code in (403, 404), answer.text


def test_routes_are_refused_by_us_and_not_by_luck(alone: Alone) -> None:
    answer = post(alone, "/key/generate", alone.all, {})
    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "POST /key/generate is not open to API keys"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {"model": "base"}),
        ("/chat/completions", {"model": "base"}),
        ("/v1/completions", {"model": "base", "prompt": "Hello"}),
        ("/v1/embeddings", {"model": "base", "input": "Hello"}),
        ("/v1/responses", {"model": "base", "input": "Hello"}),
        ("/v1/messages", {"model": "base"}),
        ("/v1/rerank", {"model": "base", "query": "a", "documents": ["b"]}),
        ("/v1/chat/completions", {"model": None}),
        ("/v1/chat/completions", {"model": ["docs", "base"]}),
        ("/v1/chat/completions", {"model": "docs,base"}),
        ("/v1/chat/completions", {"model": "DOCS"}),
        ("/v1/chat/completions", {"model": "hosted_vllm/small"}),
        ("/v1/chat/completions", {"fallbacks": ["base"]}),
        ("/v1/chat/completions", {"fallbacks": [{"docs": ["base"]}]}),
        ("/v1/chat/completions", {"fallbacks": [{"model": "base"}]}),
        ("/v1/chat/completions?model=base", {}),
    ],
)
def test_a_model_that_is_not_the_keys_is_refused_wherever_it_is_named(
    alone: Alone, path: str, more: dict[str, object]
) -> None:
    body = {
        "model": "docs",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 4,
        **more,
    }
    answer = post(alone, path, alone.docs, body)
    assert answer.status_code == 403, answer.text
    assert "it may use docs" in answer.json()["error"]["message"]


def test_the_model_list_is_the_keys(alone: Alone) -> None:
    listed = {
        key: {
            model["id"]
            for model in httpx.get(
                f"{alone.url}/v1/models", headers={"authorization": f"Bearer {key}"}, timeout=60
            ).json()["data"]
        }
        for key in (alone.all, alone.docs)
    }
    assert listed == {alone.all: {"base", "docs"}, alone.docs: {"docs"}}


def test_a_revoked_key_is_refused_within_two_seconds_and_a_rotated_one_goes_on(
    alone: Alone,
) -> None:
    _, text = alone.store.create("short")
    assert chat(alone, text) == 200
    _, new = alone.store.rotate("short", timedelta(hours=1))
    assert [chat(alone, text), chat(alone, new)] == [200, 200]
    alone.store.revoke("short")
    time.sleep(2.1)
    assert [chat(alone, text), chat(alone, new)] == [401, 401]


def test_requests_by_minute_are_limited(alone: Alone) -> None:
    _, text = alone.store.create("slow", limits=Limits(rpm=2))
    assert [chat(alone, text) for _ in range(3)] == [200, 200, 429]
