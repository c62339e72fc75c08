"""Measures a gateway's cost: requests per second, latency, CPU and memory of several in one run.

Rounds interleave the systems, so that a busy minute of the machine affects all of them; medians
over the rounds are reported.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from core.errors import AskdocsError
from research.bench.systems import ROOT, SYSTEMS, Started, System, engine, running

Say = Callable[[str], None]

PACED_STREAMS = (200, 500)
PACED_CHUNKS = 100
GAP_S = 0.02


@dataclass(frozen=True)
class Point:
    """A system with a number of clients, each sending one request after the other."""

    system: str
    clients: int
    stream: bool
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_1000: float
    rss_mb: float
    errors: int


@dataclass(frozen=True)
class Paced:
    """A system with a number of open streams, whose chunks come 20 ms apart."""

    system: str
    streams: int
    gap_p50_ms: float
    """Growth of a gap between two chunks, from engine to client."""
    gap_p99_ms: float
    transit_p50_ms: float
    """Latency from engine to client."""
    transit_p99_ms: float
    cpu_s_per_1000: float
    """Per 1,000 chunks."""
    errors: int


@dataclass(frozen=True)
class Target:
    name: str
    value: float
    target: str
    met: bool


@dataclass(frozen=True)
class GatewayReport:
    machine: dict[str, Any]
    points: list[Point]
    paced: list[Paced]
    targets: list[Target]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


# The Pythons of systems that are installed in an environment of their own.
Pythons = Mapping[str, Path]


def run(
    names: Sequence[str],
    clients: Sequence[int],
    seconds: float,
    rounds: int,
    pythons: Pythons,
    say: Say,
) -> GatewayReport:
    """Measure. `say` receives a line for each step.

    Raises:
        AskdocsError: an unknown system, or one that does not start.
    """
    chosen = choose(names)
    points = _closed(chosen, clients, seconds, rounds, pythons, say)
    paced = _paced([system for system in chosen if system.in_paced], rounds, pythons, say)
    return GatewayReport(machine(), points, paced, targets(points, paced))


def choose(names: Sequence[str]) -> list[System]:
    """The systems with these names; all if there are none. Raises AskdocsError."""
    known = {system.name: system for system in SYSTEMS}
    for name in names:
        if name not in known:
            raise AskdocsError(f"{name!r} is not a system; the systems are {', '.join(known)}")
    return [known[name] for name in names or known]


def machine() -> dict[str, Any]:
    """Facts on which the numbers depend."""
    packages = ("uvicorn", "uvloop", "httptools")
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
        **{name: version(name) for name in packages},
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    except OSError:
        pass
    return platform.processor()


def load(started: Started, *options: str) -> dict[str, Any]:
    """A run of the load generator, in its own process. Raises AskdocsError."""
    command = [sys.executable, "-m", "research.bench.load", "--url", started.url]
    done = subprocess.run(
        [*command, "--model", started.model, *options],
        env={**os.environ, "BENCH_KEY": started.key, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AskdocsError(f"the load generator failed:\n{done.stderr[-1500:]}")
    return dict(json.loads(done.stdout))


def _closed(
    chosen: Sequence[System],
    clients: Sequence[int],
    seconds: float,
    rounds: int,
    pythons: Pythons,
    say: Say,
) -> list[Point]:
    seen: dict[tuple[str, int, bool], list[Point]] = {}
    with ExitStack() as stack:
        upstream = stack.enter_context(engine())
        started = _start(stack, chosen, upstream, pythons, say)
        for number in range(1, rounds + 1):
            for count in clients:
                for stream in (False, True):
                    for name, started_system in started.items():
                        point = _point(name, started_system, count, stream, seconds)
                        seen.setdefault((name, count, stream), []).append(point)
                        say(
                            f"round {number}/{rounds}  {name:15}  {count:2} clients "
                            f" {'streamed' if stream else 'plain   '}  {point.rps:8,.0f} rps "
                            f" p50 {point.p50_ms:.2f} ms"
                        )
    return [_median(points) for points in seen.values()]


def _start(
    stack: ExitStack, chosen: Sequence[System], upstream: str, pythons: Pythons, say: Say
) -> dict[str, Started]:
    started = {}
    for system in chosen:
        say(f"starting {system.name}: {system.what}")
        python = pythons.get(system.name, Path(sys.executable))
        started[system.name] = stack.enter_context(running(system, upstream, python))
    return started


def _point(name: str, system: Started, clients: int, stream: bool, seconds: float) -> Point:
    before = system.cpu()
    options = ["--clients", str(clients), "--seconds", str(seconds)]
    seen = load(system, *options, *(["--stream"] if stream else []))
    cpu = (system.cpu() - before) / max(seen["completed"], 1) * 1000
    times = (seen["rps"], seen["p50_ms"], seen["p99_ms"])
    return Point(name, clients, stream, *times, cpu, system.rss() / 2**20, seen["errors"])


def _paced(chosen: Sequence[System], rounds: int, pythons: Pythons, say: Say) -> list[Paced]:
    seen: dict[tuple[str, int], list[Paced]] = {}
    with ExitStack() as stack:
        upstream = stack.enter_context(engine("--gap", str(GAP_S), "--chunks", str(PACED_CHUNKS)))
        started = _start(stack, chosen, upstream, pythons, say)
        for number in range(1, rounds + 1):
            for streams in PACED_STREAMS:
                for name, started_system in started.items():
                    point = _pace(name, started_system, streams)
                    seen.setdefault((name, streams), []).append(point)
                    say(
                        f"round {number}/{rounds}  {name:15}  {streams} paced streams "
                        f" gaps grow by p99 {point.gap_p99_ms:.2f} ms"
                    )
    return [_median(points) for points in seen.values()]


def _pace(name: str, system: Started, streams: int) -> Paced:
    before = system.cpu()
    seen = load(system, "--clients", str(streams), "--stream", "--paced")
    cpu = (system.cpu() - before) / max(seen["chunks"], 1) * 1000
    gaps = (seen["gap_p50_ms"], seen["gap_p99_ms"])
    transit = (seen["transit_p50_ms"], seen["transit_p99_ms"])
    return Paced(name, streams, *gaps, *transit, cpu, seen["errors"])


P = TypeVar("P", Point, Paced)


def _median(points: list[P]) -> P:
    """A point with the median of each number; errors are summed."""
    fields = {}
    for key, value in asdict(points[0]).items():
        values = [getattr(point, key) for point in points]
        if key == "errors":
            fields[key] = sum(values)
        else:
            fields[key] = statistics.median(values) if isinstance(value, float) else value
    return type(points[0])(**fields)


def targets(points: Sequence[Point], paced: Sequence[Paced]) -> list[Target]:
    """The gateway's targets, as far as its rivals were measured, too."""
    at = {(point.system, point.clients, point.stream): point for point in points}
    results = []
    for (name, clients, stream), ours in at.items():
        if name != "askdocs":
            continue
        if stream and clients > 1:
            for rival, factor in (("litellm", 40.0), ("vllm-router", 1.0)):
                if other := at.get((rival, clients, True)):
                    ratio = ours.rps / other.rps if other.rps else 0.0
                    text = f"streamed throughput, times {rival}'s, {clients} clients"
                    results.append(Target(text, ratio, f">= {factor:g}", ratio >= factor))
        if clients == 1 and (none := at.get(("nothing", 1, stream))):
            added = ours.p50_ms - none.p50_ms
            text = f"added p50 in ms, {'streamed' if stream else 'plain'}, 1 client"
            results.append(Target(text, added, "<= 0.5", added <= 0.5))
    late = {(row.system, row.streams): row.gap_p99_ms for row in paced}
    if (top := ("askdocs", max(PACED_STREAMS))) in late:
        added = late[top] - late.get(("nothing", top[1]), 0.0)
        text = f"added inter-token delay, p99 in ms, {top[1]} paced streams"
        results.append(Target(text, added, "< 10", added < 10))
    return results


