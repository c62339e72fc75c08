"""How well texts answer a question: what a reranker tells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gateway.search.embed import Vectors, unit


@dataclass(frozen=True)
class Text:
    """A text as the embedding model has read it."""

    text: str
    windows: Sequence[Vectors]
    """A vector for each token of each piece of it, see `Embedder.read`."""

    @property
    def tokens(self) -> int:
        return sum(map(len, self.windows))


def relevance(question: Text, texts: Sequence[Text]) -> list[float]:
    """From 0 to 1, for each of `texts`: the similarity of the nearest window."""
    asked = _means(question).mean(axis=0)
    return [float(np.clip((_means(text) @ unit(asked)).max(), 0, 1)) for text in texts]


def _means(text: Text) -> Vectors:
    """The vectors of the windows, each of length 1."""
    return unit(np.stack([window.mean(axis=0) for window in text.windows]))
