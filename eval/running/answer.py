"""A system's answer to a question, with everything measured while it was given.

A run appends each answer to a file at once. If it is killed in the middle of a line, it loses that
line and asks the question again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.running import lines
from eval.scoring.words import is_refusal

FILE = "answers.jsonl"


class Answer(BaseModel):
    """One system's answer to one question.

    Times cover answered requests only. Waits for an unavailable or busy gateway are left out: they
    are not part of answering, and would slow only the systems that met them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    question: str
    """The question's id."""
    text: str = ""
    refused: bool | None = None
    """Does askdocs mark it as a refusal? None: unknown, so the text decides."""
    error: str = ""
    """Why there is no answer; it counts as wrong, and a resumed run asks again."""
    prompt_pages: tuple[str, ...] = ()
    """Paths of the pages with text in the prompt, in prompt order."""
    found_pages: tuple[str, ...] = ()
    """Paths of the retrieved pages, best first, including at least those of the prompt. A gateway
    names the best three; the prompt's other pages follow."""
    cited_pages: tuple[str, ...] = ()
    """Paths of the pages that the answer cites."""
    confidence: float | None = None
    """The system's own confidence, 0 to 1: the geometric mean over the model's tokens."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    extra_prompt_tokens: int = 0
    """Tokens of requests before the answering one, such as query expansion."""
    extra_completion_tokens: int = 0
    retrieval_s: float = 0.0
    """Seconds from the question to the answering request."""
    first_token_s: float | None = None
    """Time to first token (TTFT), retrieval included."""
    total_s: float = 0.0
    """Seconds from the question to the end of the answer."""

    @property
    def is_refusal(self) -> bool:
        """Is it a refusal, and not an error?"""
        if self.error:
            return False
        return is_refusal(self.text) if self.refused is None else self.refused


def read(run: Path) -> Iterator[Answer]:
    """The answers of a run in the order of arrival. Skips a truncated line."""
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
    """The last answer by system and question: after an error, the one from the resumed run."""
    return {(row.system, row.question): row for row in read(run)}


@contextmanager
def appending(run: Path) -> Iterator[Callable[[Answer], None]]:
    """Opens a run's file for appending answers, each written at once."""
    with lines.appending(run / FILE) as file:

        def append(row: Answer) -> None:
            file.write(row.model_dump_json().encode() + b"\n")
            file.flush()

        yield append