def table(report: GatewayReport) -> str:
    """The report in Markdown."""
    lines = [
        "| system | clients | answers | requests/s | p50, ms | p99, ms | CPU s / 1,000 | MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in sorted(report.points, key=lambda p: (p.clients, p.stream)):
        how = "streamed" if point.stream else "plain"
        cpu = f"{point.cpu_s_per_1000:.3f} | {point.rss_mb:.0f}" if point.rss_mb else "- | -"
        wrong = f" ({point.errors} errors)" if point.errors else ""
        lines.append(
            f"| {point.system}{wrong} | {point.clients} | {how} | {point.rps:,.0f}"
            f" | {point.p50_ms:.2f} | {point.p99_ms:.2f} | {cpu} |"
        )
    lines += [
        "",
        "| system | paced streams | gap grows by p50 / p99, ms | transit p50 / p99, ms"
        " | CPU s / 1,000 chunks |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(report.paced, key=lambda p: p.streams):
        wrong = f" ({row.errors} errors)" if row.errors else ""
        cpu = f"{row.cpu_s_per_1000:.3f}" if row.cpu_s_per_1000 else "-"
        lines.append(
            f"| {row.system}{wrong} | {row.streams} | {row.gap_p50_ms:.2f} /"
            f" {row.gap_p99_ms:.2f} | {row.transit_p50_ms:.2f} / {row.transit_p99_ms:.2f} | {cpu} |"
        )
    lines += ["", "| target | measured | wanted | |", "|---|---|---|---|"]
    for target in report.targets:
        met = "met" if target.met else "MISSED"
        lines.append(f"| {target.name} | {target.value:.2f} | {target.target} | {met} |")
    return "\n".join(lines)
