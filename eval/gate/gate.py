"""The release gate: decides whether a version may answer all users, a share of them, or none.

It uses only the report of an evaluation run, without contaminated questions and near copies. A
check without a measurement fails. For accuracy it requires non-inferiority: the lower bound of the
difference must be above a margin, or for a canary above the harm that it may do. A merely
insignificant difference proves nothing, least of all with few questions.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import AskdocsError, first_problem
from eval.gate.verdict import Decision
from eval.report.report import Comparison, Number, Report, System
from eval.scoring.measures import ACCURACY, BY_NAME, F1, FALSE_REFUSALS, HALLUCINATED, TRUE_REFUSALS
from eval.statistics import paired
from eval.statistics.bootstrap import in_brackets
from eval.statistics.paired import SIGNIFICANT
from eval.statistics.proportions import Value, shares_differ

FILE = Path(__file__).with_name("thresholds.toml")
SLOW, SLOWEST = "total_p95", "total_p99"
# Assumed before measuring: the share of questions on which exactly one of two good models is right.
DISAGREEMENT = 0.3
# Word comparison of both systems below this share: their answers are not of the reference's form.
MATCHED = 0.1
SUPPORTED = "supported_utility"


class Thresholds(BaseModel):
    """The gate's requirements, explained in thresholds.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # rejects true for 1

    answerable: int = Field(ge=1)
    unanswerable: int = Field(ge=1)
    margin: float = Field(gt=0, le=1)
    harm: float = Field(gt=0, le=1)
    readers_margin: float = Field(gt=0, le=2)
    errors: float = Field(ge=0, le=1)
    false_refusals_rise: float = Field(ge=0, le=1)
    hallucinated_rise: float = Field(ge=0, le=1)
    slower: float = Field(ge=1)
    p99_s: float = Field(gt=0)
    beats: tuple[str, ...] = Field(strict=False)  # TOML has only lists


class Check(NamedTuple):
    """A single check of the gate."""

    asks: str
    passed: bool
    found: str
    """The measured value, with its interval."""
    canary: bool = False
    """If it failed: may a share of the users still get the version?"""


class Reference(NamedTuple):
    """The version that answers now, or would without the candidate."""

    name: str
    measures: Mapping[str, Number]
    comparisons: Sequence[Comparison]
    """Comparison of the subject with the reference."""
    same_machine: bool
    """If not, times are not comparable."""
    pooled: Sequence[Comparison] = ()
    """Pooled over several runs, if there are more than one."""
    by_run: Mapping[str, Sequence[float]] = MappingProxyType({})
    """The difference in each run, by measure."""


def read(file: Path = FILE) -> Thresholds:
    """Raises AskdocsError: the file cannot be read, or a threshold is missing or invalid."""
    try:
        return Thresholds.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise AskdocsError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        where, message = first_problem(error)
        raise AskdocsError(
            f"{file}: {where}: {message}: see {FILE.name} of askdocs, which has all of them"
        ) from None
    except ValueError as error:
        raise AskdocsError(f"{file}: is not TOML ({error})") from None


