"""Measure how well a check tells supported sentences of answers from others.

A row of ANSWERS.jsonl has `question`, `pages` (files under FOLDER), `answer`, `kind` (`good`,
`partial`, `refusal`, `hallucination`, `wrong:NUMBER` and others), `split`, and `sentences`: objects
with `text` and `label` (`supported`, `unsupported`, `contradicted`, or `frame` for a sentence
without a claim), whose texts together are the answer.
"""

import json
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import AskdocsError
from eval.scoring.groundedness import Rarity
from gateway.answering.check import Check, Scorer
from gateway.answering.claims import Claim, Verdict, refuses
from gateway.answering.evidence import Evidence
from gateway.answering.grounding import prompt
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import Message
from gateway.settings import RULES
from wiki.pages.page import Page
from wiki.sources.markdown import parse

Floats = npt.NDArray[np.float64]

BAD = ("unsupported", "contradicted")
ALARMS = 0.04  # share of supported sentences that a fitted threshold marks
SAMPLES = 1000  # bootstrap samples, drawn by question
SITE = "https://wiki.example.com/"


@dataclass(frozen=True)
class LabelledAnswer:
    """A labelled answer."""

    row: str
    """Its question: answers to a question are drawn together."""
    kind: str
    question: str
    pages: tuple[str, ...]
    text: str
    sentences: tuple[tuple[int, int, str], ...]
    """Start, end and label of each sentence."""

    def label(self, start: int, end: int) -> str:
        """The label of the sentence that overlaps most with part of the answer."""
        return max(self.sentences, key=lambda s: min(end, s[1]) - max(start, s[0]))[2]


@dataclass(frozen=True)
class Checked:
    """An answer with its claims."""

    answer: LabelledAnswer
    claims: tuple[Claim, ...]
    refused: bool
    seconds: float


@dataclass(frozen=True)
class Share:
    """A share with its 95 % confidence interval."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%}, n = {self.count})"


class LabelledPages:
    """The source pages of labelled answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cache  # noqa: B019 -- as long as the measurement
    def evidence(self, paths: tuple[str, ...], question: str) -> Evidence:
        """Raises AskdocsError: a page is not there."""
        return Evidence(self.excerpts(paths), self.idf, question)

    def excerpts(self, paths: tuple[str, ...]) -> list[Excerpt]:
        return [Excerpt(page, page.sections, 0) for page in map(self._page, paths)]

    @cache  # noqa: B019 -- as long as the measurement
    def _page(self, path: str) -> Page:
        try:
            return parse(path, (self._folder / path).read_text(encoding="utf-8"), SITE)
        except OSError as error:
            raise AskdocsError(
                f"{self._folder / path}: {error.strerror}; name another --docs"
            ) from None

    @cached_property
    def idf(self) -> Rarity:
        files = sorted(self._folder.rglob("*.md"))
        return Rarity(file.read_text(encoding="utf-8") for file in files)


