"""The status file: written by `up`; read by `status`, `ask` and scripts."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from askdocs.state.home import Home, read_json, write_json
from core.errors import AskdocsError

if TYPE_CHECKING:
    from gateway.routing.deployments import ArtefactKind
    from wiki.index.index import Index
    from wiki.index.rows import StoredSource


@dataclass(frozen=True)
class Running:
    """A running `up`."""

    pid: int
    started: str
    gateway: str
    """Base URL of the OpenAI-compatible API, with /v1."""
    widget: str
    site: str
    engine: str
    engine_url: str
    model: str
    docs: str
    page_budget: int
    processes: dict[str, int | None]
    ready: bool
    versions: "ArtefactKind"
    """How model versions are served: `gguf`, `merged` or `adapter`."""
    question: str = ""
    """A question that the wiki answered at the start."""
    degraded: list[str] = field(default_factory=list)
    """Background tasks of `up` that failed within the last two minutes and were restarted."""

    def save(self, home: Home) -> None:
        write_json(home.running, asdict(self))


def read(home: Home) -> Running:
    """Raises AskdocsError: no `up` runs in this home."""
    stored = read_json(home.running)
    if home.is_locked() and not stored:
        raise AskdocsError(f"askdocs is starting in {home.root}: wait until it says ready")
    if not stored or not home.is_locked():
        raise AskdocsError(
            f"askdocs does not run in {home.root}: start it with `askdocs up`,"
            " or name its --home DIR"
        )
    return Running(**stored)


def health(home: Home) -> dict[str, Any]:
    """The state of a running askdocs, as printed by `askdocs status --json`.

    Raises AskdocsError as `read`.
    """
    # `ask` does not need it: it takes 0.1 s.
    from askdocs.supervision import prefix_cache  # noqa: PLC0415

    running = read(home)
    gateway_root = running.gateway.removesuffix("/v1")
    gateway_ok = _answers(f"{gateway_root}/health")
    missing = _missing(gateway_root) if gateway_ok else "gateway"
    # Ask the gateway about the engine, or the engine itself if the gateway does not say.
    engine_ok = missing is None if missing in (None, "engine") else _serves(running.engine_url)
    parts = {
        "gateway": (running.gateway, gateway_ok),
        "widget": (running.widget, _answers(f"{running.widget}/health")),
        "engine": (running.engine_url, engine_ok),
    }
    if "site" in running.processes:  # we do not monitor a site on the web
        parts["site"] = (running.site, _answers(running.site))
    return {
        "running": True,
        "ready": running.ready and missing is None and all(ok for _, ok in parts.values()),
        "missing": missing,
        "degraded": running.degraded,
        "home": str(home.root),
        "pid": running.pid,
        "started": running.started,
        "model": running.model,
        "engine": running.engine,
        "docs": running.docs,
        "index": _index(home.index),
        "prefix_cache": prefix_cache.read(gateway_root) if gateway_ok else None,
        "page_budget": running.page_budget,
        "versions": _versions(home, running),
        "parts": {
            name: {
                "url": url,
                "healthy": ok,
                "pid": running.processes.get(name),
                "log": str(home.logs / f"{name}.log") if name in running.processes else None,
            }
            for name, (url, ok) in parts.items()
        },
    }


def _versions(home: Home, running: Running) -> dict[str, Any]:
    """The model versions being served or started, by name."""
    # `ask` does not need SQLAlchemy, which takes 0.1 s.
    from askdocs.state.database import opened  # noqa: PLC0415
    from core.database import Unreachable  # noqa: PLC0415
    from gateway.routing import deployments  # noqa: PLC0415

    try:
        with opened(home.root) as database:
            return {
                deployment.name: {
                    "state": deployment.state,
                    "message": deployment.message,
                    "url": deployment.url,
                    "pid": running.processes.get(deployment.name),
                }
                for deployment in deployments.every(database)
            }
    except Unreachable:
        return {}  # reported as `missing`


def _index(file: Path) -> dict[str, Any] | None:
    try:
        return index(file)
    except AskdocsError:
        return None  # `askdocs doctor` reports the problem


def index(file: Path) -> dict[str, Any]:
    """Facts about the search index.

    Raises AskdocsError: it does not exist, or is damaged.
    """
    # Importing numpy is slow.
    from wiki.index.index import Index  # noqa: PLC0415

    opened = Index(file)
    try:
        with opened.snapshot():
            model, embedded = opened.embedded()
            return {
                "file": str(file),
                "bytes": file.stat().st_size,
                "generation": opened.generation,
                "pages": opened.size,
                "vectors": {"model": model, "pages": embedded},
                "sources": [_source(opened, stored) for stored in opened.sources()],
            }
    finally:
        opened.close()


def _source(opened: "Index", stored: "StoredSource") -> dict[str, Any]:
    # They import numpy, too.
    from wiki.sources.excluded import excluded  # noqa: PLC0415
    from wiki.sources.remembered import FAILING, LEFT_OUT, SINCE  # noqa: PLC0415

    age = (datetime.now(UTC) - stored.synced).total_seconds() if stored.synced else None
    return {
        "name": stored.name,
        "kind": stored.spec.get("kind"),
        "site_url": stored.spec.get("site_url"),
        "pages": opened.count(stored.name),
        "synced": stored.synced.isoformat(timespec="seconds") if stored.synced else None,
        "age_seconds": None if age is None else round(age),
        "failing": stored.spec.get(FAILING),
        "problems": list(stored.problems),
        "since": stored.spec.get(SINCE, {}),
        "left_out": stored.spec.get(LEFT_OUT, {"reasons": {}, "files": []}),
        "excluded": sorted(excluded(stored.spec)),
    }


def _get(url: str) -> httpx.Response | None:
    try:
        # Everything is local: bypass a proxy from the environment.
        return httpx.get(url, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None


def _answers(url: str) -> bool:
    reply = _get(url)
    return reply is not None and reply.status_code == 200


def _missing(gateway: str) -> str | None:
    """What the gateway waits for: `engine` or `database`; None: nothing.

    `gateway`: it did not answer in time.
    """
    reply = _get(f"{gateway}/ready")
    if reply is None:
        return "gateway"
    if reply.status_code == 200:
        return None
    try:
        return str(reply.json()["for"])
    except (ValueError, KeyError, TypeError):
        return "engine"


def _serves(engine: str) -> bool:
    """Counts a request for a key as an answer."""
    reply = _get(f"{engine}/models")
    return reply is not None and reply.status_code < 500
