"""A question of an evaluation, and what a good answer to it is."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.questions.clusters import clusters
from eval.questions.rows import Row
from gateway.core.errors import AskdocsError

FILE = "questions.jsonl"


class Question(BaseModel):
    """What a run asks. It is kept with the run, so that a report needs nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The row's own, or made of its text; no two of a run are equal."""
    line: int
    """Of the file that it came from, from 1."""
    text: str
    answer: str
    """The written one; empty where no page answers."""
    answerable: bool
    pages: tuple[str, ...] = ()
    """Paths of the pages that answer, as the wiki has them, the best one first."""
    type: str
    """What is asked for: how, what, why, yes-no, ...; see `type_of`."""
    page_tokens: int | None = None
    """Of the best of `pages`; None where no page answers."""
    contaminated: bool = False
    """Is it, or one that is nearly the same, in what a system was trained on?"""


def read(run: Path) -> list[Question]:
    """The questions of a run, in its order.

    Raises:
        AskdocsError: the folder is no run, or the file was damaged; with file and line.
    """
    file = run / FILE
    try:
        lines = file.read_bytes().splitlines()  # a text's would split at U+2028, too
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): name a folder that `askdocs eval run` made"
        ) from None
    questions = []
    for number, line in enumerate(lines, 1):
        try:
            # Earlier releases wrote "leaked".
            line = line.replace(b'"leaked":', b'"contaminated":')
            questions.append(Question.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            raise AskdocsError(
                f"{file}:{number}: is no question ({problem['msg']}): run the evaluation again"
            ) from None
    return questions


def distinct(questions: Sequence[Question]) -> list[Question]:
    """Without those that ask almost the same as another one; of these, a contaminated one stays.

    A run is drawn so. Those of earlier releases were not, and nor may those that are made by hand.
    """
    rows = [Row(place, question.text, question.answer) for place, question in enumerate(questions)]
    groups = ([questions[row.line] for row in group] for group in clusters(rows))
    return [max(group, key=lambda question: question.contaminated) for group in groups]
