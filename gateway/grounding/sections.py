"""How like sections of pages are to a question, by what they mean."""

from collections.abc import Sequence
from functools import lru_cache

from gateway.grounding.excerpt import spoken
from gateway.search.embed import Embedder, plain
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
        self._vector = lru_cache(maxsize=KEPT)(self._one)

    def likeness(self, question: str, places: Sequence[tuple[Page, Section]]) -> list[float]:
        """The cosine of the question and each section with its page's title: -1 to 1.

        A section that was not met before takes some 10 ms.
        """
        asked = self._embedder.embed([question])[0]
        return [float(self._vector(_beginning(*place)) @ asked) for place in places]

    def _one(self, text: str) -> Floats:
        vector: Floats = self._embedder.embed([text])[0]
        return vector


def _beginning(page: Page, section: Section) -> str:
    """Headings and first words, in the form of `gateway.search.embed.chunks`."""
    head = " › ".join(dict.fromkeys([page.title, *section.path]))
    return f"{head}\n{' '.join(plain(spoken(section)).split()[:WORDS])}"
