"""Computes missing embeddings, a few pages at a time.

After a change of the embedder, the old vectors stay in use until all pages have new ones; then the
search switches to the new ones in one step.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from core.errors import AskdocsError
from wiki.index import calibration
from wiki.index.calibration import Fit
from wiki.index.embed import MODEL, Embedder, load
from wiki.index.passages import embedded, passages
from wiki.index.vectors import Floats
from wiki.index.writer import Writer
from wiki.pages.page import Page

# Pages between commits: at least FEW, then an eighth of the pages done, at most MANY. After each
# commit, running gateways see the new vectors, and must read all vectors again.
FEW = 64
MANY = 2000
# Headings to measure a model's similarities with, and pages to take them from.
HEADINGS = 200
PAGES = 400


def embed_missing(
    writing: Callable[[], AbstractContextManager[Writer]],
    embedder: Embedder,
    progress: Callable[[int, int], None] = lambda done, total: None,
    described: Mapping[str, Any] | None = None,
) -> int:
    """Store the vectors of all pages without vectors of this model; returns the number of pages
    done.

    It blocks nobody: the index is locked only while vectors are stored. It can be stopped and
    restarted at any time, and keeps committed work; if the embedder fails, all work.

    Args:
        writing: opens the index, for example `partial(index.writing, file)`.
        embedder: computes the vectors.
        progress: receives the number of pages done, and the total. It may raise to stop.
        described: how to reopen `embedder`, see `wiki.search.models.describe`.

    Raises:
        AskdocsError: as `writing`, and as `Embedder.embed`.
    """
    model = embedder.model
    done = 0
    ready: dict[int, Floats] = {}
    with writing() as writer:
        stored = dict(writer.embedders().stored.get(model, {}))
        if described is not None and stored.get("described") != described:
            stored["described"] = described
            writer.put_embedder(model, stored)
        waiting = writer.missing(model)
    total = len(waiting)
    while waiting or ready:
        batch, waiting = _split(waiting, min(MANY, max(FEW, done // 8)))
        with writing() as writer:
            _put(writer, ready, model)
            pages = [(number, writer.page(number)) for number in batch]
        ready = {}
        try:
            for number, page in pages:
                if page is not None:  # otherwise it was removed meanwhile
                    ready[number] = embedder.embed(embedded(page))
                done += 1
                progress(done, total)
        except AskdocsError:  # a slow endpoint would fail again before a whole batch is done
            with writing() as writer:
                _put(writer, ready, model)
            raise
    _serve(writing, embedder)
    return done


def _put(writer: Writer, ready: Mapping[int, Floats], model: str) -> None:
    for number, matrix in ready.items():
        writer.put_vectors(number, matrix, model)


def _serve(writing: Callable[[], AbstractContextManager[Writer]], embedder: Embedder) -> None:
    """Fit the model and put its vectors in use, if every page has some."""
    model = embedder.model
    with writing() as writer:
        if writer.missing(model) or not writer.embedders().serving:
            return  # pages were added meanwhile, or there are none
        stored = dict(writer.embedders().stored.get(model, {}))
        pages = [] if model == MODEL or "fit" in stored else _some(writer)
    if pages:
        stored["fit"] = fitted(pages, embedder).dump()
    with writing() as writer:
        if stored:
            writer.put_embedder(model, stored)
        writer.serve(model)


def _some(writer: Writer) -> list[Page]:
    """A fixed sample of a wiki's pages."""
    numbers = writer.missing("")  # no model: all pages
    numbers.sort(key=lambda number: hashlib.sha256(str(number).encode()).digest())
    pages = (writer.page(number) for number in numbers[:PAGES])
    return [page for page in pages if page is not None]


def fitted(pages: list[Page], embedder: Embedder) -> Fit:
    """Maps a model's cosines to the bundled model's on the same pages.

    Raises AskdocsError as `Embedder.embed`.
    """
    near, far = cosines(pages, embedder)
    bundled = load()
    usual = cosines(pages, bundled) if bundled else (calibration.NEAR, calibration.FAR)
    if near <= far or usual[0] <= usual[1]:
        return Fit()
    return calibration.of_cosines(near, far, usual)


def cosines(pages: list[Page], embedder: Embedder) -> tuple[float, float]:
    """The mean cosines of headings with a passage below them, and with another page's passage."""
    headings, texts = [], []
    for page in pages:
        whole = embedded(page)
        of_page = [
            (page.sections[passage.section].heading, text)
            for passage, text in zip(passages(page), whole, strict=True)
            if passage.is_readable and page.sections and page.sections[passage.section].heading
        ]
        if of_page:
            heading, text = of_page[len(page.title) % len(of_page)]
            headings.append(heading)
            texts.append(text)
        if len(texts) == HEADINGS:
            break
    if len(texts) < 2:
        return 0.0, 0.0
    questions = np.stack([embedder.ask(heading) for heading in headings])
    read = embedder.embed(texts)
    return float(np.vecdot(questions, read).mean()), float(
        np.vecdot(questions, np.roll(read, 1, 0)).mean()
    )


def _split(numbers: list[int], at: int) -> tuple[list[int], list[int]]:
    return numbers[:at], numbers[at:]
