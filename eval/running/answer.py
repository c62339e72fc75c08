"""An answer of a system to a question, with all that is measured while it is given.

A run appends each one to a file as soon as it is there. Whoever is killed in the middle of a line
loses that line, and asks its question again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.running import lines
from eval.scoring.words import is_refusal

FILE = "answers.jsonl"


class Answer(BaseModel):
    """What one system said to one question.

    Its times are those of requests that were answered. For how long the gateway was away or busy
    before is left out: that is not the way to answer, and would make slow whom it met.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    question: str
    """Its id."""
    text: str = ""
    refused: bool | None = None
    """Does askdocs say that it is a refusal? None: nobody says it, the text has to."""
    error: str = ""
    """Why there is no answer: it counts as a wrong one, and a resumed run asks again."""
    prompt_pages: tuple[str, ...] = ()
    """Paths of the pages of which something was in the prompt, in its order."""
    found_pages: tuple[str, ...] = ()
    """Paths of the pages that were found, the best one first: at least those of the prompt. A
    gateway names the best three; behind them stands what else was in the prompt."""
    cited_pages: tuple[str, ...] = ()
    """Paths of the pages that the answer names as its sources."""
    confidence: float | None = None
    """0 to 1, as the system itself has it: of the model's own tokens, the geometric mean."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    extra_prompt_tokens: int = 0
    """Of requests before the one that answers: expansion of the question, and the like."""
    extra_completion_tokens: int = 0
    retrieval_s: float = 0.0
    """From the question to the request that answers it."""
    first_token_s: float | None = None
    """Time to first token (TTFT), retrieval included."""
    total_s: float = 0.0
    """From the question to the end of the answer."""

    @property
    def is_refusal(self) -> bool:
        """Is it one, and no error?"""
        if self.error:
            return False
        return is_refusal(self.text) if self.refused is None else self.refused


def read(run: Path) -> Iterator[Answer]:
    """The answers of a run, in the order in which they came. Half a line is passed over."""
    try:
        data = (run / FILE).read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            yield Answer.model_validate_json(line)
        except ValidationError:
            continue


def latest(run: Path) -> dict[tuple[str, str], Answer]:
    """The last answer of each system to each question, by the two: after an error, the one that
    a resumed run got."""
    return {(row.system, row.question): row for row in read(run)}


@contextmanager
def appending(run: Path) -> Iterator[Callable[[Answer], None]]:
    """Writes answers behind those that are there, each at once."""
    with lines.appending(run / FILE) as file:

        def append(row: Answer) -> None:
            file.write(row.model_dump_json().encode() + b"\n")
            file.flush()

        yield append
