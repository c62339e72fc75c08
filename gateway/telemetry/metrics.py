"""The gateway's Prometheus metrics: `GET /metrics`.

Labels are aliases and teams, never keys. Names and units follow
https://prometheus.io/docs/practices/naming/; docs/reference/metrics.md explains each metric.
"""

import os
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Literal, NamedTuple, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from core import threads
from gateway.telemetry.answer_statistics import Verdict
from gateway.telemetry.names import storable

PREFIX = "askdocs_gateway_"
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OTHER = "other"
# 100 pairs of alias and team are some 9,000 series. More would slow down each scrape, so further
# teams are counted together.
PAIRS = 100
LEFT = 499  # the client disconnected before the end; nginx's status for it

ADMISSION = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
TTFT = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 20, 30, 60)
TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)
DURATION = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

# The creation time of each series would double the output; rate() does not need it.
disable_created_metrics()  # type: ignore[no-untyped-call]


Outcome = Literal["answered", "cautious", "refused", "failed"]


class Exposition(NamedTuple):
    """The body of `GET /metrics` and its content type."""

    body: bytes
    content_type: str


class Metrics:
    """The metrics of one worker process; create one per process.

    With `PROMETHEUS_MULTIPROC_DIR` set (see `share`), every worker keeps its numbers in files
    there, and `expose` returns those of all workers, whichever worker answers.
    """

    def __init__(self) -> None:
        self._shared = os.environ.get(DIRECTORY) if values.ValueClass._multiprocess else None
        self._registry = CollectorRegistry()
        if self._shared:
            # An earlier process with this ID may have died in the middle of requests.
            _drop_gauges(os.getpid(), Path(self._shared))
            self._registry.register(_Workers(Path(self._shared)))
        own = None if self._shared else self._registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=own)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(PREFIX + name, text, ("alias", "team"), registry=own, buckets=buckets)

        pair = ("alias", "team")
        self._requests = counter(
            "requests_total",
            "Finished requests, by HTTP status; 499: the client disconnected.",
            *("endpoint", "alias", "team", "status"),
        )
        self._tokens = counter(
            "tokens_total",
            "Tokens, by kind: prompt or completion. Model: the one that answered.",
            *("alias", "model", "team", "kind"),
        )
        self._cached = counter(
            "cached_tokens_total",
            "Prompt tokens that the engine reports as cached.",
            *("alias", "model", "team"),
        )
        self._admission = histogram(
            "admission_seconds",
            "Time from the request until it is sent to a model: body, key, limits, pages.",
            ADMISSION,
        )
        self._ttft = histogram(
            "time_to_first_token_seconds",
            "Time from the request to the first event of a streamed answer.",
            TTFT,
        )
        self._gap = histogram(
            "inter_token_latency_seconds",
            "Gaps between arrivals of a streamed answer; an arrival has one or more tokens.",
            TOKEN,
        )
        self._mean = histogram(
            "time_per_output_token_seconds",
            "Mean of a streamed answer: seconds after its first token, by tokens after the first.",
            TOKEN,
        )
        self._duration = histogram(
            "request_duration_seconds",
            "Time from an admitted request to its last byte.",
            DURATION,
        )
        self._in_flight = Gauge(
            PREFIX + "requests_in_flight",
            "Admitted requests in progress.",
            pair,
            registry=own,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            PREFIX + "requests_waiting",
            "Admitted requests without a first byte from a model: the queue.",
            pair,
            registry=own,
            multiprocess_mode="livesum",
        )
        self._answers = counter(
            "answers_total",
            "Chat answers, by outcome: answered, cautious, refused, failed. Model: the one that "
            "answered, or the first candidate.",
            *("alias", "model", "outcome"),
        )
        self._claims = counter(
            "claims_total",
            "Sentences of generative answers, by verdict of the check.",
            *("alias", "model", "verdict"),
        )
        self._votes = counter(
            "votes_total", "Votes of readers on answers.", *("alias", "model", "vote")
        )
        self._limited = counter(
            "limit_rejections_total",
            "Requests rejected with 429, by kind of limit.",
            *("alias", "team", "kind"),
        )
        self._fallbacks = counter(
            "fallbacks_total",
            "Requests passed to the next model, by reason.",
            *("alias", "source", "target", "reason"),
        )
        self._broken = counter(
            "broken_answers_total",
            "Answers broken off by a model's server, by outcome: continued, ended.",
            *("alias", "model", "outcome"),
        )
        self._upstream_errors = counter(
            "upstream_errors_total", "Failures of a model's server.", "model", "reason"
        )
        self._circuit = Gauge(
            PREFIX + "circuit_state",
            "Circuit breaker of a model: 0 closed (in use), 2 open (skipped, except for single"
            " trial requests). The worst of all workers.",
            ("model",),
            registry=own,
            multiprocess_mode="livemax",
        )

        def engine(name: str, text: str) -> Gauge:
            # Every worker asks the same engines: the most recent value applies.
            return Gauge(
                PREFIX + name,
                text,
                ("model",),
                registry=own,
                multiprocess_mode="livemostrecent",
            )

        self._engine_asked = engine(
            "engine_prompt_tokens",
            "Prompt tokens that the engine received since its start, as it reports.",
        )
        self._engine_found = engine(
            "engine_cached_tokens", "Prompt tokens found in the engine's prefix cache."
        )
        self._engine_ratio = engine(
            "engine_cache_hit_ratio", "Share of prompt tokens found in the engine's prefix cache."
        )
        self._local_decisions = counter(
            "limiter_local_decisions_total",
            "Requests whose limits one worker decided alone, without Redis.",
        )
        self._local = Gauge(
            PREFIX + "limiter_local",
            "1 while a worker decides limits alone because Redis is unavailable, else 0.",
            registry=own,
            multiprocess_mode="livemax",
        )
        self._usage_failures = counter(
            "usage_flush_failures_total", "Writes of usage to the database that failed."
        )
        self._task_failures = counter(
            "task_failures_total",
            "Failures of background work, which restarts after each.",
            "task",
        )
        self._log_drops = counter(
            "access_log_dropped_lines_total", "Lines of the access log that were not written."
        )
        self._series: dict[tuple[str, str], _Series] = {}
        self._outcomes: dict[tuple[str, str, Outcome], Counter] = {}

    def request(self, endpoint: str) -> "Request":
        """Measures a new request. `endpoint` is its route's name, never a value that a client
        chose."""
        return Request(self, endpoint)

    def answered(self, alias: str, model: str, outcome: Outcome) -> None:
        """Count a finished chat answer."""
        if (alias, model, outcome) not in self._outcomes:
            # Create all series at once: Prometheus misses the increase of a series that starts at
            # one, and refusals and votes are rare.
            for each in get_args(Outcome):
                counter = self._answers.labels(storable(alias), storable(model), each)
                self._outcomes[alias, model, each] = counter
            for vote in ("up", "down"):
                self._votes.labels(storable(alias), storable(model), vote)
        self._outcomes[alias, model, outcome].inc()

    def checked(self, alias: str, model: str, verdicts: Sequence[Verdict]) -> None:
        """Count the verdicts on the claims of a generative answer."""
        if verdicts:
            alias, model = storable(alias), storable(model)
            for verdict in get_args(Verdict):
                self._claims.labels(alias, model, verdict).inc(verdicts.count(verdict))

    def voted(self, alias: str, model: str, vote: str) -> None:
        """Count a reader's vote, `up` or `down`."""
        self._votes.labels(storable(alias), storable(model), vote).inc()

    def upstream_error(self, model: str, reason: str) -> None:
        self._upstream_errors.labels(model, reason).inc()

    def circuit(self, model: str, state: int) -> None:
        """`state`: 0 closed, 2 open. A trial leaves it open: for alerts both are one state."""
        self._circuit.labels(model).set(state)

    def prefix_cache(self, model: str, asked: int, cached: int) -> None:
        """Record the engine's counts for `model`: prompt tokens, and cached ones."""
        self._engine_asked.labels(model).set(asked)
        self._engine_found.labels(model).set(cached)
        self._engine_ratio.labels(model).set(cached / asked if asked else 0)

    def limiter_local(self, is_local: bool) -> None:
        self._local.set(is_local)

    def decided_locally(self) -> None:
        self._local_decisions.inc()

    def usage_flush_failed(self) -> None:
        self._usage_failures.inc()

    def task_started(self, name: str) -> None:
        """Create the series early: Prometheus misses the increase of a series that starts at
        one."""
        self._task_failures.labels(name)

    def task_failed(self, name: str) -> None:
        self._task_failures.labels(name).inc()

    def log_lines_dropped(self, lines: int) -> None:
        self._log_drops.inc(lines)

    def add(self, collector: Collector) -> None:
        """Expose `collector`, too: its values come only from the worker that answers the scrape."""
        self._registry.register(collector)

    async def expose(self, accept: str = "") -> Exposition:
        """All metrics of all workers, in the format that the `Accept` header requests.

        Prometheus' text format by default, OpenMetrics on request.
        """
        encode, content_type = choose_encoder(accept)
        # In a thread: with many teams this takes tens of milliseconds, which would block streams.
        return Exposition(await threads.files(encode, self._registry), content_type)

    def _of(self, alias: str, team: str) -> "_Series":
        series = self._series.get((alias, team))
        if series is None:
            if len(self._series) >= PAIRS and team != OTHER:
                return self._of(alias, OTHER)
            labels = storable(alias), storable(team)  # one invalid label breaks every scrape
            series = self._series[alias, team] = _Series(self, *labels)
        return series


