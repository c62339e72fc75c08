"""Reranks the top passages of a search within a time limit.

The bundled reranker is this project's own cross-encoder: `reranker/NOTICE.md` describes its base
model, data and recipe.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import AskdocsError, RareWarning
from wiki.index.embed import (
    THREADS,
    TOKENS,
    load_session,
    load_tokenizer,
    measured,
    model_files,
    read_layout,
    tokenizer_file,
)

log = logging.getLogger("askdocs.search")

BUNDLED = Path(__file__).with_name("reranker") / "model.onnx"
# The measured file.
SHA256 = "11c0850af1ebb834f32721ace00bcc0ba05d50bc96d44fe3e9ba75577c517528"
# The bundled reranker's maximum tokens of question and passage, and number of passages.
BUNDLED_TOKENS = 160
BUNDLED_PASSAGES = 8
# The weight of its score relative to the search's, the same as in training: see SEARCH in
# research/encoders/rerank.py.
BESIDE = 1 / 14
# A cross-encoder outputs one number, or one for each of two classes.
CLASSES = 2
# Concurrent rerankings; further questions keep the search's order.
AT_ONCE = 4
# In this process, limited by the number of processors: with more, all would be late.
AT_ONCE_HERE = max(1, min(AT_ONCE, (os.cpu_count() or 1) // THREADS))


class Reranker(Protocol):
    def scores(self, question: str, texts: Sequence[str], seconds: float) -> Iterable[float]:
        """How well each text answers, in order: any numbers, higher is better. Ends early when the
        time is up. Raises AskdocsError."""
        ...


class OnnxReranker:
    """A cross-encoder in this process."""

    def __init__(
        self, weights: Path, tokenizer: Path, tokens: int, *, is_bundled: bool = False
    ) -> None:
        """Raises the libraries' errors if they fail to load."""
        self._tokenizer = load_tokenizer(tokenizer, tokens)
        self._session = load_session(weights, is_bundled=is_bundled)
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}
        self._score("a test", "a text")

    def scores(self, question: str, texts: Sequence[str], seconds: float) -> Iterator[float]:
        deadline = time.monotonic() + seconds
        for text in texts:
            if time.monotonic() > deadline:
                return
            yield self._score(question, text)

    def _score(self, question: str, text: str) -> float:
        pair = [side.encode("utf-8", "replace").decode() for side in (question, text)]
        read = self._tokenizer.encode(*pair)
        given = {
            "input_ids": np.array([read.ids], np.int64),
            "attention_mask": np.ones((1, len(read.ids)), np.int64),
            "token_type_ids": np.array([read.type_ids], np.int64),
        }
        output, *_ = self._session.run(None, {name: given[name] for name in self._inputs})
        logits = np.asarray(output).reshape(-1)
        if len(logits) > CLASSES:
            raise AskdocsError(
                f"it returns {len(logits)} numbers for a pair: it is not a cross-encoder"
            )
        # Of two classes, the last one is "relevant".
        return float(logits[-1])


def open_folder(folder: Path) -> OnnxReranker:
    """Opens a cross-encoder folder with `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.

    Raises AskdocsError.
    """
    weights, tokenizer = model_files(folder)
    try:
        return OnnxReranker(weights, tokenizer, max(TOKENS, read_layout(folder).tokens))
    except AskdocsError:
        raise
    except Exception as error:  # each library raises its own types, even plain Exception
        raise AskdocsError(f"{folder}: the reranker does not run here: {error}") from None


def bundled() -> OnnxReranker | None:
    """The bundled cross-encoder, or None if it cannot run; logs the reason."""
    try:
        weights = measured(BUNDLED, SHA256)
        return OnnxReranker(weights, tokenizer_file(), BUNDLED_TOKENS, is_bundled=True)
    except Exception as error:  # each library raises its own types, even plain Exception
        log.warning("passages are not reranked: %s", error)
        return None


class InTime:
    """A reranker with a time limit. Safe to use from any thread."""

    def __init__(
        self,
        reranker: Reranker,
        passages: int,
        seconds: float,
        beside: float | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        """
        Args:
            reranker: scores the texts.
            passages: the number of texts that it reranks.
            seconds: time limit.
            beside: the weight of its score relative to the search's; None if it decides alone.
            at_once: the number of concurrent questions.
        """
        self.passages = passages
        self.decides = beside is None
        self.at_once = at_once
        self._beside = beside
        self._reranker = reranker
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="rerank")
        self._free = threading.Semaphore(at_once)
        self._trouble = RareWarning("askdocs.search")

    def order(
        self, question: str, texts: Sequence[str], own_scores: Sequence[float]
    ) -> list[int] | None:
        """The indices of the texts, best first; None if it fails, or is too late for two of them.
        Those that it has not read in time keep their places. `own_scores` are the search's."""
        if not self._free.acquire(blocking=False):
            self._left_out("all its threads are busy")
            return None
        given: list[float] = []

        def work() -> None:
            try:
                for score in self._reranker.scores(question, texts, self._seconds):
                    given.append(score)
            finally:
                self._free.release()

        try:
            self._threads.submit(work).result(self._seconds)
        except TimeoutError:
            pass  # the scores until now count
        except Exception as error:  # each library raises its own types, even plain Exception
            self._left_out(str(error) or repr(error))
            return None
        scores = given[:]  # `work` may go on
        if len(scores) < min(len(texts), 2):
            self._left_out(f"it took longer than {self._seconds:g} s")
            return None
        if self._beside is not None:
            scores = [
                own + self._beside * score for own, score in zip(own_scores, scores, strict=False)
            ]
        first = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        return [*first, *range(len(scores), len(texts))]

    def _left_out(self, why: str) -> None:
        self._trouble.warn("the reranker is skipped: %s", why)
