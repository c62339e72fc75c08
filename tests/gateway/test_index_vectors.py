"""The vectors of chunks: packed, compared, brought up to date, and many of them."""

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.gateway.conftest import page
from wiki.index import vectors
from wiki.index.index import Index, writing
from wiki.index.vectors import Exact, Floats, Sketch, pack, unpack
from wiki.pages.page import Page


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture(params=[vectors.EXACT, 0], ids=["few", "many"])
def index(
    request: pytest.FixtureRequest, file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Index]:
    """200 pages with 1 to 5 chunks each, as few and as if they were many."""
    monkeypatch.setattr(vectors, "EXACT", request.param)
    with writing(file) as writer:
        for n in range(200):
            writer.put("wiki", page(f"{n}.md", f"# P{n}"), "1")
        for number in writer.missing("m"):
            writer.put_vectors(number, random_vectors(number, 1 + number % 5), "m")
    with closing(Index(file)) as index:
        yield index


def random_vectors(seed: int, rows: int, width: int = 384) -> Floats:
    found = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def test_packed_vectors_are_right_to_three_places() -> None:
    made = random_vectors(1, 100)
    back = unpack(pack(made))
    assert np.abs((made @ made.T) - (back @ made.T)).max() < 0.003
    assert unpack(pack(made[:0])).shape == (0, 0)
    assert unpack(pack(made * 0)).tolist() == (made * 0).tolist()


def test_the_nearest_page_comes_first_with_all_of_its_passages(index: Index) -> None:
    found = index.vectors()
    assert isinstance(found, Exact if vectors.EXACT else Sketch)
    for number in (4, 5, 9, 100):
        chunks = random_vectors(number, 1 + number % 5)
        best = found.best(chunks[-1], 7)
        assert next(iter(best)) == number
        assert len(best) == 7
        assert best[number] == pytest.approx(chunks @ chunks[-1], abs=0.003)
        assert all(one.max() >= other.max() for one, other in pairwise(best.values()))


def test_pages_that_are_asked_for_are_reported_and_others_left_out(index: Index) -> None:
    found = index.vectors()
    assert found is not None
    query = random_vectors(0, 1)[0]
    told = found.of(query, [7, 3, 7, 9999])
    assert set(told) == {3, 7}
    for number, similarities in told.items():
        expected = random_vectors(number, 1 + number % 5) @ query
        assert similarities == pytest.approx(expected, abs=0.003)
    assert found.of(query, []) == {}


def test_what_changes_is_seen_and_the_rest_is_not_read_again(index: Index) -> None:
    before = index.vectors()
    assert before is not None
    assert index.vectors() is before
    new = random_vectors(5000, 2)
    with writing(index.file) as writer:
        writer.remove("wiki", "3.md")  # its number is 4
        writer.put("wiki", page("9.md", "# Other"), "2")  # its number was 10
        (number,) = writer.missing("m")
        writer.put_vectors(number, new, "m")
        writer.put_vectors(20, new[:1], "m")
    after = index.vectors()
    assert after is not None
    assert sorted(set(after.pages.tolist())) == index.numbers()
    assert not {4, 10} & set(after.pages.tolist())
    assert list(after.best(new[1], 1)) == [number]
    assert after.best(new[0], 2).keys() == {number, 20}
    assert np.all(np.diff(after.pages) >= 0)
    with closing(Index(index.file)) as fresh:
        again = fresh.vectors()
        assert again is not None
        assert again.pages.tolist() == after.pages.tolist()
        query = random_vectors(7, 1)[0]
        assert list(again.best(query, 20)) == list(after.best(query, 20))


def test_vectors_of_another_model_are_left_out_until_it_serves(index: Index) -> None:
    with writing(index.file) as writer:
        pages = writer.missing("other")
        for number in pages:
            writer.put_vectors(number, random_vectors(1, 1, 100), "other")
    found = index.vectors()
    assert found is not None
    assert (found.model, len(set(found.pages.tolist()))) == ("m", len(pages))
    query = random_vectors(7, 1, 100)[0]
    assert not found.fits(query)
    with writing(index.file) as writer:
        writer.serve("other")
    found = index.vectors()
    assert found is not None
    assert (found.model, len(set(found.pages.tolist()))) == ("other", len(pages))
    assert found.fits(query)
    assert found.best(query, 3)
    with writing(index.file) as writer:
        assert writer.missing("m") == pages  # theirs are gone


def test_when_all_pages_go_there_are_no_vectors(index: Index) -> None:
    assert index.vectors() is not None
    with writing(index.file) as writer:
        writer.remove_source("wiki")
    assert index.vectors() is None


def test_a_wiki_that_grows_beyond_what_fits_is_sketched(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EXACT", 10)

    def put(numbers: range) -> None:
        with writing(file) as writer:
            for n in numbers:
                writer.put("wiki", page(f"{n}.md", f"# P{n}"), "1")
            for number in writer.missing("m"):
                writer.put_vectors(number, random_vectors(number, 1), "m")

    put(range(8))
    with closing(Index(file)) as index:
        assert isinstance(index.vectors(), Exact)
        put(range(8, 16))
        found = index.vectors()
        assert isinstance(found, Sketch)
        assert found.pages.tolist() == index.numbers()
        assert list(found.best(random_vectors(3, 1)[0], 1)) == [3]


def test_a_sketch_finds_nearly_all_of_the_nearest_pages(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Clusters as of texts, more chunks than are compared exactly.
    monkeypatch.setattr(vectors, "NEAR", 200)
    topics = random_vectors(1, 40)
    noise = random_vectors(2, 2000)
    matrix = np.repeat(topics, 50, axis=0) + 0.8 * noise
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    with writing(file) as writer:
        for n in range(2000):
            writer.put("wiki", Page(f"{n}.md", "P", "", ()), "1")
        for number in writer.missing("m"):
            writer.put_vectors(number, matrix[number - 1 : number], "m")
    with closing(Index(file)) as index:
        exact = index.vectors()
        assert isinstance(exact, Exact)
    monkeypatch.setattr(vectors, "EXACT", 0)
    with closing(Index(file)) as index:
        sketch = index.vectors()
        assert isinstance(sketch, Sketch)
        shares = []
        for topic in topics:
            query = topic + 0.5 * noise[0]
            right = exact.best(query, 10).keys()
            shares.append(len(right & sketch.best(query, 10).keys()) / 10)
        assert sum(shares) / len(shares) > 0.95
