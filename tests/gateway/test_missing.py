"""Vectors of pages that have none: all of them in the end, whatever happens on the way."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.errors import AskdocsError
from tests.gateway.conftest import page
from wiki.index import missing, reused_vectors
from wiki.index.embed import Embedder
from wiki.index.index import Index, build, writing
from wiki.index.missing import embed_missing
from wiki.index.vectors import Floats
from wiki.sources.spec import Spec
from wiki.sources.sync import sync


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "index.db"
    build(file, [page(f"{n}.md", f"# Page {n}\n\nWord{n}") for n in range(5)])
    return file


def test_every_page_gets_its_vectors_once(file: Path, embedder: Embedder) -> None:
    told: list[tuple[int, int]] = []
    assert embed_missing(partial(writing, file), embedder, lambda *far: told.append(far)) == 5
    assert told == [(n, 5) for n in range(1, 6)]
    assert embed_missing(partial(writing, file), embedder) == 0
    with closing(Index(file)) as index:
        vectors = index.vectors()
    assert vectors is not None
    assert vectors.model == embedder.model
    assert len(np.unique(vectors.pages)) == 5


def test_the_page_of_a_text_is_the_nearest_to_it(file: Path, embedder: Embedder) -> None:
    embed_missing(partial(writing, file), embedder)
    with closing(Index(file)) as index:
        vectors = index.vectors()
        assert vectors is not None
        (number,) = vectors.best(embedder.embed(["Page 3\nWord3"])[0], 1)
        assert index.page(number).path == "3.md"


def test_what_was_committed_before_a_stop_is_not_done_again(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "FEW", 2)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_missing(partial(writing, file), embedder, stop)
    assert embed_missing(partial(writing, file), embedder) == 3


def test_pages_done_before_the_embedder_fails_are_kept(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = embedder.embed

    def fails_at_the_third(texts: Sequence[str]) -> Floats:
        if texts[0].startswith("Page 2"):
            raise AskdocsError("e5 does not answer: timed out")
        return embed(texts)

    with monkeypatch.context() as patched:
        patched.setattr(embedder, "embed", fails_at_the_third)
        with pytest.raises(AskdocsError, match="timed out"):
            embed_missing(partial(writing, file), embedder)
    assert embed_missing(partial(writing, file), embedder) == 3


def test_only_a_changed_page_is_embedded_again(file: Path, embedder: Embedder) -> None:
    embed_missing(partial(writing, file), embedder)
    with writing(file) as writer:
        writer.put("", page("2.md", "# Page 2\n\nOther words"), "")
    assert embed_missing(partial(writing, file), embedder) == 1


def test_pages_that_move_and_a_site_that_does_are_not_embedded_again(
    wiki: Path, file: Path, embedder: Embedder
) -> None:
    def synced(spec: Spec) -> int:
        sync(spec.open(), partial(writing, file), spec=spec.stored)
        return embed_missing(partial(writing, file), embedder)

    (wiki / "coffee.md").write_text("# Coffee\n\nAsk on the way to [a journey](travel.md).\n")
    place = str(wiki)
    file.unlink()
    assert synced(Spec.named(place, site_url="https://wiki.example.com/")) == 2
    # As `askdocs up --docs` shows the same folder.
    assert synced(Spec.named(place, "preview", "http://127.0.0.1:8000/")) == 0
    (wiki / "kitchen").mkdir()
    (wiki / "travel.md").rename(wiki / "kitchen" / "travel.md")
    assert synced(Spec.named(place, "preview", "http://127.0.0.1:8000/")) == 0
    with closing(Index(file)) as index:
        assert {page.path for page in index.pages()} == {"coffee.md", "kitchen/travel.md"}
        assert index.embedded() == (embedder.model, 2)


def test_of_more_pages_that_move_than_are_held_the_first_are_embedded_again(
    file: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_missing(partial(writing, file), embedder)
    monkeypatch.setattr(reused_vectors, "MOST", 2 * 384)
    with writing(file) as writer:
        for n in range(5):
            writer.remove("", f"{n}.md")
        for n in range(5):
            writer.put("", page(f"moved/{n}.md", f"# Page {n}\n\nWord{n}"), "")
        waiting = [writer.page(number) for number in writer.missing(embedder.model)]
    assert [one and one.path for one in waiting] == ["moved/0.md", "moved/1.md", "moved/2.md"]
    assert embed_missing(partial(writing, file), embedder) == 3
