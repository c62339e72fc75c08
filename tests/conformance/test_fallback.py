"""The local engine dead, refusing, slow or breaking off, over both lanes."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from askdocs.supervision.checks import free_port
from tests import starting
from tests.conformance.faulty import Faulty, black_hole, faulty
from tests.starting import KEY

pytestmark = pytest.mark.slow

HELLO: Any = [{"role": "user", "content": "Say hello."}]
AUTH = {"authorization": f"Bearer {KEY}"}
WAITED = 1  # second that a slow one has
NEVER = 60  # seconds that one has which is not to be waited for: no test takes half of them


@dataclass(frozen=True)
class Setting:
    gateway: starting.Gateway
    engine: Faulty

    def ask(self, alias: str, stream: bool = False, patience: float = 30) -> httpx.Response:
        return httpx.post(
            f"{self.gateway.url}/chat/completions",
            json={"model": alias, "messages": HELLO, "stream": stream},
            headers=AUTH,
            timeout=patience,
        )

    def timed(self, alias: str, stream: bool) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        reply = self.ask(alias, stream)
        return reply, time.monotonic() - began


def text_of(reply: httpx.Response, stream: bool) -> str:
    if not stream:
        return str(reply.json()["choices"][0]["message"]["content"])
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def facts_of(reply: httpx.Response, stream: bool) -> dict[str, Any]:
    """What the gateway adds to an answer that stands on pages."""
    if not stream:
        return dict(reply.json()["askdocs"])
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    (facts,) = (chunk["askdocs"] for chunk in map(json.loads, data) if "askdocs" in chunk)
    return dict(facts)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder: Path = tmp_path_factory.mktemp("fallback")
    with faulty() as engine, black_hole() as hole:
        away = f"http://127.0.0.1:{free_port()}/v1"
        failing = ("refusing", "busy", "slow", "breaking", "silent")
        models: dict[str, Any] = {
            "gone": {"url": away, "model": "gone"},
            "hole": {"url": hole, "model": "hole"},
            "cloud": {
                "litellm": "openai/fine",
                "api_base": engine.url,
                "key_env": "TEST_CLOUD_KEY",
            },
        }
        aliases: dict[str, Any] = {
            f"{name}-else-fine": {
                "targets": name,
                "fallback": ["fine"],
                "first_byte": WAITED if name == "slow" else NEVER,
            }
            for name in (*failing, "gone", "hole")
        }
        (folder / "docs").mkdir()
        (folder / "docs" / "index.md").write_text("# Hello\n\n## How do I say hello?\n\nHello.\n")
        aliases |= {
            "docs": {
                "targets": "hole",
                "fallback": ["fine"],
                "grounding": True,
                "first_byte": NEVER,
            },
            "odd-else-fine": {"targets": "odd", "fallback": ["fine"]},
            "docs-odd": {"targets": "odd", "grounding": True},
            "docs-odd-else-fine": {"targets": "odd", "fallback": ["fine"], "grounding": True},
            "fine-else-refusing": {"targets": "fine", "fallback": ["refusing"]},
            "gone-else-cloud": {"targets": "gone", "fallback": ["cloud"]},
            "gone-else-worse-else-fine": {"targets": "gone", "fallback": ["refusing", "fine"]},
            "nothing-works": {"targets": "gone", "fallback": ["refusing", "silent"]},
            "only-breaking": {"targets": "breaking"},
        }
        with (
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("TEST_CLOUD_KEY", "secret")
            with starting.gateway(
                folder,
                gateway_engine_url=engine.url,
                gateway_engine_model="fine",
                gateway_docs=str(folder / "docs"),
                gateway_models=json.dumps(models),
                gateway_aliases=json.dumps(aliases),
            ) as gateway:
                setting = Setting(gateway, engine)
                setting.ask("cloud", patience=240)  # LiteLLM has started
                yield setting


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gone", "unreachable"),
        ("hole", "unreachable"),
        ("refusing", "500"),
        ("busy", "429"),
        ("silent", "unreachable"),
    ],
)
def test_the_next_one_answers_at_once_and_is_named(
    setting: Setting, model: str, reason: str, stream: bool
) -> None:
    reply, took = setting.timed(f"{model}-else-fine", stream)
    assert reply.status_code == 200, reply.text
    assert text_of(reply, stream) == "Hello."
    assert reply.headers["x-askdocs-model"] == "fine"
    left, why = reply.headers["x-askdocs-fallback"].split(": ")
    assert left == model
    # After three failures in a row it is passed over.
    assert why in (reason, "breaker")
    assert took < NEVER / 2


@pytest.mark.parametrize(
    "odd",
    [
        b'{"choices": [',
        b"[]",
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_read_is_no_mistake_of_the_client(
    setting: Setting, odd: bytes
) -> None:
    """It was the client's 400, or a 500."""
    setting.engine.odd = odd
    reply = setting.ask("docs-odd")
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error"), reply.text
    reply = setting.ask("docs-odd-else-fine")
    assert (reply.status_code, text_of(reply, False)) == (200, "Hello."), reply.text
    assert reply.headers["x-askdocs-model"] == "fine"
    if not odd.endswith(b"}"):  # the objects inside a plain answer are passed on as they are
        reply = setting.ask("odd-else-fine")
        assert (reply.status_code, reply.headers["x-askdocs-model"]) == (200, "fine"), reply.text


