"""Load like that of readers: questions at a rate for minutes, and the highest sustainable rate.

The engine is `research.bench.gpu`, which defines how long each answer takes on a GPU. Any longer
wait is *added* by widget and gateway, and by everything that shares their cores, including the
stand-in and the load generator. The system `nothing` measures the latter two alone.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from askdocs.capacity.arrivals import percentile
from core.errors import AskdocsError
from research.bench import gpu
from research.bench.gateway import machine
from research.bench.systems import (
    ROOT,
    SYSTEMS,
    Started,
    System,
    box,
    engine,
    running,
    started_redis,
)
from research.bench.upstream import MODEL
from wiki.index.index import Index

Say = Callable[[str], None]

TARGET_MS = 50.0  # p99 of the added time
# The search runs without pages, like a stock proxy; `askdocs-docs` with pages, like readers.
SYSTEM_NAMES = ("nothing", "askdocs", "askdocs-docs", "litellm")
FINE = 3  # halvings of the last step of a search, which ends within 9 % of the rate
EMBEDDING_S = 600.0
SHORTEST_HEADING = 12  # characters: "Options" is not a question


@dataclass(frozen=True)
class Wait:
    """A waiting time of readers, in milliseconds."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Steady:
    """Results of questions at a rate."""

    system: str
    rate: float
    seconds: float
    """From the first question to the last answer."""
    questions: int
    answered: int
    refused: int
    errors: int
    error: str
    """The first error."""
    most_open: int
    """Answers in progress at the same time."""
    words: Wait
    """From the question to the first token."""
    added_words: Wait
    """The part of it that the engine did not cause."""
    added_end: Wait
    """The same for the whole answer."""
    late_p99_ms: float
    """Delay in asking questions; it counts as added."""
    cpu_ms: dict[str, float]
    """CPU milliseconds per question, by program."""
    rss_mb: dict[str, float]

    @property
    def worst(self) -> float:
        """The relevant p99: the larger of first token and end."""
        return max(self.added_words.p99_ms, self.added_end.p99_ms)

    @property
    def goes_well(self) -> bool:
        return not self.errors and self.questions > 0 and self.worst < TARGET_MS


@dataclass(frozen=True)
class Highest:
    """The highest rate at which a system's added p99 stays below the target."""

    system: str
    rate: float
    """0: not even the lowest rate tried."""
    tried: list[Steady]


@dataclass(frozen=True)
class SustainedReport:
    machine: dict[str, Any]
    steady: list[Steady]
    highest: list[Highest]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @property
    def errors(self) -> int:
        """Errors under steady load: a search provokes failures."""
        return sum(result.errors for result in self.steady)


