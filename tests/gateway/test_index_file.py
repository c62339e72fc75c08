"""The index file as the world treats it: killed writers, full disks, damage, other versions."""

import gzip
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.gateway.conftest import page
from tests.gateway.indexes import make
from wiki.index import index, store
from wiki.index.index import Index, writing
from wiki.index.store import NoIndex
from wiki.index.writer import IndexBusy
from wiki.sources.spec import Spec
from wiki.sources.sync import sync

INDEXES = Path(__file__).with_name("indexes")
ROOT = Path(__file__).parents[2]
# Puts the pages of state after state. All pages of a state have its number as their word.
WRITER = """
import sys
from pathlib import Path
from wiki.index.index import writing
from tests.gateway.conftest import page

file, pages, states = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for state in range(1, states + 1):
    with writing(file) as writer:
        for n in range(pages):
            writer.put("wiki", page(f"{n}.md", f"# Page\\n\\nstate{state}"), str(state))
            print("put", flush=True)
        for n in range(pages, pages + 3):
            writer.remove("wiki", f"{n}.md")
    print("done", flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@contextmanager
def writer_process(file: Path, pages: int, states: int) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", WRITER, str(file), str(pages), str(states)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        yield process
        process.kill()
        process.wait()


def put(file: Path, **texts: str) -> None:
    with writing(file) as writer:
        for name, text in texts.items():
            writer.put("wiki", page(f"{name}.md", text), "1")


def is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))


@pytest.mark.slow
@pytest.mark.parametrize("puts", [1, 299])
def test_a_kill_in_the_middle_of_a_sync_leaves_what_was_there(file: Path, puts: int) -> None:
    put(file, old="# Old\n\nstate0")
    with writer_process(file, 300, 1) as process:
        assert process.stdout is not None
        for _ in range(puts):
            assert process.stdout.readline() == "put\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with closing(Index(file)) as opened:
        assert [p.path for p in opened.pages()] == ["old.md"]
        assert [n for n, _ in opened.match(["state0", "state1"], 5)] == opened.numbers()
    assert is_sound(file)
    put(file, new="# New\n\nstate2")  # nothing has to be cleared away
    with closing(Index(file)) as opened:
        assert opened.size == 2


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_one_state_or_another(file: Path) -> None:
    put(file, **{str(n): "# Page\n\nstate0" for n in range(60)})
    for wait in (0.0, 0.03, 0.1):
        with writer_process(file, 60, 1000) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
        with closing(Index(file)) as opened:
            (state,) = {p.text for p in opened.pages()}
            found = [n for n, _ in opened.match([state.split()[-1]], 100)]
            assert sorted(found) == opened.numbers()
            assert opened.size == 60
        assert is_sound(file)


@pytest.mark.slow
def test_readers_see_one_state_or_another_while_another_process_writes(file: Path) -> None:
    put(file, **{str(n): "# Page\n\nstate0" for n in range(40)})
    seen: set[str] = set()
    wrong: list[str] = []
    done = threading.Event()

    def read(opened: Index) -> None:
        while not done.is_set():
            with opened.snapshot():
                states = {p.text for p in opened.pages()}
                words = {word for word in opened.vocabulary() if word.startswith("state")}
                found = len(opened.match(list(words), 100))
                if len(states) != 1 or len(words) != 1 or found != 40 or opened.size != 40:
                    wrong.append(f"{states} {words} {found}")
            seen.update(words)

    with closing(Index(file)) as opened, writer_process(file, 40, 10) as process:
        threads = [threading.Thread(target=read, args=(opened,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        process.wait()
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(seen) > 2


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_goes_on_when_that_is_killed(file: Path) -> None:
    told: list[int] = []
    with writer_process(file, 100_000, 1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with (
            pytest.raises(IndexBusy, match=rf"process {process.pid} is writing"),
            writing(file, patience=0),
        ):
            pass
        threading.Timer(0.5, process.kill).start()
        with writing(file, waiting=told.append) as writer:
            assert writer.known("wiki") == {}
    assert told == [process.pid]


@pytest.mark.slow
def test_a_full_disk_is_said_and_leaves_what_was_there(file: Path) -> None:
    put(file, old="# Old\n\ntext")
    many = {f"p{n}": "# P\n\n" + " ".join(f"w{n}x{k}" for k in range(50)) for n in range(300)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to let a file grow beyond this, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(AskdocsError, match=r"cannot be written .*free disk space"):
            put(file, **many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with closing(Index(file)) as opened:
        assert [p.path for p in opened.pages()] == ["old.md"]
    assert is_sound(file)


def test_an_index_that_is_not_there_is_named_with_the_fix(file: Path) -> None:
    with pytest.raises(NoIndex, match=r"index.db: no search index: run `askdocs docs"):
        Index(file)


def test_a_folder_that_nobody_can_make_is_one_line(file: Path) -> None:
    file.write_text("")
    with pytest.raises(AskdocsError, match="cannot be written"), writing(file / "index.db"):
        pass


def test_a_file_that_is_something_else_is_refused_and_stays_as_it_is(
    file: Path,
) -> None:
    content = b"dear diary " * 1000
    file.write_bytes(content)
    with pytest.raises(NoIndex, match="not a search index of askdocs: name another"):
        Index(file)
    with pytest.raises(NoIndex, match="not a search index of askdocs: name another"), writing(file):
        pass
    assert file.read_bytes() == content


def test_a_database_of_somebody_else_is_refused_and_stays_as_it_is(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE diary (day, entry)")
    with pytest.raises(NoIndex, match="not a search index of askdocs: name another"):
        Index(file)
    with pytest.raises(NoIndex, match="not a search index of askdocs: name another"), writing(file):
        pass
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


def test_an_empty_file_becomes_an_index(file: Path) -> None:
    file.write_bytes(b"")
    with pytest.raises(NoIndex, match="is empty: run"):
        Index(file)
    put(file, a="# A")
    with closing(Index(file)) as opened:
        assert opened.size == 1


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_index_is_named_with_the_fix(file: Path, share: float) -> None:
    put(
        file,
        **{f"p{n}": f"# P{n}\n\n" + " ".join(f"w{n * k}" for k in range(90)) for n in range(90)},
    )
    os.truncate(file, int(file.stat().st_size * share) // 4096 * 4096)

    def read() -> None:
        with closing(Index(file)) as opened:
            opened.pages()
            for word in opened.vocabulary():
                opened.match([word], 5)

    def write() -> None:
        with writing(file) as writer:
            for path in writer.known("wiki"):
                writer.put("wiki", page(path, "# Other"), "2")

    for use in (read, write):
        with pytest.raises(
            NoIndex, match=r"is damaged .*: restore a backup .* `askdocs docs sync SOURCE`"
        ):
            use()


def test_an_index_that_was_deleted_and_made_again_is_seen_by_who_has_it_open(file: Path) -> None:
    put(file, a="# Apples")
    with closing(Index(file)) as opened:
        first = opened.generation
        for one in file.parent.glob("index.db*"):
            one.unlink()
        assert opened.size == 1  # there is nothing newer
        put(file, b="# Pears", c="# Plums")
        assert [p.title for p in opened.pages()] == ["Pears", "Plums"]
        assert opened.page(1).title == "Pears"
        assert opened.match(["apples"], 5) == []
        assert opened.generation > first


def test_every_version_before_this_one_has_its_index() -> None:
    for number in range(1, store.VERSION):
        assert (INDEXES / f"{number}.db.gz").is_file(), f"see {INDEXES.name}/make.py"


@pytest.mark.parametrize("version", ["1", "2-fts5", "2", "3", "4"])
def test_the_index_of_an_older_askdocs_is_named_and_made_again(version: str, file: Path) -> None:
    """It keeps its wikis, and which page is left out of them."""
    wiki = file.with_name("wiki")
    wiki.mkdir()
    for path, text in make.PAGES.items():
        (wiki / path).write_text(text)
    file.write_bytes(gzip.decompress((INDEXES / f"{version}.db.gz").read_bytes()))
    generation = 0
    if version != "1":
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("UPDATE source SET name = ?", (str(wiki),))  # it lies elsewhere now
            db.execute("UPDATE page SET source = ?", (str(wiki),))
            (generation,) = db.execute("SELECT generation FROM state").fetchone()
    with pytest.raises(NoIndex, match="made by an older askdocs: run `askdocs docs sync`"):
        Index(file)

    with writing(file) as writer:
        kept = writer.sources()
        assert writer.known(str(wiki)) == {}  # everything is to be read again
    specs = [Spec.remembered(source.name, source.spec) for source in kept]
    assert specs == [Spec(str(wiki), None, make.SITE)][: version != "1"]
    spec = Spec.named(str(wiki), site_url=make.SITE)
    sync(spec.open(), partial(writing, file), spec=spec.stored)

    with closing(Index(file)) as opened:
        # The first two knew no way to leave a page out.
        left_out = {make.LEFT_OUT} if version in ("2", "3", "4") else set()
        assert {page.path for page in opened.pages()} == make.PAGES.keys() - left_out
        (found,) = opened.match(["descaler"], 5)
        assert opened.page(found[0]).title == "Coffee machine"
        assert opened.generation > generation
    put(file.with_name("new.db"), a="# Apples")
    assert layout(file) == layout(file.with_name("new.db"))


def layout(file: Path) -> set[str]:
    """The statements that its tables are made by; nothing of it is damaged."""
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master")}


def test_a_newer_version_is_refused_and_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(file, a="# Apples")
    monkeypatch.setattr(store, "VERSION", store.VERSION - 1)
    with pytest.raises(NoIndex, match="was made by a newer askdocs"):
        Index(file)
    with pytest.raises(NoIndex, match="was made by a newer askdocs"), writing(file):
        pass
    monkeypatch.undo()
    with closing(Index(file)) as opened:
        assert opened.size == 1


def test_when_all_are_closed_nothing_but_the_index_and_its_lock_is_left(file: Path) -> None:
    put(file, a="# Apples")
    opened = Index(file)
    put(file, b="# Pears")
    assert opened.size == 2
    opened.close()
    put(file, c="# Plums")
    assert {one.name for one in file.parent.iterdir()} == {"index.db", "index.db.lock"}


def connections(file: Path) -> int:
    """How many descriptors of this process are of the file."""
    found = [os.path.realpath(one) for one in Path("/proc/self/fd").iterdir()]
    return found.count(str(file.resolve()))


def test_an_index_that_is_refused_is_closed(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE diary (day, entry)")
    with pytest.raises(NoIndex) as refused:
        Index(file)
    assert refused.value  # which holds the frames, and all that is in them
    assert connections(file) == 0


def test_what_reads_while_an_index_is_closed_reads_on_and_is_closed_then(file: Path) -> None:
    put(file, a="# Apples")
    opened = Index(file)
    with opened.snapshot():
        opened.close()
        assert opened.size == 1
    assert connections(file) == 0


def test_build_makes_an_index_of_exactly_these_pages(file: Path) -> None:
    index.build(file, [page("a.md", "# A"), page("b.md", "# B")])
    index.build(file, [page("b.md", "# B"), page("c.md", "# C")])
    with closing(Index(file)) as opened:
        assert [p.path for p in opened.pages()] == ["b.md", "c.md"]


def test_an_index_serves_many_threads_at_once(file: Path) -> None:
    put(file, **{f"p{n}": f"# P{n}\n\nword{n % 7}" for n in range(70)})
    wrong: list[object] = []
    with closing(Index(file)) as opened:

        def read(n: int) -> None:
            for _ in range(50):
                if len(opened.match([f"word{n}"], 100)) != 10:
                    wrong.append(n)

        threads = [threading.Thread(target=read, args=(n % 7,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
