"""What vLLM tells of itself, behind a gateway and a box: the dashboards' numbers, and its span."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests import starting
from tests.monitoring.dashboards import Query, queries
from tests.monitoring.otlp import Collector
from tests.monitoring.watching import ANSWERED, Prometheus, watching

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def running(
    vllm_url: str, vllm_spans: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    port = urlsplit(vllm_url).port
    assert port
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", vllm_spans.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        with watching(tmp_path_factory.mktemp("monitoring"), port, answers="write") as prometheus:
            yield prometheus


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.id)
def test_every_query_of_every_dashboard_returns_data_of_vllm(
    running: Prometheus, query: Query
) -> None:
    running.shows(query.expr)
    for half in query.expr.split(" or "):
        if "vllm:" in half:
            running.shows(half)


def test_a_question_in_the_box_is_one_trace_down_to_vllm(
    running: Prometheus, vllm_spans: Collector
) -> None:
    asked = vllm_spans.wait("ask docs")
    trace = asked.trace
    door = vllm_spans.wait("POST /v1/chat/completions", trace=trace, parent=asked.id)
    chat = vllm_spans.wait("chat base", trace=trace, parent=door.id)
    engine = vllm_spans.wait("llm_request", trace=trace, parent=chat.id)
    assert asked.parent == ""
    assert [span.service for span in (asked, door, chat, engine)] == [
        "askdocs-widget",
        "askdocs-gateway",
        "askdocs-gateway",
        "askdocs-engine",
    ]
    read = door.attributes["gen_ai.usage.input_tokens"]
    assert engine.attributes["gen_ai.usage.prompt_tokens"] == read
    for text in (ANSWERED, "coffee", starting.KEY):
        assert text.encode() not in vllm_spans.raw
