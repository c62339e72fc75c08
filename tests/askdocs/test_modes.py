"""What askdocs writes is its owner's alone, whatever the umask is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from askdocs.state.home import Home
from core import database
from wiki.index import index
from wiki.sources.markdown import parse


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_to_all")
def test_state_folder_key_database_and_index_are_their_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.key()
    engine = database.open(f"sqlite:///{home.database}")
    database.migrate(engine)
    with database.reading(engine):  # so that SQLite has its log open
        pages = [parse("a.md", "# A", "https://w.example.com/")]
        index.build(home.index, pages)
        found = {path.name: mode(path) for path in home.root.iterdir() if path.is_file()}
    engine.dispose()
    assert mode(home.root) == mode(home.logs) == 0o700
    secret = {name: found[name] for name in found if name == "key" or ".db" in name}
    secret.pop("index.db.lock")  # has a process id
    assert {"key", "askdocs.db", "askdocs.db-wal", "index.db"} <= secret.keys()
    assert set(secret.values()) == {0o600}


@pytest.mark.usefixtures("open_to_all")
def test_a_folder_that_is_made_for_an_index_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "index.db"
    index.build(file, [parse("a.md", "# A", "https://w.example.com/")])
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o750)
    (tmp_path / "home").chmod(0o750)
    Home(tmp_path / "home").make()
    assert mode(tmp_path / "home") == 0o750
