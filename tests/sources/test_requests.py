"""What a sync asks of a service when nothing has changed: the table of `docs/how-to/sync.md`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.sources.confluence_server import Written, confluence
from tests.sources.notion_server import Written as Note
from tests.sources.notion_server import at, notion
from tests.sources.threads_server import Asked, project
from wiki.sources.open import open_source
from wiki.sources.source import Changed, Unchanged

PAGES = 200
TABLE = Path(__file__).parents[2] / "docs/how-to/sync.md"


@contextmanager
def served(kind: str) -> Iterator[tuple[Any, str, str]]:
    """A service that gives as many rows as its reference says, its kind and its address."""
    if kind.startswith("confluence"):
        with confluence(kind.endswith("cloud")) as wiki:
            wiki.part = 200
            wiki.pages = {str(n): Written(f"Page {n}", "<p>Text.</p>") for n in range(PAGES)}
            yield wiki, "confluence", f"{wiki.url}/spaces/ENG/overview"
    elif kind == "notion":
        with notion() as workspace:
            workspace.part = 100
            workspace.pages = {at(n): Note(f"Page {n}") for n in range(1, PAGES + 1)}
            yield workspace, kind, f"{workspace.url}/"
    else:
        host, _, what = kind.partition(" ")
        paths = {
            "github issues": "/team/app/issues?label=answered",
            "github discussions": "/team/app/discussions",
            "gitlab issues": "/team/app/-/issues?label_name[]=answered",
        }
        with project(host == "github") as made:
            made.part = 100
            made.threads = {n: Asked(f"Question {n}") for n in range(1, PAGES + 1)}
            yield made, host, made.url + paths[f"{host} {what}"]


@pytest.mark.parametrize(
    ("kind", "lists", "more"),
    [
        # The kind of API and, of the space, its readers; on Cloud its id and its group's name, too.
        ("confluence cloud", 1, 4),
        ("confluence data center", 1, 2),
        # The list of databases.
        ("notion", 2, 1),
        ("github issues", 2, 0),
        ("github discussions", 2, 0),
        # The members.
        ("gitlab issues", 2, 1),
    ],
)
def test_a_sync_without_changes_asks_for_the_list_alone(
    monkeypatch: pytest.MonkeyPatch, kind: str, lists: int, more: int
) -> None:
    monkeypatch.setenv("ASKDOCS_SITES_RATE", "100")
    with served(kind) as (service, source_kind, address):
        monkeypatch.setenv("ASKDOCS_SITES_TOKENS", f"{address.split('/')[2]} s3cret")
        first = list(open_source(address, source_kind, "").read({}))
        known = {item.page.path: item.stamp for item in first if isinstance(item, Changed)}
        service.asked.clear()
        second = list(open_source(address, source_kind, "").read(known))
    assert len(known) == len([item for item in second if isinstance(item, Unchanged)]) == PAGES
    assert len(service.asked) == lists + more
    every = 10_000 // (PAGES // lists) + more
    assert f"| {every:,} |" in TABLE.read_text(encoding="utf-8")
