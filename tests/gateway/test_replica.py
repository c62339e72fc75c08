"""An index in PostgreSQL and its copies in the files of several gateways."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from askdocs.supervision.checks import free_port
from core import database
from core.errors import AskdocsError
from core.settings import load
from core.tasks import Tasks, Traffic
from gateway.runtime import index_keeper
from gateway.settings import GatewaySettings
from tests.gateway.conftest import page
from tests.gateway.postgres import Postgres
from tests.waiting import until
from wiki.index import shared
from wiki.index.index import Index, StoredSource
from wiki.index.index import writing as writing_file
from wiki.index.replica import following, open_writing, pull, refresh
from wiki.index.view import Rights
from wiki.index.writer import IndexBusy
from wiki.rights import PUBLIC, Reader
from wiki.rules import NO_RULES
from wiki.search.search import Search
from wiki.sources.source import Changed, Item, State
from wiki.sources.sync import look, sync

# A real server, which takes its time.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, time
from pathlib import Path
from wiki.search.search import Search
from wiki.index.replica import open_writing
from tests.gateway.conftest import page

with open_writing(Path(sys.argv[1]), sys.argv[2]) as writer:
    for n in range(600):
        writer.put("wiki", page(f"{n}.md", "# Half"), "1")
    writer.known("wiki")
    print("put", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.database()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    yield engine
    engine.dispose()


def put(file: Path, url: str, **texts: str) -> None:
    with open_writing(file, url) as writer:
        for name, text in texts.items():
            writer.put("wiki", page(f"{name}.md", text), "1")


def content(file: Path) -> object:
    with closing(Index(file)) as index:
        vectors = index.vectors()
        return (
            index.sources(),
            index.numbers(),
            index.pages(),
            index.vocabulary(),
            index.match(["apples", "pears", "half"], 1000),
            vectors and (vectors.model, vectors.pages.tolist()),
        )


def test_every_copy_is_the_same_and_ranks_the_same(url: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.db", tmp_path / "other.db"
    put(one, url, a="# Apples", b="# Pears and apples")
    refresh(other, url)
    with open_writing(other, url) as writer:
        writer.put_source(StoredSource("wiki", {"folder": "/w"}, None, ("x: broken",)))
        writer.remove("wiki", "a.md")
        writer.put("wiki", page("b.md", "# Pears"), "2")
        writer.put("wiki", page("c.md", "# Apples, pears"), "1")
        for number in writer.missing("m"):
            writer.put_vectors(number, np.eye(384, dtype=np.float32)[:2], "m")
    refresh(one, url)
    fresh = tmp_path / "fresh.db"
    refresh(fresh, url)
    assert content(one) == content(other) == content(fresh)


def test_a_gateway_follows_within_seconds(url: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    put(here, url, a="# Apples")
    refresh(there, url)
    with following(there, url, Tasks()), closing(Index(there)) as index:
        put(here, url, b="# Pears")
        until(lambda: index.size == 2)
        assert index.match(["pears"], 1)


def test_searches_go_on_while_the_database_is_away_and_it_is_followed_again_after(
    postgres: Postgres, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    put(here, url, a="# Apples")
    refresh(there, url)
    with following(there, url, Tasks()), closing(Index(there)) as index:
        postgres.stop()
        try:
            until(lambda: "is unchanged" in caplog.text)
            time.sleep(1.5)
            assert index.match(["apples"], 1)
            with pytest.raises(database.Unreachable):
                put(here, url, b="# Pears")
        finally:
            postgres.start()
        assert caplog.text.count("is unchanged") == 1
        put(here, url, b="# Pears")
        until(lambda: index.size == 2)


def test_a_page_that_changes_while_the_database_is_away_is_read_once_it_is_back(
    postgres: Postgres,
    url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_keeper, "RETRY", 0.2)
    wiki = tmp_path / "wiki"
    wiki.mkdir()
    (wiki / "a.md").write_text("# Apples\n")
    file = tmp_path / "index.db"
    settings = load(GatewaySettings, env={}, index=file, docs=str(wiki), database_url=url)
    index_keeper.prepare(settings, print)
    with (
        closing(Index(file)) as index,
        index_keeper.Keeper(settings, Search(index, None), {}, Traffic(), print, Tasks()).at_work(),
    ):
        postgres.stop()
        try:
            (wiki / "b.md").write_text("# Pears\n")
            until(lambda: "does not answer" in caplog.text)
            time.sleep(1.5)  # until nothing of it is still to be seen
        finally:
            postgres.start()
        until(lambda: index.size == 2)


def test_a_copy_of_another_database_or_an_index_of_its_own_is_brought_into_line(
    postgres: Postgres, url: str, tmp_path: Path
) -> None:
    file, fresh = tmp_path / "index.db", tmp_path / "fresh.db"
    with writing_file(file) as writer:
        writer.put("mine", page("z.md", "# Plums"), "1")
    put(tmp_path / "x.db", url, a="# Apples")
    refresh(file, url)
    refresh(fresh, url)
    assert content(file) == content(fresh)
    another = postgres.database()
    put(tmp_path / "y.db", another, a="# Cherries", b="# Dates")
    refresh(file, another)
    with closing(Index(file)) as index:
        assert [p.title for p in index.pages()] == ["Cherries", "Dates"]


def test_a_database_that_was_put_back_from_a_backup_is_followed(
    url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    file, fresh = tmp_path / "index.db", tmp_path / "fresh.db"
    put(file, url, a="# Apples", b="# Pears")
    # What a backup of before would bring: the numbers are given out a second time.
    with database.writing(engine) as connection:
        connection.execute(sa.delete(shared.page_table))
        connection.execute(sa.text("ALTER SEQUENCE wiki_pages_number_seq RESTART"))
        connection.execute(sa.update(shared.state_table).values(token="before"))
    put(fresh, url, a="# Quinces", b="# Pears")
    assert pull(engine, file)
    assert content(file) == content(fresh)
    assert not pull(engine, file)


def test_a_kill_in_the_middle_of_writing_leaves_what_was_there(url: str, tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    put(file, url, a="# Apples")
    before = content(file)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "child.db"), url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "put\n"
        told: list[int] = []
        with (
            pytest.raises(IndexBusy, match=rf"process {child.pid} on .* is writing"),
            open_writing(file, url, waiting=told.append, patience=0.3),
        ):
            pass
        assert told == [child.pid]
        refresh(file, url)
        assert content(file) == before
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    put(file, url, b="# Pears")
    with closing(Index(file)) as index:
        assert [p.path for p in index.pages()] == ["a.md", "b.md"]


def test_a_database_that_is_not_there_is_named_and_the_copy_stays(url: str, tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    put(file, url, a="# Apples")
    with pytest.raises(AskdocsError, match="start PostgreSQL, or correct ASKDOCS_DATABASE_URL"):
        refresh(file, f"postgresql://ann@127.0.0.1:{free_port()}/x")
    with closing(Index(file)) as index:
        assert index.size == 1


def test_a_sqlite_database_leaves_the_index_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "index.db"
    refresh(file, f"sqlite:///{tmp_path}/askdocs.db")
    assert not file.exists()
    with open_writing(file, f"sqlite:///{tmp_path}/askdocs.db") as writer:
        writer.put("wiki", page("a.md", "# Apples"), "1")
    with following(file, None, Tasks()), closing(Index(file)) as index:
        assert index.size == 1


def test_a_look_that_finds_nothing_leaves_the_token_as_it_is(
    url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    """Otherwise each gateway would compare its whole copy once a minute."""

    class Wiki:
        name = "https://w.example/api.php"
        edited = ""

        def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
            yield Changed(page("a.md", "# Apples"), "1")
            yield State("first")

        def recent(
            self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
        ) -> Iterator[Item]:
            if self.edited:
                yield Changed(page("a.md", self.edited), self.edited)
            yield State(state)

    def token() -> str:
        with database.reading(engine) as connection:
            return str(connection.execute(sa.select(shared.state_table.c.token)).scalar_one())

    wiki, opened = Wiki(), partial(open_writing, tmp_path / "one.db", url)
    spec = {"kind": "mediawiki", "site_url": ""}
    sync(wiki, opened, spec=spec)
    before = token()
    look(wiki, opened, spec=spec)
    assert token() == before
    wiki.edited = "# Pears"
    assert look(wiki, opened, spec=spec).changed == ("a.md",)
    assert token() != before


def test_groups_are_shared_and_followed(url: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    put(here, url, a="# Apples", b="# Pears")
    refresh(there, url)
    with closing(Index(there)) as index:
        rights = Rights(index, NO_RULES)
        assert set(rights.seen_by(PUBLIC).paths()) == {"a.md", "b.md"}
        numbers = index.numbers()
        with open_writing(here, url) as writer:
            writer.regroup("wiki", "a.md", (frozenset({"hr"}),), "2")
            writer.put("wiki", page("b.md", "# Pears"), "1", ())
        refresh(there, url)
        assert index.numbers() == numbers  # their texts are as they were
        assert set(rights.seen_by(PUBLIC).paths()) == {"b.md"}
        hr = rights.seen_by(Reader(frozenset({"hr"})))
        assert set(hr.paths()) == {"a.md", "b.md"}
    with open_writing(here, url) as writer:
        assert writer.groups("wiki") == {"a.md": (frozenset({"hr"}),), "b.md": ()}
