"""Measures, sentence by sentence, whether an answer is supported by the pages in its prompt.

The gateway's claim checker decides by its rules; for its error rates see research/notebook.md,
"The check". It checks against the whole of each page with text in the prompt.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from eval.questions.question import Question
from eval.running import lines
from eval.running.answer import Answer
from gateway.answering.check import Check
from gateway.answering.grounding.excerpt import Excerpt
from wiki.index.postings import idf
from wiki.pages.page import Page
from wiki.pages.words import stem_set

FILE = "grounded.jsonl"
_VERSION = 1
"""Increase it when the check changes, so that stored shares are not reused."""


class Rarity:
    """Inverse document frequency of words, computed from the wiki's pages alone."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._having: Counter[str] = Counter()
        self._size = 0
        for text in texts:
            self._having.update(stem_set(text))
            self._size += 1

    def __call__(self, stems: Iterable[str]) -> dict[str, float]:
        return {stem: max(0.1, idf(self._size, self._having[stem])) for stem in stems}


class Groundedness:
    """The share of an answer's claims that its pages support; stored with the run.

    Args:
        run: folder of the run, where the shares are stored.
        pages: the wiki's pages as the run used them.
    """

    def __init__(self, run: Path, pages: Sequence[Page]) -> None:
        self._file = run / FILE
        self._pages = {page.path: page for page in pages}
        self._rarity = Rarity(page.text for page in pages)
        self._stored_shares: dict[str, float | None] = {}
        if self._file.is_file():
            for line in self._file.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._stored_shares[row["texts"]] = row["grounded"]
                except (ValueError, KeyError, TypeError):
                    continue  # a line truncated by a kill

    def __call__(self, question: Question, given: Answer) -> float | None:
        """None if the answer makes no claims or was not measured."""
        return self._stored_shares.get(self._key(question, given))

    async def measure(
        self, answers: Iterable[tuple[Question, Answer]], progress: Callable[[int, int], None]
    ) -> None:
        """Check the answers not checked yet. Calls `progress(done, total)`."""
        every = {self._key(*pair): pair for pair in answers}
        todo = {key: pair for key, pair in every.items() if key not in self._stored_shares}
        with lines.appending(self._file) as file:
            for done, (key, (question, given)) in enumerate(todo.items(), 1):
                self._stored_shares[key] = await self._share(question, given)
                row = {"texts": key, "grounded": self._stored_shares[key]}
                file.write(json.dumps(row).encode() + b"\n")
                progress(done, len(todo))
                await asyncio.sleep(0)

    async def _share(self, question: Question, given: Answer) -> float | None:
        read = [self._pages[path] for path in given.prompt_pages if path in self._pages]
        if not read:
            return None
        excerpts = [Excerpt(page, page.sections, 0) for page in read]
        claims = await Check(excerpts, self._rarity, asked=question.text).claims(given.text)
        verdicts = [claim.verdict for claim in claims if claim.verdict != "none"]
        return verdicts.count("supported") / len(verdicts) if verdicts else None

    def _key(self, question: Question, given: Answer) -> str:
        read = [
            [path, self._pages[path].text] for path in given.prompt_pages if path in self._pages
        ]
        texts = [_VERSION, question.text, given.text, read]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]
