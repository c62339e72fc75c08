"""What the real vLLM tells of itself: the metrics that the dashboards show, and its span."""

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from gateway.lane import Lane
from gateway.tracing import Tracer
from tests.monitoring.dashboards import metrics_of, queries
from tests.monitoring.otlp import Collector

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_it_has_every_metric_of_vllm_that_the_dashboards_show(vllm_url: str) -> None:
    wanted = {name for query in queries() for name in metrics_of(query.expr) if "vllm:" in name}
    text = httpx.get(f"{vllm_url}/metrics", timeout=60).text
    told = {sample.name for family in parse(text) for sample in family.samples}
    assert len(wanted) >= 4
    assert wanted <= told


async def test_its_span_is_in_the_trace_that_the_fast_lane_hands_on(
    vllm_url: str, vllm_spans: Collector
) -> None:
    tracer = Tracer(f"{vllm_spans.url}/v1/traces", "askdocs-gateway")
    span = tracer.begin("chat base", "CLIENT")
    lane = Lane(f"{vllm_url}/v1")
    message = {"role": "user", "content": "Say a word about the zephyr."}
    body = {"model": "base", "messages": [message], "max_tokens": 4}
    reply = await lane.open("/chat/completions", span.onward([]), orjson.dumps(body))
    assert reply.status == 200, await reply.read()
    usage = orjson.loads(await reply.read())["usage"]
    reply.close()
    await lane.close()
    span.end()
    tracer.close()
    ours = vllm_spans.wait("chat base")
    theirs = vllm_spans.wait("llm_request", trace=ours.trace)
    assert (theirs.service, theirs.parent) == ("askdocs-engine", ours.id)
    assert theirs.attributes["gen_ai.usage.prompt_tokens"] == usage["prompt_tokens"]
    assert b"zephyr" not in vllm_spans.raw
