"""What is written to the index, alone and shared: both must behave the same."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.gateway.conftest import page
from tests.gateway.postgres import Postgres
from wiki.index.index import Index, StoredSource, Writer
from wiki.index.replica import open_writing
from wiki.index.vectors import Floats
from wiki.index.writer import IndexBusy
from wiki.pages.page import Page, Section
from wiki.sources.markdown import parse

Writing = Callable[..., AbstractContextManager[Writer]]
ROOT = Path(__file__).parents[2]
# Moves 60 pages from site to site.
MOVER = """
import sys
from pathlib import Path
from wiki.index.replica import open_writing
from wiki.sources.markdown import parse

for site in range(1000):
    with open_writing(Path(sys.argv[1]), sys.argv[2] or None) as writer:
        for n in range(60):
            writer.put("wiki", parse(f"{n}.md", f"# Page {n}", f"https://{site}.example.com/"), "1")
    print("moved", flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture(params=["alone", pytest.param("shared", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "alone":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def writing(file: Path, url: str | None) -> Writing:
    """Writes to an index in the file alone, or to one in PostgreSQL of which it is a copy."""
    return partial(open_writing, file, url)


@pytest.fixture
def index(file: Path, writing: Writing) -> Iterator[Index]:
    with writing() as writer:
        writer.put("wiki", page("a.md", "# Apples\n\nRed ones."), "1")
        writer.put("wiki", page("b.md", "# Pears\n\nGreen ones."), "1")
    index = Index(file)
    yield index
    index.close()


def vectors(*rows: int) -> Floats:
    """Unit vectors along these axes."""
    return np.eye(384, dtype=np.float32)[list(rows)]


def test_pages_and_stamps_come_back(index: Index, writing: Writing) -> None:
    assert [p.path for p in index.pages()] == ["a.md", "b.md"]
    assert index.pages()[0] == page("a.md", "# Apples\n\nRed ones.")
    with writing() as writer:
        assert writer.known("wiki") == {"a.md": "1", "b.md": "1"}
        assert writer.known("other") == {}


def test_a_changed_page_is_found_by_its_new_words_and_no_longer_by_the_old(
    index: Index, writing: Writing
) -> None:
    (before,) = index.match(["apples"], 5)
    with writing() as writer:
        writer.put("wiki", page("a.md", "# Cherries\n\nRed ones."), "2")
    assert index.match(["apples"], 5) == []
    ((number, _),) = index.match(["cherries"], 5)
    assert index.page(number).title == "Cherries"
    assert number > before[0]
    assert {n for n, _ in index.match(["ones"], 5)} == set(index.numbers())
    assert index.size == 2
    with closing(Index(index.file)) as other, pytest.raises(KeyError):
        other.page(before[0])


def test_a_removed_page_is_gone_with_its_words_and_vectors(index: Index, writing: Writing) -> None:
    with writing() as writer:
        for number in writer.missing("m"):
            writer.put_vectors(number, vectors(number), "m")
    with writing() as writer:
        writer.remove("wiki", "a.md")
        writer.remove("wiki", "never-there.md")
    assert [p.path for p in index.pages()] == ["b.md"]
    assert index.match(["apples", "red"], 5) == []
    assert index.by_path("a.md") is None
    assert index.vocabulary() == {"pear": 1, "green": 1, "on": 1}
    found = index.vectors()
    assert found is not None
    assert found.pages.tolist() == index.numbers()


def test_a_page_that_is_as_it_was_keeps_its_number_and_gets_its_new_stamp(
    index: Index, writing: Writing
) -> None:
    before = index.generation, index.numbers()
    with writing() as writer:
        writer.put("wiki", page("a.md", "# Apples\n\nRed ones."), "2")
    assert (index.generation, index.numbers()) == before
    with writing() as writer:
        assert writer.known("wiki") == {"a.md": "2", "b.md": "1"}


def test_the_generation_changes_with_what_is_stored_and_with_nothing_else(
    index: Index, writing: Writing
) -> None:
    seen = [index.generation]

    def look() -> bool:
        seen.append(index.generation)
        return seen[-1] != seen[-2]

    with writing() as writer:
        writer.known("wiki")
    assert not look()
    with writing() as writer:
        writer.put_source(StoredSource("wiki", {}, datetime.now(UTC), ()))
    assert not look()
    with writing() as writer:
        writer.put("wiki", page("c.md", "# C"), "1")
    assert look()
    with writing() as writer:
        writer.put_vectors(writer.missing("m")[0], vectors(1), "m")
    assert look()
    with writing() as writer:
        writer.remove("wiki", "c.md")
    assert look()


def test_what_a_block_wrote_before_it_failed_is_not_there(index: Index, writing: Writing) -> None:
    before = index.generation, index.pages(), index.vocabulary()

    def fail() -> None:
        with writing() as writer:
            writer.put("wiki", page("c.md", "# C"), "1")
            writer.remove("wiki", "a.md")
            writer.known("wiki")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (index.generation, index.pages(), index.vocabulary()) == before


def test_two_wikis_may_have_pages_of_the_same_path(index: Index, writing: Writing) -> None:
    with writing() as writer:
        writer.put("other", page("a.md", "# Plums"), "9")
        assert writer.known("other") == {"a.md": "9"}
    assert [p.title for p in index.pages()] == ["Plums", "Apples", "Pears"]
    assert index.count("wiki") == 2
    with writing() as writer:
        writer.remove("other", "a.md")
    assert [p.title for p in index.pages()] == ["Apples", "Pears"]


def test_a_source_is_remembered_and_goes_with_its_pages(index: Index, writing: Writing) -> None:
    when = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    source = StoredSource("wiki", {"folder": "/wiki", "n": 1}, when, ("c.md: not UTF-8",))
    with writing() as writer:
        writer.put_source(source)
        writer.put("other", page("o.md", "# Plums"), "1")
        assert [one.name for one in writer.sources()] == ["other", "wiki"]
    assert index.sources() == [StoredSource("other", {}, None, ()), source]
    with writing() as writer:
        writer.remove_source("wiki")
    assert [one.name for one in index.sources()] == ["other"]
    assert [p.path for p in index.pages()] == ["o.md"]
    assert index.match(["pears"], 5) == []


def test_vectors_are_missing_until_they_are_put_and_again_when_the_page_changes(
    index: Index, writing: Writing
) -> None:
    assert index.vectors() is None
    with writing() as writer:
        first, second = writer.missing("m")
        found = writer.page(first)
        assert found is not None
        assert found.path == "a.md"
        writer.put_vectors(first, vectors(0, 1), "m")
        assert writer.missing("m") == [second]
        assert writer.missing("other") == [first, second]
        writer.put_vectors(999, vectors(0), "m")  # gone meanwhile
        assert writer.page(999) is None
    stored = index.vectors()
    assert stored is not None
    assert stored.model == "m"
    assert stored.pages.tolist() == [first, first]
    with writing() as writer:
        writer.put("wiki", page("a.md", "# Other"), "2")
        assert writer.missing("m") == [second, second + 1]


def test_a_wiki_that_moves_to_another_address_keeps_its_vectors(
    index: Index, writing: Writing
) -> None:
    with writing() as writer:
        writer.put("wiki", page("a.md", "# Apples\n\nRed ones, see [pears](b.md)."), "1")
        for number in writer.missing("m"):
            writer.put_vectors(number, vectors(number), "m")
    before = index.vectors()
    assert before is not None
    with writing() as writer:
        for path, text in (
            ("a.md", "# Apples\n\nRed ones, see [pears](b.md)."),
            ("b.md", "# Pears\n\nYellow ones."),  # it is changed, too
        ):
            writer.put("wiki", parse(path, text, "https://moved.example.com/"), "1")
        missing = [writer.page(number) for number in writer.missing("m")]
    assert [one and one.path for one in missing] == ["b.md"]
    assert index.by_url("https://wiki.example.com/a/") is None
    moved = index.by_url("https://moved.example.com/a/")
    assert moved == index.by_path("a.md")
    assert moved is not None
    after = index.vectors()
    assert after is not None
    assert after.pages.tolist() == [index.number(moved)]
    (near,) = after.best(vectors(before.pages[-1])[0], 5).values()
    assert near[0] == pytest.approx(1, abs=0.01)
    assert index.embedded() == ("m", 1)


@pytest.mark.slow
def test_a_kill_while_a_wiki_moves_leaves_it_at_one_address_with_all_vectors(
    file: Path, url: str | None, writing: Writing
) -> None:
    with writing() as writer:
        for n in range(60):
            writer.put("wiki", page(f"{n}.md", f"# Page {n}"), "1")
        for number in writer.missing("m"):
            writer.put_vectors(number, vectors(number), "m")
    argv = [sys.executable, "-c", MOVER, str(file), url or ""]
    child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "moved\n"
        time.sleep(0.05)
        child.kill()
        child.wait()
    with writing() as writer:
        assert writer.missing("m") == []
    with closing(Index(file)) as index:
        assert len({urlsplit(one.url).netloc for one in index.pages()}) == 1
        found = index.vectors()
        assert found is not None
        assert found.pages.tolist() == index.numbers()
        assert index.size == 60


def test_a_page_that_is_renamed_keeps_its_vectors(index: Index, writing: Writing) -> None:
    with writing() as writer:
        for number in writer.missing("m"):
            writer.put_vectors(number, vectors(number), "m")
    with writing() as writer:
        writer.remove("wiki", "a.md")
        writer.put("wiki", page("fruit/apples.md", "# Apples\n\nRed ones."), "1")
        assert writer.missing("m") == []
    found = index.vectors()
    assert found is not None
    assert found.pages.tolist() == index.numbers()
    (number,) = found.best(vectors(1)[0], 1)
    assert index.page(number).path == "fruit/apples.md"


def test_signs_that_no_database_takes_do_not_stop_a_page(index: Index, writing: Writing) -> None:
    odd = Page("o\0.md", "Odd \ud800", "http://x/\0", (Section("\0", "", ("\ud800",), "odd \0"),))
    with writing() as writer:
        writer.put("wiki", odd, "1")
    ((number, _),) = index.match(["odd"], 5)
    assert index.page(number).title == "Odd ?"


def test_what_a_terminal_would_obey_is_not_kept_of_a_page(index: Index, writing: Writing) -> None:
    section = Section("Sky \x1b[2J", "sky", ("Sky \x1b[2J",), "## Sky \x1b[2J\n\n\tIt is \x9bblue.")
    with writing() as writer:
        writer.put("wiki", Page("sky.md", "Odd \x1b]0;Mine\x07", "http://x/", (section,)), "1")
    ((number, _),) = index.match(["blue"], 5)
    page = index.page(number)
    assert page.title == "Odd ]0;Mine"
    assert page.sections[0].path == (page.sections[0].heading,) == ("Sky [2J",)
    assert page.text == "## Sky [2J\n\n\tIt is blue."


def test_many_pages_at_once_and_pages_put_twice(index: Index, writing: Writing) -> None:
    with writing() as writer:
        for n in range(1200):
            writer.put("wiki", page(f"p{n}.md", f"# P{n}\n\nPears number{n}."), "1")
        for n in range(0, 1200, 100):
            writer.put("wiki", page(f"p{n}.md", f"# P{n}\n\nChanged number{n}."), "2")
        writer.remove("wiki", "p7.md")
    assert index.size == 1201
    assert len(index.match(["changed"], 50)) == 12
    assert index.match(["number7"], 5) == []
    assert index.vocabulary()["pear"] == 1 + 1200 - 12 - 1
    assert index.idf(["chang"])["chang"] == pytest.approx(np.log(1189.5 / 12.5 + 1))


def test_a_snapshot_stays_as_it_is_while_another_thread_writes(
    index: Index, writing: Writing
) -> None:
    with index.snapshot():
        generation, numbers = index.generation, index.numbers()

        def write() -> None:
            with writing() as writer:
                writer.remove_source("wiki")
                writer.put("wiki", page("n.md", "# New"), "1")

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert index.generation == generation
        assert index.numbers() == numbers
        assert {n for n, _ in index.match(["ones"], 5)} == set(numbers)
        assert [index.page(n).path for n in numbers] == ["a.md", "b.md"]
    assert [p.path for p in index.pages()] == ["n.md"]


def test_a_second_writer_waits_is_told_for_whom_and_gives_up_in_the_end(
    index: Index, writing: Writing
) -> None:
    told: list[int] = []
    with writing() as writer:
        writer.put("wiki", page("c.md", "# C"), "1")
        with (
            pytest.raises(IndexBusy, match=rf"process {os.getpid()} .*is writing"),
            writing(waiting=told.append, patience=0.3),
        ):
            pass
    assert told == [os.getpid()]
    with writing() as writer:
        assert len(writer.known("wiki")) == 3
