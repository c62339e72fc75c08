"""Implements `askdocs docs calibrate`: fits search parameters to an embedder and a wiki.

The range of the embedder's cosines is measured on headings and the text below them. Questions with
known answers determine the weight of words relative to meaning, when to refuse a question, and when
to show a quotation with a caution. Weights and refusal threshold change only if the gain is
significant; the caution threshold always follows the questions.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eval.studies.passages import Question, holds, read
from gateway.answering.extract import shown
from gateway.answering.grounding.confidence import ABOUT, BY_MEANING, CAUTION, confidence
from gateway.answering.grounding.ground import Grounding, Looked
from gateway.core.errors import AskdocsError
from gateway.knowledge.search.calibration import Fit
from gateway.knowledge.search.embed import MODEL
from gateway.knowledge.search.hits import best_passages, distinct
from gateway.knowledge.search.missing import PAGES, fitted
from gateway.knowledge.search.search import Search
from gateway.knowledge.sources.sync import Writing
from gateway.upstream.engine import estimates

# Candidates, besides the parameters in use.
LEXICAL = (0.4, 0.55, 0.75, 1.0, 1.3)
OF_PASSAGE = (0.12, 0.25, 0.4, 0.6)
ABOUTS = tuple(n / 20 for n in range(4, 15))
CAUTIONS = (0.05, 0.4)
"""Minimum and maximum."""
# Minimum numbers of answerable questions, unanswerable questions, and pages with headings.
FEWEST = 30
FEWEST_FOREIGN = 10
FEWEST_PAGES = 10
# Standard errors by which a gain must exceed 0. With two, one of six half-samples of questions for
# three wikis changed the weights without a gain on the other half: the weights are the best of
# twenty.
MARGIN = 3.0
# Share of correct quotations that may get a caution.
CAUTIOUS = 0.1
# Ranks at which a correct passage counts; the mean of both is optimised.
AT = (1, 3)


@dataclass(frozen=True)
class Calibrated:
    """Measurements, and the resulting parameters."""

    model: str
    answerable: int
    unanswerable: int
    before: Fit
    after: Fit
    measured: dict[str, tuple[float, float]]
    """Shares before and after."""

    @property
    def changed(self) -> dict[str, tuple[float | None, float | None]]:
        old, new = asdict(self.before), asdict(self.after)
        return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


def run(
    search: Search, questions: Path | None, progress: Callable[[str, int, int], None]
) -> Calibrated:
    """Measure and fit.

    Raises AskdocsError: there is no embedder, not all pages have vectors, or too few headings or
    questions.
    """
    embedder = search.serving()
    if embedder is None or search.embedder is None:
        raise AskdocsError("the search has no embedder to calibrate")
    embedded, pages = search.index.embedded()[1], search.index.size
    if embedder is not search.embedder or embedded < pages:
        raise AskdocsError(
            f"{pages - embedded:,} of {pages:,} pages have no vectors of the embedder yet: sync, or"
            " wait for the gateway"
        )
    model = embedder.model
    questions_read = read(questions) if questions else []
    known = [question for question in questions_read if question.words]
    foreign = [question for question in questions_read if not question.words]
    if questions is None and model == MODEL:
        raise AskdocsError(
            "the bundled embedder needs questions: name a file with --questions FILE"
        )
    if questions is not None and len(known) < FEWEST:
        raise AskdocsError(
            f"{questions} has {len(known)} questions with an answer; at least {FEWEST} are needed"
        )
    before = after = search.fit(model)
    if model != MODEL:
        after = _moved(search, after, progress)
    measured: dict[str, tuple[float, float]] = {}
    if known:
        after = _weighed(search, after, known, progress)
        after = _limited(search, after, known, foreign)
        first, then = (_measured(search.trying(fit), known, foreign) for fit in (before, after))
        measured = {name: (value, then[name]) for name, value in first.items()}
    return Calibrated(model, len(known), len(foreign), before, after, measured)


def store(writing: Writing, calibrated: Calibrated) -> None:
    """Store the parameters; a gateway applies them within two seconds."""
    with writing() as writer:
        stored = dict(writer.embedders().stored.get(calibrated.model, {}))
        writer.put_embedder(calibrated.model, {**stored, "fit": calibrated.after.dump()})


def _moved(search: Search, current: Fit, progress: Callable[[str, int, int], None]) -> Fit:
    """Fit the range of the model's cosines, using headings."""
    assert search.embedder is not None
    numbers = sorted(search.index.numbers())[:PAGES]
    pages = [page for number in numbers if (page := search.index.page(number)).sections[1:]]
    if len(pages) < FEWEST_PAGES:
        raise AskdocsError(
            f"{len(pages)} pages have headings; at least {FEWEST_PAGES} are needed to calibrate"
        )
    progress("comparing headings", 0, len(pages))
    measured = fitted(pages, search.embedder)
    return replace(current, zero=measured.zero, scale=measured.scale)


