"""What `GET /metrics` says, read with the parsers of Prometheus."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.api.plan import Tokens, tokens
from gateway.telemetry import metrics as module
from gateway.telemetry.metrics import PAIRS, PREFIX, Metrics
from tests.counting import calls
from tests.parts import require

ROOT = Path(__file__).parents[2]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def parse_openmetrics(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


class Clock:
    """Time that goes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


async def read(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of the samples of that name and these labels."""
    text = (await metrics.expose()).body.decode()
    return total(text, name, **labels)


def total(text: str, name: str, **labels: str) -> float:
    samples = [s for family in parse_text(text) for s in family.samples if s.name == PREFIX + name]
    assert samples, f"no {name}"
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def ask(metrics: Metrics, alias: str = "docs", team: str = "it", chunks: int = 3) -> None:
    request = metrics.request("/chat/completions")
    request.alias, request.team = alias, team
    request.admitted()
    for _ in range(chunks):
        request.chunk()
    request.end(200, "docs@v7", 10, 3)


# What is counted


async def test_a_request_is_counted_with_endpoint_alias_team_and_status() -> None:
    metrics = Metrics()
    ask(metrics)
    ask(metrics)
    labels = {"endpoint": "/chat/completions", "alias": "docs", "team": "it", "status": "200"}
    assert await read(metrics, "requests_total", **labels) == 2
    assert await read(metrics, "request_duration_seconds_count", alias="docs", team="it") == 2


async def test_tokens_are_counted_by_the_model_that_answered() -> None:
    metrics = Metrics()
    ask(metrics)
    labels = {"alias": "docs", "team": "it", "model": "docs@v7"}
    assert await read(metrics, "tokens_total", kind="prompt", **labels) == 10
    assert await read(metrics, "tokens_total", kind="completion", **labels) == 3


async def test_cached_tokens_are_counted_as_far_as_the_engine_tells() -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.alias, request.team = "docs", "it"
    request.admitted()
    request.end(200, "docs@v7", 100, 3, 80)
    ask(metrics)
    labels = {"alias": "docs", "model": "docs@v7", "team": "it"}
    assert await read(metrics, "cached_tokens_total", **labels) == 80
    metrics.prefix_cache("base", 0, 0)
    assert await read(metrics, "engine_cache_hit_ratio", model="base") == 0
    metrics.prefix_cache("base", 200, 150)
    assert await read(metrics, "engine_prompt_tokens", model="base") == 200
    assert await read(metrics, "engine_cached_tokens", model="base") == 150
    assert await read(metrics, "engine_cache_hit_ratio", model="base") == 0.75


async def test_rare_outcomes_and_votes_are_there_before_they_are_counted() -> None:
    metrics = Metrics()
    metrics.answered("docs", "docs@v7", "answered")
    assert await read(metrics, "answers_total", outcome="answered") == 1
    for outcome in ("cautious", "refused", "failed"):
        assert await read(metrics, "answers_total", model="docs@v7", outcome=outcome) == 0
    assert await read(metrics, "votes_total", model="docs@v7", vote="down") == 0
    metrics.voted("docs", "docs@v7", "down")
    assert await read(metrics, "votes_total", model="docs@v7", vote="down") == 1


async def test_a_request_is_waiting_until_its_first_byte_and_in_flight_until_its_end() -> None:
    metrics = Metrics()
    request = metrics.request("/completions")
    request.alias = "base"
    seen = []
    for step in (
        request.admitted,
        request.first_byte,
        request.chunk,
        lambda: request.end(200),
    ):
        step()
        seen.append(
            (
                await read(metrics, "requests_waiting", alias="base"),
                await read(metrics, "requests_in_flight", alias="base"),
            )
        )
    assert seen == [(1, 1), (0, 1), (0, 1), (0, 0)]


async def test_a_request_that_ends_without_a_byte_waits_no_longer() -> None:
    metrics = Metrics()
    request = metrics.request("/completions")
    request.admitted()
    request.end(502)
    assert await read(metrics, "requests_waiting") == 0
    assert await read(metrics, "requests_in_flight") == 0


async def test_a_request_that_is_not_admitted_is_counted_and_never_in_flight() -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.end(401)
    text = (await metrics.expose()).body.decode()
    assert total(text, "requests_total", status="401", alias="", team="") == 1
    assert [line for line in text.splitlines() if 'alias=""' in line and "status" not in line] == []


async def test_the_end_counts_once() -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.admitted()
    request.end(499)
    request.end(200, "m", 5, 5)
    assert await read(metrics, "requests_total") == 1
    assert await read(metrics, "requests_total", status="499") == 1
    assert await read(metrics, "requests_in_flight") == 0


async def test_times_are_from_the_request_on(clock: Clock) -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.alias = "docs"
    assert request.ttft is None
    clock.now += 0.004
    request.admitted()
    clock.now += 0.246
    request.chunk()
    assert request.ttft == pytest.approx(0.25)
    clock.now += 0.04
    request.chunk()
    clock.now += 0.16
    request.chunk()
    clock.now += 0.1
    assert request.duration == pytest.approx(0.55)
    request.end(200, "docs@v7", 10, 5)
    clock.now += 9
    assert request.duration == pytest.approx(0.55)
    assert await read(metrics, "admission_seconds_sum") == pytest.approx(0.004)
    assert await read(metrics, "time_to_first_token_seconds_sum") == pytest.approx(0.25)
    assert await read(metrics, "request_duration_seconds_sum") == pytest.approx(0.55)
    # Two gaps in three arrivals; four tokens after the first in 0.2 s.
    assert await read(metrics, "inter_token_latency_seconds_count") == 2
    assert await read(metrics, "inter_token_latency_seconds_sum") == pytest.approx(0.2)
    assert await read(metrics, "inter_token_latency_seconds_bucket", le="0.05") == 1
    assert await read(metrics, "inter_token_latency_seconds_bucket", le="0.15") == 1
    assert await read(metrics, "inter_token_latency_seconds_bucket", le="0.2") == 2
    assert await read(metrics, "time_per_output_token_seconds_sum") == pytest.approx(0.05)


async def test_a_gap_longer_than_every_bucket_is_counted(clock: Clock) -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.admitted()
    request.chunk()
    clock.now += 99
    request.chunk()
    request.end(200)
    assert await read(metrics, "inter_token_latency_seconds_bucket", le="2.0") == 0
    assert await read(metrics, "inter_token_latency_seconds_bucket", le="+Inf") == 1


async def test_a_plain_answer_has_no_time_to_first_token(clock: Clock) -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.admitted()
    clock.now += 3
    request.first_byte()
    request.end(200, "base", 10, 30)
    assert request.ttft == 3
    text = (await metrics.expose()).body.decode()
    assert total(text, "request_duration_seconds_sum") == 3
    assert "time_to_first_token_seconds_count" not in text
    assert "time_per_output_token_seconds_count" not in text


async def test_rejections_fallbacks_and_failures_are_counted() -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.alias, request.team = "docs", "it"
    request.limited("rpm")
    request.fallback("docs@v7", "base", "timeout")
    request.broke_off("base", "continued")
    metrics.upstream_error("docs@v7", "timeout")
    metrics.circuit("docs@v7", 2)
    metrics.limiter_local(True)
    metrics.decided_locally()
    metrics.usage_flush_failed()
    metrics.log_lines_dropped(3)
    for name, value, labels in [
        ("limit_rejections_total", 1, {"alias": "docs", "team": "it", "kind": "rpm"}),
        (
            "fallbacks_total",
            1,
            {"alias": "docs", "source": "docs@v7", "target": "base", "reason": "timeout"},
        ),
        (
            "broken_answers_total",
            1,
            {"alias": "docs", "model": "base", "outcome": "continued"},
        ),
        ("upstream_errors_total", 1, {"model": "docs@v7", "reason": "timeout"}),
        ("circuit_state", 2, {"model": "docs@v7"}),
        ("limiter_local", 1, {}),
        ("limiter_local_decisions_total", 1, {}),
        ("usage_flush_failures_total", 1, {}),
        ("access_log_dropped_lines_total", 3, {}),
    ]:
        assert await read(metrics, name, **labels) == value, name
    metrics.limiter_local(False)
    assert await read(metrics, "limiter_local") == 0


# How much is counted


async def test_teams_past_the_bound_are_counted_together() -> None:
    metrics = Metrics()
    for number in range(PAIRS + 50):
        ask(metrics, team=f"team-{number}")
    assert await read(metrics, "requests_total") == PAIRS + 50
    assert await read(metrics, "requests_total", team="other") == 50
    assert await read(metrics, "requests_in_flight") == 0


def test_a_request_costs_few_calls_and_a_chunk_almost_none() -> None:
    metrics = Metrics()
    ask(metrics)
    few, many = calls(lambda: ask(metrics, chunks=20)), calls(lambda: ask(metrics, chunks=120))
    # 12 microseconds on the machine of docs/reference/metrics.md.
    assert few <= 300
    assert many - few <= 400


# The format


async def test_the_text_and_the_openmetrics_format_say_the_same() -> None:
    metrics = Metrics()
    ask(metrics)
    text = await metrics.expose()
    assert text.content_type.startswith("text/plain; version=0.0.4")
    opened = await metrics.expose(OPENMETRICS)
    assert opened.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert opened.body.endswith(b"# EOF\n")
    samples = {
        (s.name, *sorted(s.labels.items())): s.value
        for family in parse_openmetrics(opened.body.decode())
        for s in family.samples
    }
    assert samples == {
        (s.name, *sorted(s.labels.items())): s.value
        for family in parse_text(text.body.decode())
        for s in family.samples
    }


async def test_names_with_odd_characters_stay_one_label() -> None:
    metrics = Metrics()
    team = 'a"} 1\nevil_total{b="\\'
    ask(metrics, team=team)
    text = (await metrics.expose()).body.decode()
    assert total(text, "requests_total", team=team) == 1
    assert all(family.name.startswith(PREFIX) for family in parse_text(text))


def test_promtool_finds_nothing_to_criticise() -> None:
    promtool = shutil.which("promtool")
    require(bool(promtool), "apt-get install prometheus")
    metrics = Metrics()
    ask(metrics)
    request = metrics.request("/chat/completions")
    request.limited("rpm")
    request.fallback("docs@v7", "base", "timeout")
    metrics.upstream_error("docs@v7", "timeout")
    metrics.circuit("docs@v7", 2)
    metrics.answered("docs", "docs@v7", "refused")
    metrics.voted("docs", "docs@v7", "down")
    result = subprocess.run(
        [str(promtool), "check", "metrics"],
        input=asyncio.run(metrics.expose()).body,
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


# Several workers

WORKER = """
import asyncio, sys
from gateway.telemetry.metrics import Metrics
metrics = Metrics()
request = metrics.request("/chat/completions")
request.alias, request.team = "docs", "it"
request.admitted()
request.chunk()
request.chunk()
if sys.argv[1] == "end":
    request.end(200, "docs@v7", 10, 3)
metrics.limiter_local(sys.argv[1] == "open")
print("ready", flush=True)
for line in sys.stdin:
    sys.stdout.buffer.write(asyncio.run(metrics.expose(line.strip())).body + b"# END\\n")
    sys.stdout.flush()
"""


class Worker:
    """A process with metrics of its own in the shared directory."""

    def __init__(self, directory: Path, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, what],
            env={**os.environ, module.DIRECTORY: str(directory)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def expose(self, accept: str = "") -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(accept + "\n")
        self.process.stdin.flush()
        return "".join(iter(self.process.stdout.readline, "# END\n"))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(module.DIRECTORY, "")
    directory = tmp_path / "metrics"
    module.share(directory)
    assert os.environ[module.DIRECTORY] == str(directory)
    return directory


@pytest.mark.slow
def test_any_worker_answers_for_all_and_a_killed_one_leaves_its_counters(shared: Path) -> None:
    ended, first, second = Worker(shared, "end"), Worker(shared, "open"), Worker(shared, "wait")
    try:
        for text in (ended.expose(), second.expose()):
            assert total(text, "requests_total", status="200") == 1
            assert total(text, "requests_in_flight", alias="docs", team="it") == 2
            assert total(text, "limiter_local") == 1  # the worst of the three
        first.kill()
        ended.kill()
        # As a worker leaves it that is killed between making its file and sizing it.
        (shared / "counter_1.db").touch()
        text = second.expose()
        assert total(text, "requests_total", status="200") == 1
        assert total(text, "tokens_total", kind="prompt") == 10
        assert total(text, "requests_in_flight") == 1
        assert total(text, "limiter_local") == 0
        opened = parse_openmetrics(second.expose(OPENMETRICS))
        assert any(family.name == PREFIX + "requests" for family in opened)
    finally:
        for worker in (ended, first, second):
            worker.close()


def test_numbers_of_an_earlier_run_are_dropped(shared: Path) -> None:
    worker = Worker(shared, "end")
    worker.close()
    assert list(shared.glob("*.db"))
    module.share(shared)
    assert not list(shared.glob("*.db"))


async def test_a_label_that_is_no_text_does_not_end_the_scrape() -> None:
    metrics = Metrics()
    request = metrics.request("/chat/completions")
    request.alias, request.team = "\ud800", "te\udcffam"
    request.admitted()
    request.end(200, "\ud800", 1, 1)
    metrics.answered("\ud800", "\ud800", "answered")
    metrics.voted("\ud800", "\ud800", "up")
    assert b'alias="?"' in (await metrics.expose()).body


def test_tokens_below_zero_are_none() -> None:
    stated = {"prompt_tokens": -5, "completion_tokens": 7, "total_tokens": 2}
    assert tokens(stated) == Tokens(0, 7)
    assert tokens({"input_tokens": 3, "cache_read_input_tokens": -9}) == Tokens(3, 0)
