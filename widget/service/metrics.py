"""The widget's Prometheus metrics: `GET /metrics`.

Only counts and times: no questions, answers, visitors or pages. docs/how-to/monitoring.md explains
each metric.
"""

from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Receive, Scope, Send

from widget.service.failure import Reason
from widget.service.store import Direction, State

PREFIX = "askdocs_widget_"
PATH = "/metrics"
# In seconds. A small model on a laptop reads a long page for half a minute.
FIRST = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 20, 30, 60)
WHOLE = (0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180)

Refusal = Literal["elsewhere", "malformed", "token", "captcha", "identity", "often", "full"]
"""Why a question was rejected: sent from another site; unreadable or too long; expired or invalid
token; captcha not solved; unknown identity; too many by one visitor; too many at once."""

# A creation-time series for each series would double the output; rate() does not need them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The widget's metrics; create one instance per process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, label: str, *values: str) -> Counter:
            made = Counter(PREFIX + name, text, (label,), registry=registry)
            for value in values:
                # Prometheus sees no increase if a series starts at one.
                made.labels(value)
            return made

        self._questions = Counter(
            PREFIX + "questions_total", "Accepted questions.", registry=registry
        )
        self._refused = counter(
            "questions_refused_total",
            "Rejected questions, by reason.",
            "reason",
            *get_args(Refusal),
        )
        self._answers = counter(
            "answers_total",
            "Finished answers, by outcome: answered, refused, failed, stopped.",
            "outcome",
            *(state for state in get_args(State) if state != "asked"),
        )
        self._errors = counter(
            "gateway_errors_total",
            "Answers that failed at the gateway, by reason.",
            "reason",
            *get_args(Reason),
        )
        self._votes = counter(
            "votes_total",
            "Votes, by direction; none: a vote was withdrawn.",
            "vote",
            *VOTES.values(),
        )
        self._task_failures = counter(
            "task_failures_total",
            "Failures of background work, which restarts after each.",
            "task",
        )
        self._first = Histogram(
            PREFIX + "time_to_first_text_seconds",
            "Time from the request to the first text of the answer.",
            registry=registry,
            buckets=FIRST,
        )
        self._whole = Histogram(
            PREFIX + "answer_duration_seconds",
            "Time from the start of an answer to its end.",
            registry=registry,
            buckets=WHOLE,
        )
        self._streams = Gauge(
            PREFIX + "streams_open", "Readers connected to an answer.", registry=registry
        )
        self._running = Gauge(
            PREFIX + "answers_running", "Answers being generated.", registry=registry
        )

    def watch(self, streams: Callable[[], int], running: Callable[[], int]) -> None:
        """Set the sources that are read for the gauges."""
        self._streams.set_function(streams)
        self._running.set_function(running)

    def asked(self) -> None:
        """Count an accepted question."""
        self._questions.inc()

    def refused(self, reason: Refusal) -> None:
        """Count a rejected question."""
        self._refused.labels(reason).inc()

    def answered(self, outcome: State, first: float | None, duration: float) -> None:
        """Count a finished answer; times are in seconds, None without any words."""
        self._answers.labels(outcome).inc()
        if first is not None:
            self._first.observe(first)
        self._whole.observe(duration)

    def failed(self, reason: Reason) -> None:
        """Count a missing or incomplete answer of the gateway."""
        self._errors.labels(reason).inc()

    def voted(self, vote: Direction) -> None:
        """Count a stored vote, new or replaced."""
        self._votes.labels(VOTES[vote]).inc()

    def task_started(self, name: str) -> None:
        self._task_failures.labels(name)

    def task_failed(self, name: str) -> None:
        self._task_failures.labels(name).inc()

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format requested by the `Accept` header, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


VOTES: dict[Direction, str] = {"up": "up", "down": "down", "": "none"}


class OnlyDirect:
    """Hides the metrics from requests through a proxy: readers use one, Prometheus does not.

    Must run before the middleware that removes headers of untrusted proxies.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            names = {name for name, _ in scope["headers"]}
            if names & {b"forwarded", b"x-forwarded-for"}:
                scope = {**scope, "path": "/none", "raw_path": b"/none"}
        await self.app(scope, receive, send)
