"""Locates the search index of an installation."""

from pathlib import Path
from typing import Any

from askdocs.state import home
from core.settings import load
from gateway.settings import GatewaySettings


def index_file(home_dir: Path | None) -> Path:
    """The index file: `[gateway] index` if set, else the home's."""
    settings = load(GatewaySettings)
    if "index" in settings.model_fields_set:
        return settings.index
    return home.find(home_dir).index


def summary(facts: dict[str, Any]) -> str:
    """A one-line summary of the index; `facts` are from `status.index`."""
    wikis = len(facts["sources"])
    synced = max((source["synced"] or "" for source in facts["sources"]), default="")
    return (
        f"{facts['pages']:,} pages of {wikis} {'wiki' if wikis == 1 else 'wikis'}, last sync"
        f" {synced or 'never'}; {vectors(facts['vectors'])}"
    )


def ago(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {name}"
    return f"{seconds:.0f} s"


def vectors(facts: dict[str, Any]) -> str:
    if facts["model"] is None:
        return "no embeddings yet: pages are found by their words"
    return f"embeddings of {facts['pages']:,} pages by {facts['model']}"
