"""One trace from the box to the engine, as a collector gets it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import NamedTuple

import httpx
import pytest

from tests import starting
from tests.monitoring.otlp import PATIENCE, Collector, collector
from tests.speaking import Handler, serving
from tests.widget.conftest import Box

pytestmark = pytest.mark.slow

HTMX = {"hx-request": "true", "sec-fetch-site": "same-origin"}
WIKI = "# Coffee machine\n\nThe coffee machine stands in the kitchen on floor 3.\n"
ANSWER = "The coffee machine stands in the kitchen on floor 3."
QUESTION = "Where does the coffee machine stand?"
HEADER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-3])")


class Engine(Handler):
    """Says one sentence, and keeps the headers of a trace: llama.cpp and vLLM do not show them."""

    heard: list[str]

    def do_GET(self) -> None:
        known = self.path == "/v1/models"
        self.json(200 if known else 404, {"data": [{"id": "small", "max_model_len": 4096}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/chat/completions":
            self.json(404, {})
            return
        self.heard.append(self.headers.get("traceparent", ""))
        self.stream()
        delta = {"role": "assistant", "content": ANSWER}
        self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 90, "completion_tokens": 11, "total_tokens": 101}
        self.event({"choices": [], "usage": usage})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")


@contextmanager
def speaking() -> Iterator[tuple[str, list[str]]]:
    """The engine's address, and what it has heard of traces."""
    heard: list[str] = []
    handler = type("Speaking", (Engine,), {"heard": heard})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1", heard


class Traced(NamedTuple):
    gateway: starting.Gateway
    box: Box
    heard: list[str]
    collector: Collector


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traces")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "coffee.md").write_text(WIKI)
    with collector() as received, speaking() as (url, heard), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        with (
            starting.gateway(folder, gateway_engine_url=url, gateway_docs=str(docs)) as gateway,
            starting.widget(folder, gateway.url) as widget,
        ):
            yield Traced(gateway, Box(widget, None), heard, received)


def test_a_question_in_the_box_is_one_trace_down_to_the_engine(traced: Traced) -> None:
    traced.heard.clear()
    response = traced.box.post("asks", HTMX, question=QUESTION)
    (id,) = re.findall(r"asks/([\w-]+)/events", response.text)
    events = httpx.get(f"{traced.box.url}/asks/{id}/events", timeout=PATIENCE).text
    assert "event: done" in events
    (heard,) = traced.heard
    found = HEADER.fullmatch(heard)
    assert found, heard
    trace, parent, flags = found.groups()
    assert int(flags, 16) & 1  # sampled

    asked = traced.collector.wait("ask docs", trace=trace)
    door = traced.collector.wait("POST /v1/chat/completions", trace=trace)
    pages = traced.collector.wait("find pages", trace=trace)
    engine = traced.collector.wait("chat base", trace=trace)
    assert (asked.service, asked.kind, asked.parent) == ("askdocs-widget", "CLIENT", "")
    assert (door.service, door.kind, door.parent) == ("askdocs-gateway", "SERVER", asked.id)
    assert (pages.service, pages.kind, pages.parent) == ("askdocs-gateway", "INTERNAL", door.id)
    assert (engine.service, engine.kind, engine.parent) == ("askdocs-gateway", "CLIENT", door.id)
    assert engine.id == parent
    assert not any(span.failed for span in (asked, door, pages, engine))

    told = door.attributes
    assert told["http.response.status_code"] == 200
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("docs", "base")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (90, 11)
    assert (told["askdocs.lane"], told["askdocs.refused"]) == ("fast", False)
    assert asked.attributes["askdocs.refused"] is False
    assert pages.attributes == {"askdocs.pages": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ["responses", "messages"])
def test_what_is_translated_is_in_the_trace_of_the_client(
    traced: Traced, endpoint: str, stream: bool
) -> None:
    traced.heard.clear()
    trace, parent = f"{'ab' if stream else 'cd'}{len(endpoint):030x}", "b" * 16
    said = [{"role": "user", "content": QUESTION}]
    body = {"model": "docs", "stream": stream}
    body |= {"input": said} if endpoint == "responses" else {"messages": said, "max_tokens": 64}
    headers = {"authorization": f"Bearer {starting.KEY}", "traceparent": f"00-{trace}-{parent}-01"}
    url = f"{traced.gateway.url}/{endpoint}"
    httpx.post(url, json=body, headers=headers, timeout=PATIENCE).raise_for_status()
    outer = traced.collector.wait(f"POST /v1/{endpoint}", trace=trace)
    model = traced.collector.wait("chat base", trace=trace)
    assert [outer.parent, model.parent] == [parent, outer.id]
    assert traced.heard == [f"00-{trace}-{model.id}-01"]


def test_nothing_that_was_asked_or_answered_is_in_a_trace(traced: Traced) -> None:
    traced.collector.wait("ask docs")
    for text in (QUESTION, ANSWER, "coffee", starting.KEY):
        assert text.encode() not in traced.collector.raw


def ask(traced: Traced, traceparent: str) -> None:
    response = httpx.post(
        f"{traced.gateway.url}/chat/completions",
        headers={"authorization": f"Bearer {starting.KEY}", "traceparent": traceparent},
        json={"model": "base", "messages": [{"role": "user", "content": QUESTION}]},
        timeout=PATIENCE,
    )
    assert response.status_code == 200, response.text


def test_a_client_goes_on_with_its_own_trace(traced: Traced) -> None:
    traced.heard.clear()
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    ask(traced, f"00-{trace}-{caller}-01")
    door = traced.collector.wait("POST /v1/chat/completions", trace=trace)
    assert door.parent == caller
    assert traced.heard == [f"00-{trace}-{traced.collector.wait('chat base', trace=trace).id}-01"]


def test_what_a_client_does_not_sample_is_not_sent(traced: Traced) -> None:
    traced.heard.clear()
    trace, later = "a" * 32, "b" * 32
    ask(traced, f"00-{trace}-00f067aa0ba902b7-00")
    ask(traced, f"00-{later}-00f067aa0ba902b7-01")
    traced.collector.wait("POST /v1/chat/completions", trace=later)
    assert not [span for span in traced.collector.spans if span.trace == trace]
    assert traced.heard[0].startswith(f"00-{trace}-")
    assert traced.heard[0].endswith("-00")