def test_a_slow_one_is_left_after_its_time_and_nobody_waits_for_it_again(setting: Setting) -> None:
    reply, took = setting.timed("slow-else-fine", stream=True)
    assert (reply.status_code, text_of(reply, True)) == (200, "Hello.")
    assert reply.headers["x-askdocs-fallback"] == "slow: slow"
    assert took >= WAITED
    asked = setting.engine.asked.count("slow")
    reply = setting.ask("slow-else-fine", stream=True)
    assert reply.headers["x-askdocs-fallback"] == "slow: breaker"
    assert setting.engine.asked.count("slow") == asked


def test_a_failing_one_is_passed_over_after_three_failures(setting: Setting) -> None:
    for _ in range(3):
        assert setting.ask("refusing-else-fine").status_code == 200
    before = setting.engine.asked.count("refusing")
    for _ in range(5):
        reply = setting.ask("refusing-else-fine")
        assert reply.headers["x-askdocs-fallback"] == "refusing: breaker"
    assert setting.engine.asked.count("refusing") == before


def test_after_a_pause_it_is_tried_again_also_when_others_passed_it_by(setting: Setting) -> None:
    while "breaker" not in setting.ask("refusing-else-fine").headers["x-askdocs-fallback"]:
        pass
    time.sleep(10.1)
    for _ in range(3):
        assert "x-askdocs-fallback" not in setting.ask("fine-else-refusing").headers
    before = setting.engine.asked.count("refusing")
    assert setting.ask("refusing-else-fine").status_code == 200
    assert setting.engine.asked.count("refusing") == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_of_litellm_takes_over(setting: Setting, stream: bool) -> None:
    reply = setting.ask("gone-else-cloud", stream)
    assert reply.status_code == 200, reply.text
    assert text_of(reply, stream) == "Hello."
    assert reply.headers["x-askdocs-model"] == "cloud"
    if not stream:
        assert reply.json()["model"] == "gone-else-cloud"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_from_the_wiki_comes_from_the_next_one_too(
    setting: Setting, stream: bool
) -> None:
    began = time.monotonic()
    reply = httpx.post(
        f"{setting.gateway.url}/chat/completions",
        json={
            "model": "docs",
            "stream": stream,
            "messages": [{"role": "user", "content": "How do I say hello?"}],
        },
        headers=AUTH,
        timeout=30,
    )
    assert reply.status_code == 200, reply.text
    assert text_of(reply, stream) == "Hello."
    # A greeting is no claim, which would have a source.
    assert facts_of(reply, stream)["pages"] == [{"title": "Hello", "url": "http://127.0.0.1:8000/"}]
    if not stream:
        assert (reply.json()["model"], reply.headers["x-askdocs-model"]) == ("docs", "fine")
    assert time.monotonic() - began < NEVER / 2


def test_the_list_is_gone_through_in_order(setting: Setting) -> None:
    reply = setting.ask("gone-else-worse-else-fine")
    assert reply.headers["x-askdocs-model"] == "fine"


@pytest.mark.parametrize("stream", [False, True])
def test_when_nobody_answers_the_client_is_reported_to_come_back(
    setting: Setting, stream: bool
) -> None:
    reply = setting.ask("nothing-works", stream)
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json()["error"]["type"] == "server_error"
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/responses", "/messages"])
def test_so_it_is_for_what_litellm_translates(setting: Setting, path: str) -> None:
    def ask(model: str) -> httpx.Response:
        said = {"input": "Hi"} if path == "/responses" else {"messages": HELLO, "max_tokens": 9}
        body = {"model": model, **said}
        return httpx.post(f"{setting.gateway.url}{path}", json=body, headers=AUTH, timeout=30)

    assert "Hello." in ask("gone-else-fine").text
    refused = ask("nothing-works")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "3")


@pytest.mark.parametrize("alias", ["breaking-else-fine", "only-breaking"])
def test_a_break_in_the_middle_is_an_event_and_no_end(setting: Setting, alias: str) -> None:
    reply = setting.ask(alias, stream=True)
    assert reply.status_code == 200
    data = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert "Hel" in data[0]
    said = json.loads(data[-1])["error"]["message"]
    assert "broke off" in said
    assert "[DONE]" not in data


def test_fallbacks_are_counted_by_alias(setting: Setting) -> None:
    setting.ask("gone-else-fine")
    shown = httpx.get(f"{setting.gateway.root}/metrics").text
    assert 'askdocs_gateway_fallbacks_total{alias="gone-else-fine"' in shown
