"""The marks of an answer: everything about it that is counted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.questions import question
from eval.questions.question import Question
from eval.running import answer
from eval.running.answer import Answer
from eval.scoring.words import containment, is_right, token_f1
from gateway.core.errors import AskdocsError


@dataclass(frozen=True)
class Mark:
    """An answer beside its question. A refusal, or no answer at all, is no good answer."""

    question: Question
    answer: Answer
    refused: bool
    f1: float
    """With the written answer, 0 to 1; 0 where no page answers."""
    contained: bool
    """Does it hold the written answer, word by word?"""
    near: bool
    """Is it near enough to the written answer; see `eval.scoring.words.is_right`."""
    similar: float | None = None
    """The cosine of its meaning and that of the written answer; None where nobody asked."""
    judged: bool | None = None
    """Is it right, as the judge has it? None where no judge was asked, or it did not say."""
    grounded: float | None = None
    """The share of its claims that its pages support; None where it was not measured."""

    @property
    def answered(self) -> bool:
        """Did it say something other than that the pages do not answer?"""
        return not self.refused and not self.answer.error

    @property
    def cluster(self) -> str:
        """Answers of one cluster, those about one page, are not independent."""
        return self.question.pages[0] if self.question.pages else f"no page: {self.question.text}"

    @property
    def position(self) -> int | None:
        """Of the first page in the prompt that answers, from 1; None where there is none."""
        return _first(self.answer.prompt_pages, self.question.pages)

    @property
    def rank(self) -> int | None:
        """As `position`, if the pages of the prompt stood as the search has ranked them."""
        read = self.answer.prompt_pages
        ranked = [page for page in self.answer.found_pages if page in read]
        return _first(ranked, self.question.pages)

    @property
    def cites_right(self) -> bool:
        return _first(self.answer.cited_pages, self.question.pages) is not None


Similar = Callable[[str, str], float]
"""The cosine of the meanings of two texts."""
Judged = Callable[[Question, Answer], bool | None]
"""What the judge said of an answer."""
Grounded = Callable[[Question, Answer], float | None]
"""The share of an answer's claims that its pages support."""


def read(run: Path) -> tuple[list[Question], dict[str, dict[str, Answer]]]:
    """The questions of a run, and by system the answers to them, by the question's id.

    Of questions that ask almost the same, one is there. Of several answers to one question the
    last one counts: those before it failed.

    Raises:
        AskdocsError: the folder is no run, or nothing was answered yet.
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
    """The marks of one answer. What is measured of its text is not measured of refusals."""
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
    """By system, in the order of the questions; of those that it was asked."""
    return {
        system: [
            mark(asked, given[asked.id], similar, judged, grounded)
            for asked in questions
            if asked.id in given
        ]
        for system, given in answers.items()
    }


def attempted_answers(marked: Iterable[Mark]) -> list[tuple[Question, Answer]]:
    """The answers to answerable questions that are no refusals, each beside its question."""
    return [
        (marked_answer.question, marked_answer.answer)
        for marked_answer in marked
        if marked_answer.question.answerable and marked_answer.answered
    ]


def compared(marked: Iterable[Mark]) -> list[tuple[str, str]]:
    """The texts of `attempted_answers`, each beside the written answer."""
    return [(answer.text, question.answer) for question, answer in attempted_answers(marked)]


def _first(pages: Iterable[str], wanted: Sequence[str]) -> int | None:
    return next((rank for rank, page in enumerate(pages, 1) if page in wanted), None)
