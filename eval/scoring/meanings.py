"""Compares the meanings of answers in the background, while the next questions are asked."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from eval.questions.question import Question
from eval.running.answer import Answer
from eval.scoring.mark import compared, marks
from eval.scoring.similarity import Similarity, Tell
from wiki.index.embed import Embedder


class GivenUp(Exception):
    """The evaluation was aborted; comparisons so far are kept."""


class Meanings:
    """Context manager; after its block ends normally, the report has nothing left to compare."""

    def __init__(self, run: Path, embedder: Embedder, tell: Tell) -> None:
        """`tell` receives the progress of the last comparisons, for which the user waits."""
        self._similarity = Similarity(run, embedder)
        self._tell = tell
        self._comparing: asyncio.Task[None] | None = None
        self._is_last = False
        self._is_given_up = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._is_last, self._is_given_up = True, error is not None
        with suppress(GivenUp):
            await self._compared()

    @property
    def is_idle(self) -> bool:
        return self._comparing is None or self._comparing.done()

    async def compare(
        self, name: str, questions: Sequence[Question], answers: Mapping[str, Answer]
    ) -> None:
        """Start comparing these answers of system `name`, by question id, after earlier ones are
        done.

        Known comparisons are not repeated.
        """
        await self._compared()
        texts = compared(marks(questions, {name: answers})[name])
        comparing = asyncio.to_thread(self._similarity.compare, texts, self._hear)
        self._comparing = asyncio.create_task(comparing)

    async def _compared(self) -> None:
        if self._comparing is not None:
            await self._comparing

    def _hear(self, done: int, total: int) -> None:
        if self._is_given_up:
            raise GivenUp
        if self._is_last:
            self._tell(done, total)
