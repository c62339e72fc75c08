"""A judge in this process: a cross-encoder that reads a sentence with a narrow passage.

`research/encoders/judge.py` creates its file. Its score is a logit, which is added to the rules'
logit and covers errors that the rules miss.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import AskdocsError
from gateway.answering.grounding.prompt import Message
from wiki.index.embed import tokenizer_file
from wiki.search.rerank import OnnxReranker

SUFFIX = ".onnx"
# Must match research/encoders/judge.py.
TOKENS = 144
# Maximum seconds for the sentences of one answer.
LONGEST = 10.0


class Judge:
    """Runs an ONNX model."""

    beside = True

    def __init__(self, file: Path, threshold: float) -> None:
        """Raises AskdocsError: the file is missing, or not a cross-encoder."""
        self.name = file.name
        self.threshold = threshold
        if not file.is_file():
            raise AskdocsError(
                f"{file}: no such file: name the judge.onnx that your training wrote"
            )
        try:
            self._model = OnnxReranker(file, tokenizer_file(), TOKENS)
        except AskdocsError as error:
            raise AskdocsError(f"{file}: {error}") from None
        except Exception as error:  # each library raises its own types, even plain Exception
            raise AskdocsError(f"{file}: the judge does not run here: {error}") from None

    async def close(self) -> None:
        """Does nothing: there are no open resources."""

    async def scores(
        self,
        sentences: Sequence[str],
        passages: Sequence[str],
        prefix: Sequence[Message],
        salt: str = "",
    ) -> list[float]:
        """Returns a logit per sentence. Raises AskdocsError: it takes too long."""

        def work() -> list[float]:
            deadline = time.monotonic() + LONGEST
            scores: list[float] = []
            for sentence, passage in zip(sentences, passages, strict=True):
                if time.monotonic() > deadline:
                    raise AskdocsError(
                        f"{len(scores)} of {len(sentences)} sentences in {LONGEST:g} s"
                    )
                scores += self._model.scores(sentence, [passage], LONGEST)
            return scores

        return await asyncio.to_thread(work)
