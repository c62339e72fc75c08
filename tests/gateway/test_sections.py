"""Sections beside questions: what many at once cost, and what they do not wait for."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gateway.grounding.sections import Sections
from gateway.search.embed import Embedder, Vectors
from tests.gateway.conftest import page

READ = page("a.md", "# Fruit\n\n## Apples\n\nRed ones.\n\n## Pears\n\nYellow ones.")
PLACES = [(READ, section) for section in READ.sections]
CORES = os.cpu_count() or 1


class Slow(Embedder):
    """Reads sections only when it may; questions at once. Vectors say how long texts are."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.seen: list[str] = []
        self.at_it = threading.Semaphore(0)

    def embed(self, texts: Sequence[str]) -> Vectors:
        if "\n" in texts[0]:
            self.at_it.release()
            assert self.may.wait(30)
            self.seen.append(texts[0])
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_a_section_is_read_once() -> None:
    slow = Slow()
    slow.may.set()
    sections = Sections(slow)
    first, again = sections.similarity("pear", PLACES), sections.similarity("pear", PLACES[::-1])
    assert first is not None
    assert again is not None
    assert first == again[::-1]
    assert len(slow.seen) == len(PLACES)


def test_new_sections_are_not_waited_for_while_each_core_reads_some() -> None:
    slow = Slow()
    sections = Sections(slow)
    with ThreadPoolExecutor(CORES + 1) as pool:
        busy = [pool.submit(sections.similarity, "apple", PLACES) for _ in range(CORES)]
        for _ in busy:
            assert slow.at_it.acquire(timeout=30)
        assert sections.similarity("pear", PLACES) is None
        waiting = pool.submit(lambda: sections.similarity("pear", PLACES, patient=True))
        slow.may.set()
        assert all(one.result(30) for one in busy)
        assert waiting.result(30) == sections.similarity("pear", PLACES)
