"""Gives access to the index's answered-question memory while it is enabled."""

import threading
from collections.abc import Sequence

from gateway.knowledge.search import calibration, memory
from gateway.knowledge.search.index import Index
from gateway.knowledge.search.memory import AnswerMemory, combine
from gateway.knowledge.search.vectors import Floats


class Remembered:
    """Lets the answered questions of an index vote. Safe to use from any thread."""

    def __init__(self, index: Index, model: str) -> None:
        """`model` embeds the questions."""
        self._index = index
        self._model = model
        self._lock = threading.Lock()
        self._generation: int | None = None
        self._now: tuple[AnswerMemory, float] | None = None

    def ranked(
        self, text: Sequence[tuple[int, float]], vector: Floats
    ) -> Sequence[tuple[int, float]]:
        """Reranks pages, sorted by text, with the memory's votes, see `memory.combine`."""
        with self._lock:
            if self._generation != (generation := self._index.generation):
                self._now = self._load()
                self._generation = generation
            now = self._now
        if now is None:
            return text
        answered, weight = now
        return combine(text, answered.votes(vector), weight)

    def _load(self) -> tuple[AnswerMemory, float] | None:
        """The memory and its votes' weight, if it is enabled."""
        with self._index.snapshot():
            measured = calibration.load(self._index.memory())
            if measured is None or not measured.is_on or measured.model != self._model:
                return None
            numbers = self._index.paths()
            answers = memory.usable(self._index.answers(), numbers, self._model)
        return (memory.of_answers(answers, numbers), measured.weight) if answers else None
