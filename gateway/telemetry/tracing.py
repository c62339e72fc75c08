"""OpenTelemetry traces: one span per step of a question, from the widget to the engine.

Enabled if `OTEL_EXPORTER_OTLP_ENDPOINT` is set; otherwise no tracing library is imported, and a
client's trace is passed on to the engine unchanged. Spans carry names and numbers, never questions
or answers.

https://www.w3.org/TR/trace-context/
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
https://opentelemetry.io/docs/languages/sdk-configuration/otlp-exporter/
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from core.errors import AskdocsError

if TYPE_CHECKING:
    from opentelemetry import context, trace

RawHeaders = Iterable[tuple[bytes, bytes]]
SpanRole = Literal["INTERNAL", "SERVER", "CLIENT"]

HEADERS = (b"traceparent", b"tracestate")
PROTOCOL = "http/protobuf"
GRACE = 2.0  # seconds to send the last spans


def endpoint(env: Mapping[str, str]) -> str:
    """The address for spans from the standard variables; empty: tracing is off.

    Raises:
        AskdocsError: the variables request an unsupported protocol.
    """
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    if env.get("OTEL_TRACES_EXPORTER") == "none":
        return ""
    url = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    if not url and (base := env.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        url = f"{base.rstrip('/')}/v1/traces"
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if url and (protocol := env.get(name)):
            if protocol != PROTOCOL:
                raise AskdocsError(
                    f"{name} (environment) is {protocol!r}, but traces are sent by {PROTOCOL}: "
                    "set it to that or remove it, and use the collector's port for it, usually "
                    "4318"
                )
            break
    return url


def load(service: str, env: Mapping[str, str]) -> "Tracer | None":
    """Creates the tracer; None if tracing is off. `service` is used unless `env` names one.

    Raises:
        AskdocsError: as `endpoint`.
    """
    where = endpoint(env)
    if not where:
        return None
    named = "OTEL_SERVICE_NAME" in env or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Tracer(where, None if named else service)


class Tracer:
    """Creates spans, and sends them in the background. Call `close` when done."""

    def __init__(self, where: str, service: str | None) -> None:
        # Takes 0.2 s to import, so only if enabled.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": service} if service else {})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=where)))
        self._tracer = self._provider.get_tracer("askdocs")

    def begin(self, name: str, kind: SpanRole, headers: RawHeaders = ()) -> "Span":
        """The first span of this process, in the trace that `headers` name, if any."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {k.decode(): v.decode("latin-1") for k, v in trace_headers(headers)}
        context = TraceContextTextMapPropagator().extract(carrier)
        return _Recording(self._tracer, _started(self._tracer, name, kind, context))

    def close(self) -> None:
        """Send pending spans. An unavailable collector delays it only briefly."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(GRACE)


class Span:
    """A span that is not recorded; see `OFF`."""

    is_on = False

    def child(self, name: str, kind: SpanRole = "INTERNAL") -> "Span":
        """A child span."""
        return self

    def onward(self, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
        """The headers that pass the trace on to the next service; `headers` are the client's."""
        return trace_headers(headers)

    def set(self, **attributes: str | int | float | bool | None) -> None:
        """Add attributes. In names, `__` stands for a dot; None is omitted."""

    def end(self, error: str = "") -> None:
        """End the span; `error` is a keyword for the failure."""

    @contextmanager
    def step(self, name: str) -> Iterator["Span"]:
        """A child span that ends with the block."""
        child = self.child(name)
        try:
            yield child
        except BaseException as error:
            child.end(type(error).__name__)
            raise
        child.end()


OFF = Span()


class _Recording(Span):
    is_on = True

    def __init__(self, tracer: "trace.Tracer", span: "trace.Span") -> None:
        self._tracer = tracer
        self._span = span

    def child(self, name: str, kind: SpanRole = "INTERNAL") -> Span:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(self._span)
        return _Recording(self._tracer, _started(self._tracer, name, kind, context))

    def onward(self, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, set_span_in_context(self._span))
        return [(name.encode(), value.encode("latin-1")) for name, value in carrier.items()]

    def set(self, **attributes: str | int | float | bool | None) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name.replace("__", "."), value)

    def end(self, error: str = "") -> None:
        if error:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def trace_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The trace headers among `headers`."""
    return [(name, value) for name, value in headers if name in HEADERS]


def _started(
    tracer: "trace.Tracer", name: str, kind: SpanRole, within: "context.Context"
) -> "trace.Span":
    from opentelemetry.trace import SpanKind

    return tracer.start_span(name, within, SpanKind[kind])
