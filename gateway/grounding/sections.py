"""How like sections of pages are to a question, by what they mean."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence

from gateway.grounding.excerpt import spoken
from gateway.search.embed import Embedder
from gateway.search.passages import plain
from gateway.search.vectors import Floats
from gateway.wiki.page import Page, Section

# Words of a section that are read: more tell no more, and take longer.
WORDS = 60
# Vectors that are kept, 2 kB each with their text: questions come to few of a wiki's sections.
KEPT = 4096


class Sections:
    """Compares sections with questions. Safe to use from any thread."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()
        # Right after a start many questions come to sections that are new, and would wait for each
        # other: reading twelve sections takes longer than all the rest.
        self._reading = threading.Semaphore(os.cpu_count() or 1)

    def similarity(
        self, question: str, places: Sequence[tuple[Page, Section]], *, patient: bool = False
    ) -> list[float] | None:
        """The cosine of the question and each section with its page's title: -1 to 1.

        A section that was not met before takes some 10 ms. None, unless it is `patient`: some were
        not, and as many questions as there are cores are at such sections already.
        """
        texts = [_beginning(*place) for place in places]
        with self._lock:
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
        if len(known) < len(set(texts)):
            if not self._reading.acquire(blocking=patient):
                return None
            try:
                for text in texts:
                    if text not in known:
                        known[text] = self._embedder.embed([text])[0]
            finally:
                self._reading.release()
        self._keep(known)
        asked = self._embedder.embed([question])[0]
        return [float(known[text] @ asked) for text in texts]

    def _keep(self, known: dict[str, Floats]) -> None:
        with self._lock:
            for text, vector in known.items():
                self._vectors[text] = vector
                self._vectors.move_to_end(text)
            while len(self._vectors) > KEPT:
                self._vectors.popitem(last=False)


def _beginning(page: Page, section: Section) -> str:
    """Headings and first words, in the form of `gateway.search.embed.chunks`."""
    head = " › ".join(dict.fromkeys([page.title, *section.path]))
    return f"{head}\n{' '.join(plain(spoken(section)).split()[:WORDS])}"