def _observe_all(histogram: Histogram, counts: list[int], total: float) -> None:
    """Adds many values at once: `counts` per bucket, `total` is their sum.

    prometheus_client can only add values one by one: 0.6 ms for the gaps of 200 tokens.
    """
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(count)
    histogram._sum.inc(total)


class _Series:
    """The series of one alias and team, looked up once: `labels()` costs a microsecond.

    Each is created on first use: a refused request needs no histograms.
    """

    def __init__(self, metrics: Metrics, alias: str, team: str) -> None:
        self._metrics = metrics
        self.alias = alias
        self.team = team
        self._ended: dict[tuple[str, int], Counter] = {}
        self._tokens: dict[str, tuple[Counter, Counter, Counter]] = {}

    @cached_property
    def in_flight(self) -> Gauge:
        return self._metrics._in_flight.labels(self.alias, self.team)

    @cached_property
    def waiting(self) -> Gauge:
        return self._metrics._waiting.labels(self.alias, self.team)

    @cached_property
    def admission(self) -> Histogram:
        return self._metrics._admission.labels(self.alias, self.team)

    @cached_property
    def ttft(self) -> Histogram:
        return self._metrics._ttft.labels(self.alias, self.team)

    @cached_property
    def gap(self) -> Histogram:
        return self._metrics._gap.labels(self.alias, self.team)

    @cached_property
    def mean(self) -> Histogram:
        return self._metrics._mean.labels(self.alias, self.team)

    @cached_property
    def duration(self) -> Histogram:
        return self._metrics._duration.labels(self.alias, self.team)

    def ended(self, endpoint: str, status: int) -> Counter:
        counter = self._ended.get((endpoint, status))
        if counter is None:
            counter = self._metrics._requests.labels(endpoint, self.alias, self.team, status)
            self._ended[endpoint, status] = counter
        return counter

    def tokens(self, model: str) -> tuple[Counter, Counter, Counter]:
        """Counters of prompt tokens, answer tokens, and cached prompt tokens."""
        counters = self._tokens.get(model)
        if counters is None:
            of = self._metrics._tokens.labels
            model = storable(model)
            counters = (
                of(self.alias, model, self.team, "prompt"),
                of(self.alias, model, self.team, "completion"),
                self._metrics._cached.labels(self.alias, model, self.team),
            )
            self._tokens[model] = counters
        return counters


