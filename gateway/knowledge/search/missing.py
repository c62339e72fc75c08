"""Computes missing embeddings, a few pages at a time.

After a change of the embedder the vectors before it serve until all pages have new ones; then all
questions are compared with those, in one step.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from gateway.knowledge.search import fit
from gateway.knowledge.search.embed import MODEL, Embedder, load
from gateway.knowledge.search.fit import Fit
from gateway.knowledge.search.passages import embedded, passages
from gateway.knowledge.search.vectors import Floats
from gateway.knowledge.search.writer import Writer
from gateway.knowledge.wiki.page import Page

# Pages between two commits: at least FEW, then an eighth of what is done, at most MANY. Each commit
# lets running gateways see the new vectors, and makes them read all vectors again.
FEW = 64
MANY = 2000
# Headings that tell how near a model puts what belongs together, and pages that they are of.
HEADINGS = 200
PAGES = 400


def embed_missing(
    writing: Callable[[], AbstractContextManager[Writer]],
    embedder: Embedder,
    progress: Callable[[int, int], None] = lambda done, total: None,
    described: Mapping[str, Any] | None = None,
) -> int:
    """Store the vectors of all pages that have none of this model; the number of pages done.

    Nobody waits for it: the index is locked only while vectors are stored. It can be stopped and
    started again at any time, and does not do twice what was committed.

    Args:
        writing: opens the index, for example `partial(index.writing, file)`.
        embedder: makes the vectors.
        progress: told after each page how many are done, and of how many. It may raise to stop.
        described: how `embedder` is opened again, see `gateway.knowledge.search.models.describe`.

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
            for number, matrix in ready.items():
                writer.put_vectors(number, matrix, model)
            pages = [(number, writer.page(number)) for number in batch]
        ready = {}
        for number, page in pages:
            if page is not None:  # else it has gone meanwhile
                ready[number] = embedder.embed(embedded(page))
            done += 1
            progress(done, total)
    _serve(writing, embedder)
    return done


def _serve(writing: Callable[[], AbstractContextManager[Writer]], embedder: Embedder) -> None:
    """Let the model serve, fitted, if every page has its vectors."""
    model = embedder.model
    with writing() as writer:
        if writer.missing(model) or not writer.embedders().serving:
            return  # somebody has put more pages meanwhile, or there is no page
        stored = dict(writer.embedders().stored.get(model, {}))
        pages = [] if model == MODEL or "fit" in stored else _some(writer)
    if pages:
        stored["fit"] = fitted(pages, embedder).dump()
    with writing() as writer:
        if stored:
            writer.put_embedder(model, stored)
        writer.serve(model)


def _some(writer: Writer) -> list[Page]:
    """Some pages of a wiki, always the same ones."""
    numbers = writer.missing("")  # of no model: all
    numbers.sort(key=lambda number: hashlib.sha256(str(number).encode()).digest())
    pages = (writer.page(number) for number in numbers[:PAGES])
    return [page for page in pages if page is not None]


def fitted(pages: list[Page], embedder: Embedder) -> Fit:
    """What puts the cosines of a model where the bundled one has them on the same pages.

    Raises AskdocsError as `Embedder.embed`.
    """
    near, far = cosines(pages, embedder)
    bundled = load()
    usual = cosines(pages, bundled) if bundled else (fit.NEAR, fit.FAR)
    if near <= far or usual[0] <= usual[1]:
        return Fit()
    return fit.of_cosines(near, far, usual)


def cosines(pages: list[Page], embedder: Embedder) -> tuple[float, float]:
    """The mean cosines of headings with a passage below them, and with one of another page."""
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
