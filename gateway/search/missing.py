"""Works out the vectors of pages that have none yet, a few pages at a time."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from gateway.search.embed import Embedder
from gateway.search.passages import embedded
from gateway.search.vectors import Floats
from gateway.search.writer import Writer

# Pages between two commits: at least FEW, then an eighth of what is done, at most MANY. Each commit
# lets running gateways see the new vectors, and makes them read all vectors again.
FEW = 64
MANY = 2000


def embed_missing(
    writing: Callable[[], AbstractContextManager[Writer]],
    embedder: Embedder,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Store the vectors of all pages that have none of this model; the number of pages done.

    Nobody waits for it: the index is locked only while vectors are stored. It can be stopped and
    started again at any time, and does not do twice what was committed.

    Args:
        writing: opens the index, for example `partial(index.writing, file)`.
        embedder: makes the vectors.
        progress: told after each page how many are done, and of how many. It may raise to stop.

    Raises:
        AskdocsError: as `writing`.
    """
    done = 0
    ready: dict[int, Floats] = {}
    with writing() as writer:
        waiting = writer.missing(embedder.model)
    total = len(waiting)
    while waiting or ready:
        batch, waiting = _split(waiting, min(MANY, max(FEW, done // 8)))
        with writing() as writer:
            for number, matrix in ready.items():
                writer.put_vectors(number, matrix, embedder.model)
            pages = [(number, writer.page(number)) for number in batch]
        ready = {}
        for number, page in pages:
            if page is not None:  # else it has gone meanwhile
                ready[number] = embedder.embed(embedded(page))
            done += 1
            progress(done, total)
    return done


def _split(numbers: list[int], at: int) -> tuple[list[int], list[int]]:
    return numbers[:at], numbers[at:]
