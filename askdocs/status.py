"""What runs: written by `up`, read by `status`, `ask` and whoever scripts askdocs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from askdocs.home import Home, read_json, write_json
from gateway.errors import AskdocsError
from gateway.search.index import Index, StoredSource
from gateway.sources.excluded import excluded


@dataclass(frozen=True)
class Running:
    """One `up`."""

    pid: int
    started: str
    gateway: str
    """Base URL of the OpenAI API, with /v1."""
    widget: str
    site: str
    engine: str
    engine_url: str
    model: str
    docs: str
    page_budget: int
    prefill_rate: float | None
    processes: dict[str, int | None]
    ready: bool

    def save(self, home: Home) -> None:
        write_json(home.running, asdict(self))


def read(home: Home) -> Running:
    """Raises AskdocsError when no `up` runs in this home."""
    stored = read_json(home.running)
    if home.is_locked() and not stored:
        raise AskdocsError(f"askdocs is starting in {home.root}: wait until it says ready")
    if not stored or not home.is_locked():
        raise AskdocsError(
            f"askdocs does not run in {home.root}: start it with `askdocs up` (or make run),"
            " or name its --home DIR"
        )
    return Running(**stored)


def health(home: Home) -> dict[str, Any]:
    """Everything about a running askdocs, as `askdocs status --json` prints it.

    Raises AskdocsError as `read`.
    """
    running = read(home)
    gateway_root = running.gateway.removesuffix("/v1")
    engine_ok = _answers(f"{gateway_root}/ready")
    parts = {
        "gateway": (running.gateway, _answers(f"{gateway_root}/health")),
        "widget": (running.widget, _answers(f"{running.widget}/health")),
        "site": (running.site, _answers(running.site)),
        "engine": (running.engine_url, engine_ok),
    }
    return {
        "running": True,
        "ready": running.ready and all(ok for _, ok in parts.values()),
        "home": str(home.root),
        "pid": running.pid,
        "started": running.started,
        "key": home.existing_key(),
        "model": running.model,
        "engine": running.engine,
        "docs": running.docs,
        "page_budget": running.page_budget,
        "prefill_rate": running.prefill_rate,
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


def index(file: Path) -> dict[str, Any]:
    """What the search index holds, as `askdocs docs stats --json` prints it.

    Raises AskdocsError: there is none, or it is damaged.
    """
    opened = Index(file)
    try:
        with opened.snapshot():
            vectors = opened.vectors()
            return {
                "file": str(file),
                "bytes": file.stat().st_size,
                "generation": opened.generation,
                "pages": opened.size,
                "sections": sum(len(page.sections) for page in opened.pages()),
                "vectors": {
                    "model": vectors.model if vectors else None,
                    "pages": len(set(vectors.pages.tolist())) if vectors else 0,
                },
                "sources": [_source(opened, stored) for stored in opened.sources()],
            }
    finally:
        opened.close()


def _source(opened: Index, stored: StoredSource) -> dict[str, Any]:
    return {
        "name": stored.name,
        "kind": stored.spec.get("kind"),
        "site_url": stored.spec.get("site_url"),
        "pages": opened.count(stored.name),
        "synced": stored.synced.isoformat(timespec="seconds") if stored.synced else None,
        "problems": list(stored.problems),
        "excluded": sorted(excluded(stored.spec)),
    }


def _answers(url: str) -> bool:
    try:
        # All of it is on this machine: a proxy of the environment does not lead there.
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
