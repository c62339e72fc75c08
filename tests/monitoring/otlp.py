"""A collector of traces for tests: OTLP over HTTP, with the real messages."""

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from tests.speaking import Handler, serving

PATIENCE = 120.0  # seconds, on a machine that has much else to do


@dataclass(frozen=True)
class Span:
    """One that has come in."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, object]


@dataclass
class Collector:
    """What was sent to it."""

    url: str
    spans: list[Span] = field(default_factory=list)
    raw: bytes = b""

    def find(self, name: str, **wanted: str) -> list[Span]:
        """Those of that name, and of that `service`, `trace` and so on."""
        return [
            span
            for span in list(self.spans)
            if span.name == name and all(getattr(span, k) == v for k, v in wanted.items())
        ]

    def wait(self, name: str, **wanted: str) -> Span:
        """The first of them, as soon as it has come."""
        self.until(lambda: bool(self.find(name, **wanted)), f"no span {name!r} {wanted}")
        return self.find(name, **wanted)[0]

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, (what, self.spans)
            time.sleep(0.05)


@contextmanager
def collector() -> Iterator[Collector]:
    """Its `url` is what OTEL_EXPORTER_OTLP_ENDPOINT takes."""

    class Receiver(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            found.raw += body
            found.spans += _read(messages.ExportTraceServiceRequest.FromString(body))
            answer = messages.ExportTraceServiceResponse().SerializeToString()
            self.send(200, answer, "application/x-protobuf")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    with serving(server):
        yield found


def _read(request: messages.ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        named = {a.key: a.value.string_value for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    named.get("service.name", ""),
                    span.name,
                    Message.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.status.code == 2,
                    {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
                )
