"""Traces: when they are made, what they say, and that they cost nothing when they are not."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import AskdocsError
from gateway.telemetry.tracing import OFF, Tracer, endpoint, load
from tests.monitoring.otlp import collector

ROOT = Path(__file__).parents[2]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = [
    (b"host", b"x"),
    (b"traceparent", f"00-{TRACE}-{CALLER}-01".encode()),
    (b"tracestate", b"a=1"),
]
BASE, OWN = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({}, ""),
        ({BASE: ""}, ""),
        ({BASE: "http://otel:4318"}, "http://otel:4318/v1/traces"),
        ({BASE: "http://otel:4318/"}, "http://otel:4318/v1/traces"),
        ({OWN: "http://otel/mine"}, "http://otel/mine"),
        ({BASE: "http://otel:4318", OWN: "http://otel/mine"}, "http://otel/mine"),
        ({BASE: "http://otel:4318", "OTEL_SDK_DISABLED": "True"}, ""),
        ({BASE: "http://otel:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ""),
    ],
)
def test_the_standard_variables_say_where_spans_go(env: dict[str, str], where: str) -> None:
    assert endpoint(env) == where
    if not where:
        assert load("askdocs", env) is None


@pytest.mark.parametrize("scope", ["", "TRACES_"])
def test_another_protocol_is_refused_with_the_fix(scope: str) -> None:
    name = f"OTEL_EXPORTER_OTLP_{scope}PROTOCOL"
    env = {BASE: "http://otel:4317", name: "grpc"}
    with pytest.raises(AskdocsError, match=f"{name} .*'grpc'.*http/protobuf.*4318"):
        endpoint(env)
    assert endpoint({**env, name: "http/protobuf"})


def test_without_a_trace_of_its_own_the_clients_is_passed_on() -> None:
    assert OFF.onward(SENT) == SENT[1:]
    assert OFF.onward([(b"host", b"x")]) == []
    with OFF.step("anything") as step:
        step.set(anything=1)
    assert step is OFF
    assert not OFF.is_on


@pytest.mark.slow
def test_nothing_that_makes_spans_is_imported_where_traces_are_off() -> None:
    code = (
        "import sys; from gateway.telemetry import tracing; import widget.app;"
        "assert tracing.load('x', {}) is None;"
        "tracing.OFF.child('x').set(a=1);"
        # The SDK's metrics are imported by redis-py, which does so where it finds them.
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace',"
        " 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_spans_go_out_in_the_trace_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as received:
        tracer = Tracer(f"{received.url}/v1/traces", "askdocs-test")
        span = tracer.begin("POST /v1/chat/completions", "SERVER", SENT)
        assert span.is_on
        with span.step("find pages") as step:
            step.set(askdocs__pages=2, askdocs__nothing=None)
        with pytest.raises(KeyError), span.step("fail"):
            raise KeyError
        child = span.child("chat base", "CLIENT")
        headers = dict(child.onward([]))
        child.end()
        span.end("503")
        tracer.close()
    server, client = (
        received.wait(span_name := "POST /v1/chat/completions"),
        received.wait("chat base"),
    )
    assert (server.service, server.kind, server.trace, server.parent) == (
        "askdocs-test",
        "SERVER",
        TRACE,
        CALLER,
    )
    assert (server.name, server.failed, server.attributes) == (
        span_name,
        True,
        {"error.type": "503"},
    )
    assert (client.kind, client.trace, client.parent) == ("CLIENT", TRACE, server.id)
    assert headers[b"traceparent"] == f"00-{TRACE}-{client.id}-01".encode()
    assert headers[b"tracestate"] == b"a=1"
    assert received.wait("find pages").attributes == {"askdocs.pages": 2}
    assert received.wait("fail").attributes == {"error.type": "KeyError"}


def test_a_name_of_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    with collector() as received:
        tracer = load("askdocs-test", {BASE: received.url, "OTEL_SERVICE_NAME": "mine"})
        assert tracer is not None
        tracer.begin("one", "SERVER").end()
        tracer.close()
    (span,) = received.spans
    assert (span.service, span.parent) == ("mine", "")


@pytest.mark.slow
def test_a_collector_that_is_away_holds_nothing_up() -> None:
    tracer = Tracer("http://127.0.0.1:1/v1/traces", "askdocs-test")
    tracer.begin("one", "SERVER").end()
    began = time.monotonic()
    tracer.close()
    assert time.monotonic() - began < 30
