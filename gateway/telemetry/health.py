"""Health of engines, wikis, disk and other processes' tasks, collected at each scrape."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from core import threads
from core.errors import AskdocsError
from core.tasks import Failed, failures_in
from gateway.routing.registry import Fleet
from gateway.telemetry.metrics import PREFIX
from gateway.telemetry.names import storable
from wiki.index.index import Index
from wiki.sources.remembered import FAILING, SINCE
from wiki.sources.spec import SERVICES


@dataclass(frozen=True)
class SourceHealth:
    """The state of a source in the index."""

    name: str
    kind: str
    """`folder` or `site`; only sites are synced automatically."""
    pages: int
    synced: float | None
    """Unix time of the last completed sync."""
    unread: int
    """The number of pages that the last sync could not read."""
    failing: float | None
    """Unix time since which some or all of its pages cannot be read."""


class HealthCollector(Collector):
    """Gauges that are not shared between workers: collected by the worker that serves the scrape.

    Call `look` first; values that could not be read are omitted until the next call.
    """

    def __init__(self, fleet: Fleet, index: Index, folder: Path, home: Path) -> None:
        """`folder` is the folder of the index; `home` is the state folder of all processes."""
        self._fleet = fleet
        self._index = index
        self._folder = folder
        self._home = home
        self._engines: dict[str, bool] = {}
        self._wikis: list[SourceHealth] = []
        self._disk: tuple[int, int] | None = None
        self._failures: list[Failed] = []

    async def look(self) -> None:
        """Collect the values; takes at most three seconds, as engines are asked concurrently."""
        self._engines = await self._fleet.ready()
        await threads.files(self._read)

    def _read(self) -> None:
        self._wikis, self._disk = [], None
        self._failures = failures_in(self._home)
        with suppress(AskdocsError):
            self._wikis = [
                SourceHealth(
                    stored.name,
                    "site" if stored.spec.get("kind") in SERVICES else "folder",
                    self._index.count(stored.name),
                    stored.synced.timestamp() if stored.synced else None,
                    len(stored.problems),
                    _failing(stored.spec),
                )
                for stored in self._index.sources()
            ]
        with suppress(OSError):
            usage = shutil.disk_usage(self._folder)
            self._disk = (usage.total, usage.free)

    def collect(self) -> Iterator[Metric]:
        up = _gauge("engine_up", "1 while the engine of a model answers, else 0.", "model")
        for model, is_up in self._engines.items():
            up.add_metric([model], is_up)
        yield up
        synced = _gauge(
            "index_synced_timestamp_seconds",
            "Unix time of a wiki's last completed sync.",
            *("source", "kind"),
        )
        pages = _gauge("index_pages", "Pages of a wiki in the index.", "source", "kind")
        for wiki in self._wikis:
            pages.add_metric([wiki.name, wiki.kind], wiki.pages)
            if wiki.synced is not None:
                synced.add_metric([wiki.name, wiki.kind], wiki.synced)
        unread = _gauge(
            "index_unread_pages",
            "Pages of a wiki that the last sync could not read.",
            *("source", "kind"),
        )
        failing = _gauge(
            "index_failing_since_timestamp_seconds",
            "Unix time since which a wiki, or a page of it, cannot be read.",
            *("source", "kind"),
        )
        for wiki in self._wikis:
            unread.add_metric([wiki.name, wiki.kind], wiki.unread)
            if wiki.failing is not None:
                failing.add_metric([wiki.name, wiki.kind], wiki.failing)
        yield synced
        yield pages
        yield unread
        yield failing
        failed = CounterMetricFamily(
            PREFIX + "process_task_failures",
            "Failures of background work in processes without metrics; it restarts after each.",
            labels=("process", "task"),
        )
        for found in self._failures:
            failed.add_metric([found.process, storable(found.task)], found.failures)
        yield failed
        if self._disk:
            total, free = self._disk
            size = _gauge("disk_size_bytes", "Size of the disk that holds the state.")
            size.add_metric([], total)
            yield size
            left = _gauge("disk_free_bytes", "Free space that the gateway may use.")
            left.add_metric([], free)
            yield left


def _failing(spec: Mapping[str, Any]) -> float | None:
    times = [*spec.get(SINCE, {}).values(), spec.get(FAILING, {}).get("since")]
    return min(
        (datetime.fromisoformat(start).timestamp() for start in times if start), default=None
    )


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)
