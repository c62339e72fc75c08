"""A question of an evaluation, with its reference answer."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import AskdocsError
from eval.questions.clusters import clusters
from eval.questions.rows import Row

FILE = "questions.jsonl"


class Question(BaseModel):
    """A question of a run. It is stored with the run, so that a report needs nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The row's id, or derived from its text; unique in a run."""
    line: int
    """Line of the source file, from 1."""
    text: str
    answer: str
    """The reference answer; empty if unanswerable."""
    answerable: bool
    pages: tuple[str, ...] = ()
    """Paths of the gold pages in the wiki, the best first."""
    type: str
    """The question type: how, what, why, yes-no, ...; see `type_of`."""
    page_tokens: int | None = None
    """Tokens of the best of `pages`; None if unanswerable."""
    contaminated: bool = False
    """Is it, or a near copy, in a system's training data?"""


def read(run: Path) -> list[Question]:
    """The questions of a run, in order.

    Raises:
        AskdocsError: the folder is not a run, or the file is damaged; with file and line.
    """
    file = run / FILE
    try:
        lines = file.read_bytes().splitlines()  # str.splitlines would also split at U+2028
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a folder that `askdocs eval run` "
            "wrote"
        ) from None
    questions = []
    for number, line in enumerate(lines, 1):
        try:
            questions.append(Question.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            raise AskdocsError(
                f"{file}:{number}: is not a question ({problem['msg']}): run the evaluation again"
            ) from None
    return questions


def distinct(questions: Sequence[Question]) -> list[Question]:
    """Keep only one of several near copies, a contaminated one if there is any.

    New runs are drawn this way, but not those of earlier releases or made by hand.
    """
    rows = [Row(place, question.text, question.answer) for place, question in enumerate(questions)]
    groups = ([questions[row.line] for row in group] for group in clusters(rows))
    return [max(group, key=lambda question: question.contaminated) for group in groups]
