"""An evaluation run with the marks of its answers."""

from dataclasses import dataclass
from pathlib import Path

from core.errors import AskdocsError
from eval.questions.question import Question
from eval.running import measured, run
from eval.running.measured import Measured
from eval.running.run import Run
from eval.scoring.mark import Grounded, Judged, Mark, Similar, marks, read
from eval.systems.systems import TRIVIAL, parse


@dataclass(frozen=True)
class Scored:
    """A run with the marks of its answers."""

    folder: Path
    run: Run
    measured: Measured
    questions: list[Question]
    marks: dict[str, list[Mark]]
    """By system."""

    @property
    def fair(self) -> dict[str, list[Mark]]:
        """Marks without contaminated questions."""
        return {
            name: [mark for mark in system_marks if not mark.question.contaminated]
            for name, system_marks in self.marks.items()
        }

    def subject(self, wanted: str | None = None) -> str:
        """The system that the report is about: the product with the tuned model, if present.

        Raises AskdocsError: the wanted system answered nothing.
        """
        if wanted is not None:
            parse([wanted])
            if wanted not in self.marks:
                raise AskdocsError(
                    f"{self.folder}: {wanted} has no answers; systems with answers are "
                    f"{', '.join(self.marks)}"
                )
            return wanted
        order = [f"{role}-{way}" for role in ("tuned", "base") for way in _BEST_FIRST]
        return next(name for name in (*order, *TRIVIAL, *self.marks) if name in self.marks)


_BEST_FIRST = ("pages", "rag", "closed", "oracle")


def score(
    folder: Path,
    similar: Similar | None = None,
    judged: Judged | None = None,
    grounded: Grounded | None = None,
) -> Scored:
    """Raises AskdocsError: the folder is not a run, or has no answers yet."""
    questions, answers = read(folder)
    of = run.read(folder)
    ordered = {name: answers[name] for name in of.systems if name in answers}
    all_marks = marks(questions, ordered, similar, judged, grounded)
    return Scored(folder, of, measured.read(folder), questions, all_marks)