def read(file: Path, split: str | None = None) -> list[LabelledAnswer]:
    """The labelled answers of a file. Raises AskdocsError: a line is invalid."""
    answers = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if split not in (None, row.get("split")):
                continue
            at, sentences = 0, []
            for sentence in row["sentences"]:
                end = at + len(sentence["text"])
                sentences.append((at, end, str(sentence["label"])))
                at = end
            if "".join(s["text"] for s in row["sentences"]) != row["answer"]:
                raise ValueError("the sentences do not make up the answer")
            answers.append(
                LabelledAnswer(
                    str(row.get("row_id") or row["question"]),
                    str(row["kind"]),
                    str(row["question"]),
                    tuple(row["pages"]),
                    row["answer"],
                    tuple(sentences),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AskdocsError(f"{file}:{number}: not a labelled answer: {error!r}") from None
    if not answers:
        raise AskdocsError(f"{file}: no labelled answer" + (f" of split {split!r}" * bool(split)))
    return answers


async def check(
    answers: Sequence[LabelledAnswer],
    wiki: LabelledPages,
    scorer: Scorer | None = None,
    alone: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> list[Checked]:
    """Check all answers sequentially; `alone`: use the scorer without the rules."""
    checked = []
    for answer in answers:
        began = time.perf_counter()
        excerpts = wiki.excerpts(answer.pages)
        prefix = prompt.render(excerpts, "?")[:1] if scorer else []
        checking = Check(
            *(excerpts, wiki.idf, scorer, prefix),
            asked=answer.question,
            alone=alone,
            thresholds=thresholds,
        )
        claims = await checking.claims(answer.text)
        took = time.perf_counter() - began
        refused = refuses(checking.drafts(answer.text)) or not any(
            c.verdict == "supported" for c in claims
        )
        checked.append(Checked(answer, tuple(claims), refused, took))
    return checked


class _Watched:
    """Records the scorer's last failure."""

    def __init__(self, scorer: Scorer) -> None:
        self.name, self.threshold, self.beside = scorer.name, scorer.threshold, scorer.beside
        self.failed: BaseException | None = None
        self._scorer = scorer

    async def scores(
        self,
        sentences: Sequence[str],
        passages: Sequence[str],
        prefix: Sequence[Message],
        salt: str = "",
    ) -> list[float]:
        try:
            return await self._scorer.scores(sentences, passages, prefix, salt)
        except BaseException as error:  # a timeout appears as a cancellation
            self.failed = error
            raise


async def fitted(
    answers: Sequence[LabelledAnswer],
    wiki: LabelledPages,
    scorer: Scorer | None = None,
    threshold: float | None = None,
    alone: bool = False,
) -> dict[str, Any]:
    """The measures of the check with its own fitted threshold.

    By default, `threshold` is the value that marks ALARMS of the supported sentences. Raises
    AskdocsError: the checker does not answer, so the check would fall back to the rules.
    """
    watched = _Watched(scorer) if scorer else None
    checked = await check(answers, wiki, watched, alone)
    if watched and watched.failed:
        why = str(watched.failed) or type(watched.failed).__name__
        raise AskdocsError(f"{watched.name}: the checker does not answer: {why}")
    good = [
        claim.score
        for marked in checked
        for claim in marked.claims
        if claim.score is not None and marked.answer.label(claim.start, claim.end) == "supported"
    ]
    if threshold is None:
        threshold = float(np.quantile(good, ALARMS)) if good else 0.5
    if scorer is None:
        checked = await check(answers, wiki, thresholds={RULES: threshold})
    else:
        checked = [_at(marked, threshold) for marked in checked]
    return {**measures(checked), "threshold": threshold, "supported": len(good)}


def _at(checked: Checked, threshold: float) -> Checked:
    """The results with another threshold; sentences marked by the rules stay marked."""

    def claim(found_claim: Claim) -> Claim:
        if found_claim.score is None or (_marked(found_claim) and ":" in found_claim.reason):
            return found_claim
        verdict: Verdict = "supported" if found_claim.score >= threshold else "unsupported"
        return replace(found_claim, verdict=verdict)

    return replace(checked, claims=tuple(map(claim, checked.claims)))


def measures(checked: Sequence[Checked]) -> dict[str, Any]:
    """Quality measures of a check on labelled answers."""
    claims = [
        (c.answer, claim, c.answer.label(claim.start, claim.end))
        for c in checked
        for claim in c.claims
    ]
    of_kind: dict[str, list[Checked]] = defaultdict(list)
    for marked in checked:
        of_kind[marked.answer.kind].append(marked)
    wrong: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    scored, supported = [], []
    for answer, claim, label in claims:
        if claim.score is not None and label != "frame":
            scored.append((claim.score, label == "supported"))
        if label == "supported":
            supported.append((answer.row, _marked(claim)))
        elif label in BAD and answer.kind.startswith("wrong"):
            wrong[answer.kind.removeprefix("wrong:")].append((answer.row, _marked(claim)))

    def answers(kind: str, test: Callable[[Checked], bool]) -> Share:
        return share((c.answer.row, test(c)) for c in of_kind[kind])

    return {
        "answers": len(checked),
        "sentences": len(claims),
        "auc": auc(scored),
        "roc": roc(scored),
        "used": used(
            (_marked(claim), label == "supported")
            for _, claim, label in claims
            if claim.score is not None and label != "frame"
        ),
        "false_alarms": share(supported),
        "good_unmarked": answers("good", lambda c: not any(map(_marked, c.claims))),
        "good_not_refused": answers("good", lambda c: not c.refused),
        "partial_not_refused": answers("partial", lambda c: not c.refused),
        "refusals_recognised": answers("refusal", lambda c: c.refused),
        "hallucinations_caught": answers(
            "hallucination", lambda c: c.refused or any(map(_marked, c.claims))
        ),
        "wrong_marked": share(pair for pairs in wrong.values() for pair in pairs),
        "wrong_by_kind": {kind: share(pairs) for kind, pairs in sorted(wrong.items())},
        "ms_per_sentence": 1000 * sum(c.seconds for c in checked) / max(1, len(claims)),
    }


def share(values: Iterable[tuple[str, bool]]) -> Share:
    """The share of true values; the interval is bootstrapped by question."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for row, value in values:
        groups[row].append(value)
    counts = [(sum(group), len(group)) for group in groups.values()]
    total = sum(n for _, n in counts)
    if not total:
        return Share(math.nan, math.nan, math.nan, 0)
    chance = random.Random(0)  # noqa: S311 -- a bootstrap
    drawn = []
    for _ in range(SAMPLES):
        sample = chance.choices(counts, k=len(counts))
        drawn.append(sum(hit for hit, _ in sample) / sum(n for _, n in sample))
    drawn.sort()
    low, high = drawn[int(0.025 * SAMPLES)], drawn[int(0.975 * SAMPLES) - 1]
    return Share(sum(hit for hit, _ in counts) / total, low, high, total)


def auc(scored: Sequence[tuple[float, bool]]) -> float:
    """The probability that a supported sentence has a higher score than another."""
    good = np.array([score for score, label in scored if label])
    bad = np.array([score for score, label in scored if not label])
    if not len(good) or not len(bad):
        return math.nan
    higher = (good[:, None] > bad[None, :]).mean() + 0.5 * (good[:, None] == bad[None, :]).mean()
    return float(higher)


def roc(scored: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """False alarms and recall at each threshold, at most a hundred."""
    good = np.sort([score for score, label in scored if label])
    bad = np.sort([score for score, label in scored if not label])
    if not len(good) or not len(bad):
        return []
    points = []
    for alarm in np.linspace(0, 1, 101):
        threshold = np.quantile(good, alarm)
        points.append((float(np.mean(good < threshold)), float(np.mean(bad < threshold))))
    return sorted(set(points))


def used(marks: Iterable[tuple[bool, bool]]) -> tuple[float, float]:
    """False alarms and recall of the actual verdicts."""
    good, bad = Counter[bool](), Counter[bool]()
    for marked, is_supported in marks:
        (good if is_supported else bad)[marked] += 1
    return good[True] / max(1, good.total()), bad[True] / max(1, bad.total())


def _marked(claim: Claim) -> bool:
    return claim.verdict in BAD