def _weighed(
    search: Search,
    current: Fit,
    known: Sequence[Question],
    progress: Callable[[str, int, int], None],
) -> Fit:
    """Fit the weight of words relative to meaning."""
    usual = _places(search.trying(current), known)
    best, gain = current, 0.0
    tried = [
        replace(current, lexical=lexical, of_passage=of_passage)
        for lexical in LEXICAL
        for of_passage in OF_PASSAGE
    ]
    for number, other in enumerate(tried, 1):
        places = _places(search.trying(other), known)
        gains = [new - old for new, old in zip(places, usual, strict=True)]
        surely = _surely(gains)
        if surely > gain:
            best, gain = other, surely
        progress("trying weights", number, len(tried))
    return best


def _surely(gains: Sequence[float]) -> float:
    """The part of the mean that is significant."""
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / len(gains)
    return mean - MARGIN * math.sqrt(variance / len(gains))


def _places(search: Search, known: Sequence[Question]) -> list[float]:
    """For each question, the share of AT at which a correct passage is found."""
    shares = []
    for question in known:
        best = distinct(best_passages(search.find(question.text)))[: max(AT)]
        place = next((n for n, passage in enumerate(best) if holds(question, passage)), max(AT))
        shares.append(sum(place < at for at in AT) / len(AT))
    return shares


def _looked(search: Search, questions: Sequence[Question]) -> list[Looked]:
    grounding = Grounding(search.index, estimates, search=search)
    return [asyncio.run(grounding.look_up(question.text)) for question in questions]


def _limited(
    search: Search, current: Fit, known: Sequence[Question], foreign: Sequence[Question]
) -> Fit:
    """Fit the thresholds of refusals and cautions."""
    search = search.trying(current)
    ours, theirs = _looked(search, known), _looked(search, foreign)
    usual = ABOUT if current.about is None else current.about

    def weighed(about: float) -> list[float]:
        """Scores by question, weighted so that both kinds of questions count equally."""
        answered = [float(_about(looked) >= about) for looked in ours]
        refused = [float(_about(looked) < about) for looked in theirs]
        whole = len(answered) + len(refused)
        return [value * whole / (2 * len(answered)) for value in answered] + [
            value * whole / (2 * len(refused)) for value in refused
        ]

    if len(foreign) >= FEWEST_FOREIGN:
        now = weighed(usual)
        gains = {
            about: _surely([new - old for new, old in zip(weighed(about), now, strict=True)])
            for about in ABOUTS
        }
        best = max(gains, key=lambda about: (gains[about], -abs(about - ABOUT)))
        if gains[best] > 0:
            current = replace(current, about=best)
            ours = _looked(search.trying(current), known)
    right = [
        confidence(looked.signals)
        for question, looked in zip(known, ours, strict=True)
        if any(holds(question, passage) for passage in shown(looked))
    ]
    if len(right) >= FEWEST:
        least, most = CAUTIONS
        value = sorted(right)[int(CAUTIOUS * len(right))]
        current = replace(current, caution=round(min(most, max(least, value)), 2))
    return current


def _about(looked: Looked) -> float:
    # Keyword search has its own threshold: it never causes a change here.
    return 1.0 if looked.signals.similarity is None else BY_MEANING.of(looked.signals)


def _measured(
    search: Search, known: Sequence[Question], foreign: Sequence[Question]
) -> dict[str, float]:
    """Shares of correct passages, refusals and cautions."""
    ours, theirs = _looked(search, known), _looked(search, foreign)
    cautious = [
        confidence(looked.signals) < looked.caution
        for question, looked in zip(known, ours, strict=True)
        if any(holds(question, passage) for passage in shown(looked))
    ]
    places = [
        next((n for n, passage in enumerate(looked.passages) if holds(question, passage)), max(AT))
        for question, looked in zip(known, ours, strict=True)
    ]
    shares = {f"right passage among {at}": [place < at for place in places] for at in AT}
    shares["answerable ones kept"] = [looked.is_answered for looked in ours]
    shares["unanswerable ones refused"] = [not looked.is_answered for looked in theirs]
    shares["right quotations with a caution"] = cautious
    return {name: round(sum(of) / len(of), 4) for name, of in shares.items() if of}


def facts(calibrated: Calibrated, dry_run: bool) -> dict[str, Any]:
    """Data for --json."""
    return {
        "model": calibrated.model,
        "questions": calibrated.answerable,
        "unanswerable": calibrated.unanswerable,
        "fit": asdict(calibrated.after),
        "changed": {name: list(pair) for name, pair in calibrated.changed.items()},
        "measured": {name: list(pair) for name, pair in calibrated.measured.items()},
        "stored": bool(calibrated.changed) and not dry_run,
    }


DEFAULTS = {"about": ABOUT, "caution": CAUTION}


def show(calibrated: Calibrated, dry_run: bool) -> None:
    """Print a summary."""
    for name, (old, new) in calibrated.changed.items():
        usual = DEFAULTS.get(name)
        print(f"{name}: {usual if old is None else old:.3g} -> {usual if new is None else new:.3g}")
    if not calibrated.changed:
        print("nothing changed: the current values fit as well")
    for name, (old, new) in calibrated.measured.items():
        print(f"{name}: {old:.0%} -> {new:.0%}")
    if calibrated.changed and dry_run:
        print("not stored: --dry-run")
