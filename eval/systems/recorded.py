"""Reads recorded answers, from other tools or from people, whose systems are not asked.

A JSON Lines file: `question` as in the questions file, `answer`, and if known `pages`, paths of the
pages used for the answer. `system` distinguishes the answers of several tools. Questions without a
row are not counted for a system.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import AskdocsError, first_problem
from eval.questions import rows
from eval.questions.question import Question
from eval.systems.systems import RECORDED, is_recorded
from gateway.answering.claims import drafts, refuses
from wiki.search.paths import Paths


class RecordedAnswer(BaseModel):
    """An answer; other fields of its line are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    question: str
    answer: str
    system: str | None = None
    pages: list[str] = []


class Recorded:
    """The answers of a file, by system and question.

    Raises AskdocsError: with file and line, a row is invalid, its system's name is invalid, or a
    question is answered twice.
    """

    def __init__(self, file: Path | None) -> None:
        self._rows: dict[str, dict[str, RecordedAnswer]] = {}
        for number, line in rows.lines(file) if file else ():
            try:
                row = RecordedAnswer.model_validate_json(line)
            except ValueError as error:
                raise AskdocsError(
                    f"{file}:{number}: is not a recorded answer (an object with question and "
                    "answer):"
                    f" {_problem(error)}"
                ) from None
            name = f"{RECORDED}-{row.system}" if row.system else RECORDED
            if not is_recorded(name):
                raise AskdocsError(
                    f"{file}:{number}: system {row.system!r}: name it with up to 40 lower-case"
                    " letters, digits, - and _"
                )
            answers = self._rows.setdefault(name, {})
            if row.question.strip() in answers:
                raise AskdocsError(f"{file}:{number}: {name} answers this question twice")
            answers[row.question.strip()] = row

    @property
    def systems(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def has(self, system: str, question: Question) -> bool:
        return question.text in self._rows.get(system, {})

    def count(self, systems: Iterable[str], questions: Collection[Question]) -> int:
        """Number of answers in a run of these systems and questions; for recorded systems, those
        recorded."""
        return sum(
            sum(self.has(name, question) for question in questions)
            if is_recorded(name)
            else len(questions)
            for name in systems
        )

    def answer(self, system: str, question: Question, paths: Iterable[str]) -> dict[str, object]:
        """The fields of an `Answer`. `paths`: paths of the wiki's pages."""
        row, known = self._rows[system][question.text], Paths(paths)
        text = row.answer.strip()
        if not text:
            return {"error": "the recorded answer is empty"}
        pages = tuple(dict.fromkeys(path for name in row.pages if (path := known.find(name))))
        return {"text": text, "refused": refuses(drafts(text)), "prompt_pages": pages}


def _problem(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    where, message = first_problem(error)
    return f"{where}: {message}" if where else message