class Request:
    """Measures one request. Always call `end`; call the other methods as their stage is reached.

    Set `alias` and `team` as soon as they are known, before `admitted`. `alias` must be a name in
    the gateway's tables: a name that a client chose would create a permanent series.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_endpoint",
        "_first",
        "_gaps",
        "_last",
        "_metrics",
        "_series",
        "alias",
        "team",
    )

    def __init__(self, metrics: Metrics, endpoint: str) -> None:
        self._began = perf_counter()
        self._metrics = metrics
        self._endpoint = endpoint
        self._series: _Series | None = None
        self._first = 0.0
        self._last = 0.0
        self._ended = 0.0
        self._gaps: list[int] | None = None
        self.alias = ""
        self.team = ""

    def admitted(self) -> None:
        """Key and limits allow the request; it goes to a model now."""
        series = self._series = self._metrics._of(self.alias, self.team)
        series.admission.observe(perf_counter() - self._began)
        series.in_flight.inc()
        series.waiting.inc()

    def first_byte(self) -> None:
        """A model has started to answer."""
        if not self._first:
            self._first = self._last = perf_counter()
            if self._series:
                self._series.waiting.dec()

    def chunk(self) -> None:
        """Record a chunk of a streamed answer, with one or more tokens.

        Gaps are gathered in a list, and added to the histogram at the end: at 10,000 chunks a
        second, single observations would take a tenth of a core.
        """
        if self._gaps is None:
            self.first_byte()
            self._gaps = [0] * (len(TOKEN) + 1)
            return
        now = perf_counter()
        self._gaps[bisect_left(TOKEN, now - self._last)] += 1
        self._last = now

    def limited(self, kind: str) -> None:
        """The request was refused: a limit of `kind` (rpm, tpm, max_parallel, monthly_tokens) is
        reached."""
        series = self._metrics._of(self.alias, self.team)
        self._metrics._limited.labels(series.alias, series.team, kind).inc()

    def fallback(self, source: str, target: str, reason: str) -> None:
        """The model `source` did not answer due to `reason`; `target` is next."""
        self._metrics._fallbacks.labels(self.alias, source, target, reason).inc()

    def broke_off(self, model: str, outcome: str) -> None:
        """The engine of `model` broke off; the answer was `continued` by another, or `ended`."""
        self._metrics._broken.labels(self.alias, model, outcome).inc()

    def end(
        self,
        status: int,
        model: str = "",
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cached_tokens: int = 0,
    ) -> None:
        """End the request. A second call has no effect.

        Args:
            status: the HTTP status that was sent; 499 (`LEFT`) if the client disconnected early.
            model: the model that answered.
            prompt_tokens: tokens of the prompt.
            completion_tokens: tokens of the answer.
            cached_tokens: tokens of the prompt that the engine had cached.
        """
        if self._ended:
            return
        self._ended = perf_counter()
        series = self._series or self._metrics._of(self.alias, self.team)
        series.ended(self._endpoint, status).inc()
        if self._series:
            series.duration.observe(self._ended - self._began)
            series.in_flight.dec()
            if not self._first:
                series.waiting.dec()
        if prompt_tokens or completion_tokens:
            prompt, completion, cached = series.tokens(model)
            prompt.inc(prompt_tokens)
            completion.inc(completion_tokens)
            cached.inc(cached_tokens)
        if self._gaps is not None:
            series.ttft.observe(self._first - self._began)
            # An answer in a single chunk has no pace, and a cut-off answer has a token count that
            # the client did not see.
            if completion_tokens > 1 and self._last > self._first and status != LEFT:
                series.mean.observe((self._last - self._first) / (completion_tokens - 1))
            if self._last > self._first:
                _observe_all(series.gap, self._gaps, self._last - self._first)

    @property
    def ttft(self) -> float | None:
        """Seconds to the first byte of the answer; None before that."""
        return self._first - self._began if self._first else None

    @property
    def duration(self) -> float:
        """Seconds from the start to the end of the request."""
        return (self._ended or perf_counter()) - self._began


def share(directory: Path) -> None:
    """Let the workers that this process starts keep their metrics in `directory`.

    Call it in the parent before the first worker starts. It deletes the numbers of an earlier run,
    so the directory must belong to this gateway alone.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()
    os.environ[DIRECTORY] = str(directory)


class _Workers(Collector):
    """The metrics of all workers, from their files.

    Counters of dead workers remain part of the sums; their gauges are dropped.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> list[Metric]:
        for file in self._directory.glob("gauge_live*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not _is_alive(pid):
                _drop_gauges(pid, self._directory)
        # A newly created file, or that of a process killed at that moment, is empty, and breaks the
        # library's reader.
        files = [str(f) for f in sorted(self._directory.glob("*.db")) if _size(f)]
        return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _drop_gauges(pid: int, directory: Path) -> None:
    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
