"""What the metrics say of engines, wikis and disk: read each time again."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from core.errors import AskdocsError
from core.settings import load
from gateway.routing.registry import Fleet
from gateway.runtime.index_keeper import opening
from gateway.settings import GatewaySettings
from gateway.telemetry.health import HealthCollector
from gateway.telemetry.metrics import PREFIX, Metrics
from tests.speaking import Handler
from wiki.index.index import Index
from wiki.sources.spec import Spec
from wiki.sources.sync import sync


class Listing(Handler):
    """An engine that only says what it serves."""

    protocol_version = "HTTP/1.0"  # no connection outlives it

    def do_GET(self) -> None:
        self.json(200, {"data": [{"id": "small"}]})


@contextmanager
def engine() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    thread = threading.Thread(target=partial(server.serve_forever, 0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def samples(metrics: Metrics, condition: HealthCollector) -> dict[tuple[str, str], float]:
    """By name without its prefix, and what it is about."""
    await condition.look()
    text = (await metrics.expose()).body.decode()
    return {
        (s.name.removeprefix(PREFIX), s.labels.get("source") or s.labels.get("model", "")): s.value
        for family in parse(text)
        for s in family.samples
    }


async def test_engines_wikis_and_disk_are_read_at_each_look(tmp_path: Path) -> None:
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    (wiki / "coffee.md").write_text("# Coffee\n\nThe machine stands on floor 3.\n")
    spec = Spec.named(str(wiki), site_url="http://wiki/")
    with ExitStack() as stack:
        url = stack.enter_context(engine())
        settings = load(
            GatewaySettings,
            env={"ASKDOCS_GATEWAY_MODELS": json.dumps({"spare": {"url": url}})},
            index=tmp_path / "state" / "index.db",
            engine_url="http://127.0.0.1:1/v1",
        )
        with opening(settings)():
            pass
        fleet, index, metrics = Fleet(settings), Index(settings.index), Metrics()
        condition = HealthCollector(fleet, index, settings.index.parent, settings.index.parent)
        metrics.add(condition)
        seen = await samples(metrics, condition)
        assert (seen["engine_up", "base"], seen["engine_up", "spare"]) == (0, 1)
        assert 0 < seen["disk_free_bytes", ""] < seen["disk_size_bytes", ""]
        assert not [name for name, _ in seen if name.startswith("index_")]

        sync(spec.open(), opening(settings), spec=spec.stored)
        (stored,) = index.sources()
        assert stored.synced is not None
        seen = await samples(metrics, condition)
        assert seen["index_pages", stored.name] == 1
        assert seen["index_synced_timestamp_seconds", stored.name] == stored.synced.timestamp()

        assert seen["index_unread_pages", stored.name] == 0
        assert ("index_failing_since_timestamp_seconds", stored.name) not in seen

        (wiki / "tea.md").write_bytes(b"\xff")
        sync(spec.open(), opening(settings), spec=spec.stored)
        seen = await samples(metrics, condition)
        assert seen["index_unread_pages", stored.name] == 1
        since = seen["index_failing_since_timestamp_seconds", stored.name]
        wiki.rename(tmp_path / "away")
        with pytest.raises(AskdocsError, match="does not exist"):
            sync(spec.open(), opening(settings), spec=spec.stored)
        seen = await samples(metrics, condition)
        assert seen["index_failing_since_timestamp_seconds", stored.name] == since
        (failing,) = [one.spec["failing"] for one in index.sources()]
        assert "does not exist" in failing["why"]
        (tmp_path / "away").rename(wiki)
        (wiki / "tea.md").unlink()
        sync(spec.open(), opening(settings), spec=spec.stored)
        seen = await samples(metrics, condition)
        assert ("index_failing_since_timestamp_seconds", stored.name) not in seen

        with opening(settings)() as writer:
            writer.remove_source(stored.name)
        seen = await samples(metrics, condition)
        assert not [name for name, _ in seen if name.startswith("index_")]
    seen = await samples(metrics, condition)
    assert seen["engine_up", "spare"] == 0
    await fleet.close()
    index.close()


async def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    settings = load(GatewaySettings, env={}, index=tmp_path / "state" / "index.db")
    with opening(settings)():
        pass
    fleet, index, metrics = Fleet(settings), Index(settings.index), Metrics()
    metrics.add(condition := HealthCollector(fleet, index, tmp_path / "gone", tmp_path))
    assert not [name for name, _ in await samples(metrics, condition) if name.startswith("disk")]
    await fleet.close()
    index.close()
