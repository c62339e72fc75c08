"""What report.json says: every number of a run, with its interval, and where it comes from."""

import hashlib
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from eval.report.cost import CostEstimate, Prices
from eval.running import answer
from eval.running.measured import Measured
from eval.running.run import Run
from eval.statistics.bootstrap import Estimate, finite
from gateway.core.errors import AskdocsError, first_problem

FILE = "report.json"
Says = Literal["better", "worse", "within noise"]
# Ends of an interval; null in JSON: the sample is too small for this one.
_JSON = PlainSerializer(finite, when_used="json")
Low = Annotated[float, BeforeValidator(lambda end: -math.inf if end is None else end), _JSON]
High = Annotated[float, BeforeValidator(lambda end: math.inf if end is None else end), _JSON]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Part):
    """A measured value and its interval of 95 %."""

    value: float
    low: Low
    high: High
    n: int
    """What it was measured on."""


class Comparison(_Part):
    """Two systems by one measure, on the questions that both answered."""

    first: str
    second: str
    measure: str
    value: float
    """The first's minus the second's."""
    low: Low
    high: High
    n: int
    p: float
    holm: float
    """The p-value, corrected for all that were compared by this measure."""
    detectable: float
    """The smallest true difference for which `p` is below 0.05 four times out of five."""
    detectable_holm: float | None = None
    """The same for `holm`, and so for `says`; None in reports of earlier releases."""
    says: Says
    """Is the first one better? Within noise: the corrected p-value is 0.05 or more."""


class Bin(_Part):
    """Answers of about the same confidence."""

    confidence: float
    right: Number


class System(_Part):
    """One way to answer."""

    name: str
    answers: int
    """To questions that are not contaminated."""
    measures: dict[str, Number]
    groups: dict[str, dict[str, dict[str, Number]]]
    """Accuracy and token F1, by what questions are grouped by, and by group."""
    corrected: Number | None = None
    """The judge's accuracy, corrected by labels (`eval.statistics.prediction_powered`), if any."""
    calibration: list[Bin]
    memory: int | None
    """The most bytes that its engine's processes held, resident; None: it was not measured."""
    gpu_memory: int | None = None
    """The same on GPUs."""
    index: int | None = None
    """Bytes of its index on disk."""
    gpu_seconds: Number | None = None
    """That a question takes of a GPU of one's own."""
    token_dollars: Number | None = None
    """That services take for the tokens of a question."""
    own: CostEstimate | None
    """On a GPU of one's own; None: nothing is known of its tokens."""
    hosted: CostEstimate | None
    """From services; None also for a tuned model, which they do not have."""


class SystemAnswer(_Part):
    """What a system said to a question."""

    system: str
    text: str
    right: bool
    f1: float
    confidence: float | None
    cited: tuple[str, ...]


class Case(_Part):
    """A question for a writer to look at."""

    question: str
    line: int
    gold: str
    pages: tuple[str, ...]
    said: list[SystemAnswer]


class Agreement(_Part):
    """With labels by hand."""

    who: str
    kappa: float | None
    """None: both always said the same one thing."""
    low: Low
    high: High
    n: int
    share: float


class Report(_Part):
    """All of it."""

    run: str
    """The name of its folder."""
    questions: dict[str, int]
    """How many: answerable, unanswerable, contaminated (only in the group of that name)."""
    subject: str
    """The system that the others are compared with."""
    accuracy: str
    """The measure that is called accuracy here: the judge's, if there is one, else the words'."""
    answer_words: float = 0.0
    """Of the subject's answers or of the reference answers, the longer on average; 0 in reports of
    earlier releases."""
    systems: list[System]
    contrasts: list[Comparison] = []
    """Those that were declared before the run, by accuracy; corrected as one family."""
    comparisons: list[Comparison]
    """Of the subject with all others, by every measure: exploratory."""
    worst: list[Case]
    """Of the subject."""
    judge: str | None
    agreements: list[Agreement]
    prices: Prices
    measured: Measured
    answers_sha256: str
    provenance: Run

    def system(self, name: str) -> System | None:
        return next((system for system in self.systems if system.name == name), None)

    def comparison(self, second: str, measure: str) -> Comparison | None:
        """Of the subject with another."""
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
    """Raises AskdocsError: there is none, or it is not valid."""
    file = run / FILE
    try:
        # Earlier releases wrote "leaked".
        stored = file.read_bytes().replace(b'"leaked":', b'"contaminated":')
        return Report.model_validate_json(stored)
    except OSError as error:
        raise AskdocsError(
            f"{file}: cannot be read ({error.strerror}): `askdocs eval report {run}` makes it"
        ) from None
    except ValidationError as error:
        where, what = first_problem(error)
        raise AskdocsError(
            f"{file}: {where or 'its beginning'}: {what}:"
            f" create it again with `askdocs eval report {run}`"
        ) from None