@dataclass
class Bench:
    """The parts of a run."""

    questions: Path
    """A file with a JSON list of questions."""
    upstream: Started
    say: Say
    number: int = 1
    """Number of the next question, unique in the run."""

    def steady(
        self, name: str, system: Started, rate: float, seconds: float, parts: Mapping[str, Started]
    ) -> Steady:
        """Ask at this rate. `parts` are the programs whose CPU time is counted."""
        before = {part: process.cpu() for part, process in parts.items()}
        seen = self._arrivals(system, rate, seconds)
        answers: list[tuple[int, str, float, float]] = seen["answers"]
        self.number += len(answers)
        count = max(len(answers), 1)
        cpu = {
            part: (process.cpu() - before[part]) * 1e3 / count for part, process in parts.items()
        }
        cpu["readers"] = seen["cpu_s"] * 1e3 / count
        planned = timings(self.upstream.url)
        words, added_words, added_end = [], [], []
        for number, state, first, end in answers:
            if state != "answered" or number not in planned:
                continue
            timing = planned[number]
            words.append(first)
            added_words.append(first - timing.token)
            added_end.append(end - timing.last)
        states = [state for _, state, _, _ in answers]
        return Steady(
            system=name,
            rate=rate,
            seconds=seen["seconds"],
            questions=len(answers),
            answered=len(words),
            refused=states.count("refused"),
            errors=states.count("failed") + (1 if seen["error"] and "failed" not in states else 0),
            error=seen["error"],
            most_open=seen["most_open"],
            words=_wait(words),
            added_words=_wait(added_words),
            added_end=_wait(added_end),
            late_p99_ms=seen["late_p99_ms"],
            cpu_ms=cpu,
            rss_mb={part: process.rss() / 2**20 for part, process in parts.items()},
        )

    def highest(
        self, name: str, system: Started, start: float, seconds: float, parts: Mapping[str, Started]
    ) -> Highest:
        """Double the rate until it fails, then bisect the last step."""
        tried: list[Steady] = []

        def goes_well(rate: float) -> bool:
            for attempt in (1, 2):  # retry, in case the machine was busy for a second
                result = self.steady(name, system, rate, seconds, parts)
                tried.append(result)
                self.say(
                    f"{name:9} {rate:7.1f} questions/s  added p99 {result.worst:8.1f} ms "
                    f" {result.errors} errors  {'well' if result.goes_well else 'too much'}"
                    f"{'' if result.goes_well or attempt == 2 else ', once more'}"
                )
                if result.goes_well:
                    return True
            return False

        good, rate = 0.0, start
        while goes_well(rate):
            good, rate = rate, rate * 2
        bad = rate
        while not good and bad > start / 8:  # it may be slower than the search's first rate
            rate = bad / 2
            good, bad = (rate, bad) if goes_well(rate) else (0.0, rate)
        for _ in range(FINE if good else 0):
            rate = (good * bad) ** 0.5
            good, bad = (rate, bad) if goes_well(rate) else (good, rate)
        return Highest(name, good, tried)

    def _arrivals(self, system: Started, rate: float, seconds: float) -> dict[str, Any]:
        options = ["--rate", str(rate), "--seconds", str(seconds), "--first", str(self.number)]
        options += [
            "--questions",
            str(self.questions),
            "--url",
            system.url,
            "--model",
            system.model,
        ]
        options += ["--box", system.url] if system.is_box else []
        with tempfile.TemporaryFile("w+") as output:
            asking = subprocess.Popen(
                [sys.executable, "-m", "askdocs.capacity.arrivals", *options],
                env={**os.environ, "BENCH_KEY": system.key, "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert asking.stderr is not None
            lines = []
            try:
                for line in asking.stderr:
                    lines.append(line)
                    self.say(line.rstrip())
                if asking.wait():
                    raise AskdocsError(f"the load generator failed:\n{''.join(lines)[-1500:]}")
            finally:
                asking.kill()
                asking.wait()
                asking.stderr.close()
            output.seek(0)
            return dict(json.load(output))


def run(
    docs: Path,
    rate: float,
    seconds: float,
    workers: int,
    warm_up: float,
    search: Sequence[str],
    search_seconds: float,
    litellm: Path,
    say: Say,
) -> SustainedReport:
    """Ask widget and gateway at `rate`, then search for the highest rate of each in `search`.

    `seconds` of 0 skip the first part, an empty `search` the second. For `warm_up` seconds the same
    questions are asked first without counting, to fill the gateway's caches of sections. `litellm`
    is the Python that has LiteLLM.

    Raises:
        AskdocsError: an unknown system, a wiki without questions, a program that does not start.
    """
    for name in search:
        if name not in SYSTEM_NAMES:
            known = ", ".join(SYSTEM_NAMES)
            raise AskdocsError(f"{name!r} is not a system; there are {known}")
    with tempfile.TemporaryDirectory(prefix="askdocs-bench-") as place, ExitStack() as stack:
        folder = Path(place)
        upstream = stack.enter_context(engine(module="research.bench.gpu"))
        questions = folder / "questions.json"
        bench = Bench(questions, Started(upstream, MODEL, "none", None), say)
        ours = stack.enter_context(_gateway(docs, upstream, workers, folder, say))
        questions.write_text(json.dumps(_headings(folder / "index.db")), encoding="utf-8")
        steady = []
        if seconds:
            steady = [_steady(bench, ours, rate, seconds, warm_up)]
        highest = []
        for name in search:
            with ExitStack() as system_stack:
                started = _system(system_stack, name, ours, upstream, litellm)
                parts = {} if name == "nothing" else {name: started}
                highest.append(bench.highest(name, started, 2.0, search_seconds, parts))
    return SustainedReport(machine(), steady, highest)


def _steady(bench: Bench, ours: Started, rate: float, seconds: float, warm_up: float) -> Steady:
    with box(ours) as widget:
        parts = {"widget": widget, "gateway": ours}
        if warm_up:
            bench.say(f"warming up for {warm_up:g} s")
            bench.steady("askdocs", widget, rate, warm_up, parts)
        bench.say(f"{rate:g} questions/s through widget and gateway for {seconds:g} s")
        result = bench.steady("askdocs", widget, rate, seconds, parts)
        bench.say(f"added p99 {result.worst:.1f} ms, {result.errors} errors")
        return result


@contextmanager
def _gateway(docs: Path, upstream: str, workers: int, folder: Path, say: Say) -> Iterator[Started]:
    """Our gateway with this wiki, once all of its pages are embedded."""
    system = next(known for known in SYSTEMS if known.name == "askdocs")
    variables = {
        "ASKDOCS_GATEWAY_DOCS": str(docs.absolute()),
        "ASKDOCS_GATEWAY_INDEX": str(folder / "index.db"),
        "ASKDOCS_GATEWAY_WORKERS": str(workers),
    }
    with ExitStack() as stack:
        if workers > 1 and shutil.which("redis-server"):
            variables["ASKDOCS_REDIS_URL"] = stack.enter_context(started_redis(folder))
        say(f"starting the gateway with {workers} worker{'s' if workers > 1 else ''}")
        ready = replace(system, variables=variables, model="base")
        ours = stack.enter_context(running(ready, upstream, Path(sys.executable)))
        until_embedded(folder / "index.db", say)
        yield ours


def _system(stack: ExitStack, name: str, ours: Started, upstream: str, litellm: Path) -> Started:
    if name in ("askdocs", "askdocs-docs"):
        return replace(ours, model="docs" if name == "askdocs-docs" else "base")
    system: System = next(known for known in SYSTEMS if known.name == name)
    return stack.enter_context(running(system, upstream, litellm))


def until_embedded(file: Path, say: Say) -> None:
    """Wait until the gateway has embedded its wiki. Raises AskdocsError: it does not."""
    index = Index(file)
    try:
        deadline = time.monotonic() + EMBEDDING_S
        reported = 0.0
        while (done := index.embedded()[1]) < index.size:
            if time.monotonic() > deadline:
                text = f"only {done} of {index.size} pages were embedded in {EMBEDDING_S:.0f} s"
                raise AskdocsError(text)
            if time.monotonic() > reported + 5:
                reported = time.monotonic()
                say(f"reading the wiki: {done} of {index.size} pages")
            time.sleep(0.2)
    finally:
        index.close()


def _headings(file: Path) -> list[str]:
    """The questions: the wiki's headings. Raises AskdocsError: there are none."""
    index = Index(file)
    try:
        headings = [s.heading for page in index.pages() for s in page.sections]
    finally:
        index.close()
    long = sorted({heading for heading in headings if len(heading) >= SHORTEST_HEADING})
    if not long:
        raise AskdocsError("the wiki has no headings to ask about: name another with --docs")
    return long


def timings(upstream: str) -> dict[int, gpu.Timing]:
    """The engine's planned times for each question."""
    url = f"{upstream.removesuffix('/v1')}/log"
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 (an address of ours)
        return {int(number): gpu.Timing(*timing) for number, timing in json.load(reply).items()}


def _wait(seconds: list[float]) -> Wait:
    return Wait(percentile(seconds, 0.5) * 1e3, percentile(seconds, 0.99) * 1e3)


def table(report: SustainedReport) -> str:
    """The report in Markdown."""
    lines = []
    for load in report.steady:
        cores = {part: ms * load.questions / load.seconds / 1e3 for part, ms in load.cpu_ms.items()}
        lines += [
            f"| {load.rate:g} questions/s for {load.seconds:.0f} s through widget and gateway | |",
            "|---|---|",
            f"| questions / answered / refused | {load.questions:,} / {load.answered:,} /"
            f" {load.refused:,} |",
            f"| errors | {load.errors:,} |",
            f"| answers under way, at most | {load.most_open:,} |",
            f"| time to first token, p50 / p99 | {_both(load.words)} |",
            f"| added to the time to first token, p50 / p99 | {_both(load.added_words)} |",
            f"| added to the whole answer, p50 / p99 | {_both(load.added_end)} |",
            f"| asked late, p99 | {load.late_p99_ms:.1f} ms |",
            *(
                f"| CPU of the {part} | {ms:.1f} ms a question, {cores[part]:.2f} cores |"
                for part, ms in load.cpu_ms.items()
            ),
            *(f"| memory of the {part} | {mb:.0f} MB |" for part, mb in load.rss_mb.items()),
            "",
        ]
    if report.highest:
        lines += [
            f"| without the widget | highest rate with p99 of what is added below {TARGET_MS:g} ms"
            " | added to the whole answer there, p50 / p99 | CPU ms a question |",
            "|---|---|---|---|",
        ]
    for best in report.highest:
        good = [result for result in best.tried if result.goes_well and result.rate == best.rate]
        added = _both(good[-1].added_end) if good else "-"
        cpu = f"{good[-1].cpu_ms.get(best.system, 0.0):.1f}" if good else "-"
        lines.append(f"| {best.system} | {best.rate:.1f} questions/s | {added} | {cpu} |")
    return "\n".join(lines).rstrip()


def _both(wait: Wait) -> str:
    return f"{wait.p50_ms:,.1f} / {wait.p99_ms:,.1f} ms"
