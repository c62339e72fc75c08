"""The content of report.json: every number of a run, with intervals and provenance."""

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from core.errors import AskdocsError, first_problem
from eval.report.cost import CostEstimate, Prices
from eval.running import answer
from eval.running.measured import Measured
from eval.running.run import Run
from eval.statistics.bootstrap import Estimate, finite

FILE = "report.json"
Says = Literal["better", "worse", "within noise"]
# Ends of an interval; null in JSON: the sample is too small for this end.
_JSON = PlainSerializer(finite, when_used="json")
Low = Annotated[float, BeforeValidator(lambda end: -math.inf if end is None else end), _JSON]
High = Annotated[float, BeforeValidator(lambda end: math.inf if end is None else end), _JSON]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Part):
    """A measured value and its 95 % confidence interval."""

    value: float
    low: Low
    high: High
    n: int
    """Sample size."""


class Comparison(_Part):
    """Two systems by one measure, on the questions that both answered."""

    first: str
    second: str
    measure: str
    value: float
    """The first system's value minus the second's."""
    low: Low
    high: High
    n: int
    p: float
    holm: float
    """The p-value, corrected over all comparisons by this measure."""
    detectable: float
    """The smallest true difference for which `p` is below 0.05 four times out of five."""
    detectable_holm: float | None = None
    """The same for `holm`, and therefore for `says`; None in reports of earlier releases."""
    says: Says
    """Is the first system better? Within noise: the corrected p-value is at least 0.05."""


class Bin(_Part):
    """Answers with similar confidence."""

    confidence: float
    right: Number


class System(_Part):
    """The results of a system."""

    name: str
    answers: int
    """Answers to uncontaminated questions."""
    measures: dict[str, Number]
    groups: dict[str, dict[str, dict[str, Number]]]
    """Accuracy and token F1, by grouping and group."""
    corrected: Number | None = None
    """The judge's accuracy, corrected with labels (`eval.statistics.prediction_powered`), if
    any."""
    calibration: list[Bin]
    memory: int | None
    """Peak resident memory of its engine's processes, in bytes; None: not measured."""
    gpu_memory: int | None = None
    """The same for GPU memory."""
    index: int | None = None
    """Bytes of its index on disk."""
    gpu_seconds: Number | None = None
    """GPU seconds per question on one's own GPU."""
    token_dollars: Number | None = None
    """Hosted price of a question's tokens."""
    own: CostEstimate | None
    """On one's own GPU; None: its tokens are unknown."""
    hosted: CostEstimate | None
    """With hosted services; None also for a tuned model, which they do not offer."""


class SystemAnswer(_Part):
    """A system's answer to a question."""

    system: str
    text: str
    right: bool
    f1: float
    confidence: float | None
    cited: tuple[str, ...]


class Case(_Part):
    """A question for a writer to review."""

    question: str
    line: int
    gold: str
    pages: tuple[str, ...]
    answers: list[SystemAnswer]


class Agreement(_Part):
    """Agreement with human labels."""

    rater: str
    kappa: float | None
    """None: both always gave the same single verdict."""
    low: Low
    high: High
    n: int
    share: float


class Report(_Part):
    """The whole report."""

    run: str
    """Name of the run's folder."""
    questions: dict[str, int]
    """Counts: answerable, unanswerable, contaminated (counted only there)."""
    subject: str
    """The system that the others are compared with."""
    accuracy: str
    """The measure used as accuracy: the judge's, if any, else word comparison."""
    answer_words: float = 0.0
    """The longer mean length, of the subject's or the reference answers; 0 in reports of earlier
    releases."""
    systems: list[System]
    contrasts: list[Comparison] = []
    """Contrasts declared before the run, by accuracy; corrected as one family."""
    comparisons: list[Comparison]
    """The subject against all others, by every measure: exploratory."""
    worst: list[Case]
    """The subject's."""
    judge: str | None
    agreements: list[Agreement]
    prices: Prices
    measured: Measured
    answers_sha256: str
    provenance: Run

    def system(self, name: str) -> System | None:
        return next((system for system in self.systems if system.name == name), None)

    def comparison(self, second: str, measure: str) -> Comparison | None:
        """The subject's comparison with another system."""
        matching = (
            comparison
            for comparison in self.comparisons
            if (comparison.second, comparison.measure) == (second, measure)
        )
        return next(matching, None)


def sha256_of_answers(run: Path) -> str:
    return hashlib.sha256((run / answer.FILE).read_bytes()).hexdigest()


def number(estimate: Estimate) -> Number:
    return Number(value=estimate.value, low=estimate.low, high=estimate.high, n=estimate.size)


def read(run: Path) -> Report:
    """Raises AskdocsError: the report is missing or invalid."""
    file = run / FILE
    try:
        return Report.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): `askdocs eval report {run}` makes it"
        ) from None
    except ValidationError as error:
        where, message = first_problem(error)
        raise AskdocsError(
            f"{file}: {where or 'its beginning'}: {message}:"
            f" create it again with `askdocs eval report {run}`"
        ) from None
