"""Marks: everything that is counted about an answer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import AskdocsError
from eval.questions import question
from eval.questions.question import Question
from eval.running import answer
from eval.running.answer import Answer
from eval.scoring.words import containment, is_right, token_f1


@dataclass(frozen=True)
class Mark:
    """An answer with its question. Refusals and missing answers count as wrong."""

    question: Question
    answer: Answer
    refused: bool
    f1: float
    """Token F1 with the reference answer, 0 to 1; 0 for unanswerable questions."""
    contained: bool
    """Does it contain the reference answer verbatim?"""
    near: bool
    """Does it match the reference answer; see `eval.scoring.words.is_right`."""
    similar: float | None = None
    """Cosine similarity of its meaning to the reference answer's; None: not computed."""
    judged: bool | None = None
    """Is it right according to the judge? None: no judge, or no verdict."""
    grounded: float | None = None
    """Share of its claims that its pages support; None: not measured."""

    @property
    def answered(self) -> bool:
        """Is it neither a refusal nor an error?"""
        return not self.refused and not self.answer.error

    @property
    def cluster(self) -> str:
        """Answers about the same page form a cluster, since they are not independent."""
        return self.question.pages[0] if self.question.pages else f"no page: {self.question.text}"

    @property
    def position(self) -> int | None:
        """Position of the first gold page in the prompt, from 1; None: there is none."""
        return _first(self.answer.prompt_pages, self.question.pages)

    @property
    def rank(self) -> int | None:
        """Like `position`, with the prompt's pages in search order."""
        read = self.answer.prompt_pages
        ranked = [page for page in self.answer.found_pages if page in read]
        return _first(ranked, self.question.pages)

    @property
    def cites_right(self) -> bool:
        return _first(self.answer.cited_pages, self.question.pages) is not None


Similar = Callable[[str, str], float]
"""Cosine similarity of two texts' meanings."""
Judged = Callable[[Question, Answer], bool | None]
"""The judge's verdict on an answer."""
Grounded = Callable[[Question, Answer], float | None]
"""Share of an answer's claims that its pages support."""


def read(run: Path) -> tuple[list[Question], dict[str, dict[str, Answer]]]:
    """The questions of a run, and the answers by system and question id.

    Includes only one of several near-copies of a question. The last answer to a question counts:
    earlier ones failed.

    Raises:
        AskdocsError: the folder is not a run, or has no answers yet.
    """
    questions = question.distinct(question.read(run))
    known = {known_question.id for known_question in questions}
    answers: dict[str, dict[str, Answer]] = {}
    for (system, asked), given in answer.latest(run).items():
        if asked in known:
            answers.setdefault(system, {})[asked] = given
    if not answers:
        raise AskdocsError(
            f"{run / answer.FILE}: has no answers: `askdocs eval run --resume` asks the questions"
        )
    return questions, answers


def mark(
    asked: Question,
    given: Answer,
    similar: Similar | None = None,
    judged: Judged | None = None,
    grounded: Grounded | None = None,
) -> Mark:
    """The marks of one answer. Refusals get no text-based marks."""
    refused = given.is_refusal
    scored = asked.answerable and not refused and not given.error
    text, gold = given.text if scored else "", asked.answer
    return Mark(
        question=asked,
        answer=given,
        refused=refused,
        f1=token_f1(text, gold),
        contained=scored and containment(text, gold),
        near=scored and is_right(text, gold),
        similar=(similar(text, gold) if scored else 0.0) if similar and asked.answerable else None,
        judged=(judged(asked, given) if scored else False) if judged and asked.answerable else None,
        grounded=grounded(asked, given) if grounded and not refused and not given.error else None,
    )


def marks(
    questions: Sequence[Question],
    answers: Mapping[str, Mapping[str, Answer]],
    similar: Similar | None = None,
    judged: Judged | None = None,
    grounded: Grounded | None = None,
) -> dict[str, list[Mark]]:
    """Marks by system, in question order, for the questions that the system was asked."""
    return {
        system: [
            mark(asked, given[asked.id], similar, judged, grounded)
            for asked in questions
            if asked.id in given
        ]
        for system, given in answers.items()
    }


def attempted_answers(marked: Iterable[Mark]) -> list[tuple[Question, Answer]]:
    """Non-refusals to answerable questions, each with its question."""
    return [
        (marked_answer.question, marked_answer.answer)
        for marked_answer in marked
        if marked_answer.question.answerable and marked_answer.answered
    ]


def compared(marked: Iterable[Mark]) -> list[tuple[str, str]]:
    """The texts of `attempted_answers`, each with its reference answer."""
    return [(answer.text, question.answer) for question, answer in attempted_answers(marked)]


def _first(pages: Iterable[str], wanted: Sequence[str]) -> int | None:
    return next((rank for rank, page in enumerate(pages, 1) if page in wanted), None)