def decision(checks: Sequence[Check]) -> Decision:
    """promote: every check passed; canary: those that failed leave it open; stop: harm."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return "promote"
    return "canary" if all(check.canary for check in failed) else "stop"


def valid(report: Report, reference: Reference) -> None:
    """Raises AskdocsError: the answers' correctness was not measured.

    A system that writes long answers matches no reference by words: two of them at 0 % are equal.
    """
    subject = report.system(report.subject)
    if report.accuracy != ACCURACY or subject is None:
        return
    both = [measures.get(ACCURACY) for measures in (subject.measures, reference.measures)]
    if all(share is None or share.value < MATCHED for share in both):
        raise AskdocsError(
            f"no valid measure: by word comparison {_shown(both[0], 'share')} of the answers of"
            f" {report.subject} are right and {_shown(both[1], 'share')} of {reference.name}, which"
            " says nothing about long answers: judge them with `askdocs eval report RUN"
            " --judge-model MODEL --judge-url URL`"
        )


def decide(report: Report, reference: Reference, thresholds: Thresholds) -> list[Check]:
    """All checks, in reading order; see `decision`.

    Args:
        report: report of the run; its subject is the candidate.
        reference: what the subject is compared with.
        thresholds: from the threshold file.
    """
    subject = report.system(report.subject)
    if subject is None:
        raise AskdocsError(
            f"the report has no {report.subject}: create it again with `askdocs eval report`"
        )
    against = {comparison.measure: comparison for comparison in reference.comparisons}
    return [
        *_enough(report, subject, reference, against, thresholds),
        *_not_inferior(report, reference, thresholds),
        _no_rise(FALSE_REFUSALS, thresholds.false_refusals_rise, reference, against),
        _no_rise(HALLUCINATED, thresholds.hallucinated_rise, reference, against),
        _refuses_with_reason(subject),
        *(_beats(report, system) for system in thresholds.beats),
        *_fast(subject, reference, against, thresholds),
    ]


def _enough(
    report: Report,
    subject: System,
    reference: Reference,
    against: dict[str, Comparison],
    thresholds: Thresholds,
) -> list[Check]:
    there = report.questions
    every = there["answerable"] + there["unanswerable"]
    copies = len(report.provenance.questions.ids) - every - there["contaminated"]
    # A reference whose answers fail is easily beaten.
    errors = [measures.get("errors") for measures in (subject.measures, reference.measures)]
    # Both measures cover every question that both systems were asked.
    of_both = [against.get(name) for name in (FALSE_REFUSALS, HALLUCINATED)]
    answerable, unanswerable = (0 if rate is None else rate.n for rate in of_both)
    looked = report.provenance.questions.trained_sha256 is not None
    by_hand = "no: run the evaluation again with --trained FILE, the training rows of the model"
    leaks = Check("checked for contaminated questions", looked, "yes" if looked else by_hand)
    return [
        *([leaks] if subject.name.startswith("tuned-") else []),
        Check(
            f"at least {thresholds.answerable} answerable and {thresholds.unanswerable}"
            " unanswerable questions that are not contaminated",
            there["answerable"] >= thresholds.answerable
            and there["unanswerable"] >= thresholds.unanswerable,
            f"{there['answerable']} and {there['unanswerable']}"
            f" ({there['contaminated']} contaminated, {copies} near copies)",
            canary=True,
        ),
        Check(
            f"{reference.name} was asked the same number",
            answerable >= thresholds.answerable and unanswerable >= thresholds.unanswerable,
            f"{answerable} and {unanswerable}",
            canary=True,
        ),
        Check(
            "every question was asked", subject.answers == every, f"{subject.answers} of {every}"
        ),
        Check(
            f"errors at most {thresholds.errors:.0%}",
            all(share is not None and share.value <= thresholds.errors for share in errors),
            f"{_shown(errors[0], 'share')}; {reference.name}: {_shown(errors[1], 'share')}",
        ),
    ]


def _not_inferior(report: Report, reference: Reference, thresholds: Thresholds) -> list[Check]:
    """For each measure of correctness, the 95 % confidence interval must lie above `-margin`.

    For a canary, it must lie above `-harm`. Groundedness that was not measured leaves a canary
    open.

    Not corrected for multiple comparisons, which is conservative here. Several runs are pooled:
    their questions are clustered by page, so that repeated questions add little.
    """
    against = {
        comparison.measure: comparison for comparison in reference.pooled or reference.comparisons
    }
    checks = []
    for name, wrong in ((report.accuracy, 1), (F1, 1), (SUPPORTED, 2)):
        comparison, unit = against.get(name), BY_NAME[name].unit
        margin, harm = wrong * thresholds.margin, wrong * thresholds.harm
        most = f"{100 * margin:g} points" if unit == "share" else f"{margin:g}"
        passed = comparison is not None and comparison.low > -margin
        canary = name == SUPPORTED if comparison is None else comparison.low > -harm
        shown = _change(comparison, unit)
        if by_run := reference.by_run.get(name):
            scale = 100 if unit == "share" else 1
            each = ", ".join(f"{scale * value:+.{1 if scale > 1 else 3}f}" for value in by_run)
            shown += f"; {len(by_run)} runs: {each}"
        if comparison is not None and not passed:
            needed = paired.questions_needed(comparison.detectable, comparison.n, margin)
            shown += f"; about {needed:,} questions would show it for equal models"
        if name == SUPPORTED and comparison is None:
            shown += ": the wiki's pages have changed since: run the evaluation again"
        title = BY_NAME[name].title.partition(":")[0] if name == SUPPORTED else BY_NAME[name].title
        asks = f"{title}: at most {most} below {reference.name}"
        checks.append(Check(asks, passed, shown, canary))
    return checks


def questions_needed(margin: float) -> int:
    """Approximate number of answerable questions that show non-inferiority of two equally good
    models.

    It depends on how often they differ, which only a run can show: `DISAGREEMENT` is assumed.
    """
    detectable = paired.detectable(math.sqrt(DISAGREEMENT))
    return paired.questions_needed(detectable, 1, margin)


def _no_rise(name: str, most: float, reference: Reference, against: dict[str, Comparison]) -> Check:
    comparison = against.get(name)
    surely = comparison is None or (comparison.value > 0 and comparison.p < SIGNIFICANT)
    rose = surely or (comparison is not None and comparison.value > most)
    return Check(
        f"{BY_NAME[name].title}: no significant increase over {reference.name}, and none above"
        f" {most:.0%}",
        not rose,
        _change(comparison, "share"),
        canary=not surely,
    )


def _refuses_with_reason(subject: System) -> Check:
    true, false = subject.measures.get(TRUE_REFUSALS), subject.measures.get(FALSE_REFUSALS)
    asks = "it refuses unanswerable questions more often than answerable ones"
    if true is None or false is None:
        return Check(asks, False, "not measured")
    readily = true.value > false.value and shares_differ(_value(true), _value(false))
    return Check(asks, readily, f"{_shown(true, 'share')} and {_shown(false, 'share')}")


def _beats(report: Report, system: str) -> Check:
    comparison = report.comparison(system, report.accuracy)
    return Check(
        f"significantly more accurate than {system}",
        comparison is not None and comparison.says == "better",
        f"{system} was not asked" if comparison is None else _change(comparison, "share"),
    )


def _fast(
    subject: System, reference: Reference, against: dict[str, Comparison], thresholds: Thresholds
) -> list[Check]:
    slowest = subject.measures.get(SLOWEST)
    checks = [
        Check(
            f"99 of 100 answers within {thresholds.p99_s:g} s",
            slowest is not None and slowest.value <= thresholds.p99_s,
            _shown(slowest, "seconds"),
        )
    ]
    if reference.same_machine:
        slow, slow_before = subject.measures.get(SLOW), reference.measures.get(SLOW)
        change = against.get(SLOW)
        asks = (
            f"p95 of the whole answer at most {thresholds.slower:g} times that of {reference.name}"
        )
        if slow is None or slow_before is None or change is None:
            checks.append(Check(asks, False, "not measured"))
        else:
            slower = slow.value > thresholds.slower * slow_before.value and change.low > 0
            shown = f"{_shown(slow, 'seconds')} against {_shown(slow_before, 'seconds')}"
            checks.append(Check(asks, not slower, shown))
    return checks


def _value(number: Number) -> Value:
    return Value(number.value, number.low, number.high)


def _shown(number: Number | None, unit: str) -> str:
    if number is None:
        return "not measured"
    if unit == "seconds":
        return f"{number.value:.2f} s {in_brackets(number.low, number.high, '{:.2f}'.format)}"
    return f"{number.value:.1%} {in_brackets(number.low, number.high, '{:.1%}'.format)}"


def _change(comparison: Comparison | None, unit: str) -> str:
    if comparison is None:
        return "not measured"
    many = 100 if unit == "share" else 1
    digits, name = (1, " points") if unit == "share" else (3, "")

    def shown(value: float) -> str:
        return f"{many * value:+.{digits}f}"

    p = "p < 0.001" if comparison.p < 0.001 else f"p = {comparison.p:.3f}"
    ends = in_brackets(comparison.low, comparison.high, shown)
    return f"{shown(comparison.value)}{name} {ends}, {p}, {comparison.n} questions"
