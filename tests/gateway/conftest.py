"""What the tests of the gateway share: pages, an index of them, a database, the real engine."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from core import database
from gateway.upstream.engine import Engine
from tests import starting
from tests.parts import require
from wiki.index import embed, index
from wiki.index.embed import Embedder
from wiki.index.index import Index
from wiki.pages.page import Page
from wiki.sources.markdown import parse

SITE = "https://wiki.example.com/"

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the settings or writes to the folder of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("ASKDOCS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def indexed(tmp_path: Path) -> Iterator[Callable[..., Index]]:
    """Index pages, given as path and text."""
    opened: list[Index] = []

    def make(**texts: str) -> Index:
        pages = [page(f"{name.replace('__', '/')}.md", text) for name, text in texts.items()]
        file = tmp_path / f"index-{len(opened)}.db"
        index.build(file, pages)
        opened.append(Index(file))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def page(path: str, text: str) -> Page:
    return parse(path, text, SITE)


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    """A folder with two pages."""
    folder = tmp_path / "wiki"
    folder.mkdir()
    (folder / "coffee.md").write_text("# Coffee\n\nThe machine stands on floor 3.\n")
    (folder / "travel.md").write_text("# Travel\n\nWrite to the travel desk.\n")
    return folder


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[sa.Engine]:
    """A new database."""
    engine = database.open(f"sqlite:///{tmp_path / 'askdocs.db'}")
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """llama.cpp's server with the small model, up in a second: the base URL of its API."""
    folder = tmp_path_factory.mktemp("engine")
    with starting.engine(folder, name="small", context=2048, parallel=1) as engine:
        yield engine.url


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    engine = Engine(engine_url)
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    loaded = embed.load()
    require(loaded is not None, "the embedding model is not installed: run make setup")
    assert loaded is not None
    return loaded
