"""Checks an answer against the pages of its prompt: first by rules, then by a model."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from gateway.answering.claims import (
    REFUSING,
    THRESHOLD,
    Claim,
    Draft,
    added,
    drafts,
    foreign,
    score_of,
    verdict_of,
)
from gateway.answering.evidence import Evidence, Idf
from gateway.answering.features import Seen, see
from gateway.answering.grounding.excerpt import Excerpt
from gateway.answering.grounding.prompt import Message
from gateway.answering.plain import plain
from gateway.settings import RULES

log = logging.getLogger("askdocs.gateway")

# Seconds that a model has to check the last sentences once the answer has ended.
PATIENCE = 10.0


class Scorer(Protocol):
    """A model that estimates how likely a passage supports a sentence."""

    name: str
    """The model's name in the settings."""
    threshold: float
    beside: bool
    """Are its scores logits, which are added to those of the rules, for a narrow passage?"""

    async def scores(
        self,
        sentences: Sequence[str],
        passages: Sequence[str],
        prefix: Sequence[Message],
        salt: str = "",
    ) -> list[float]:
        """Scores each sentence against its passage, from 0 to 1 or as a logit.

        `prefix` are the messages that led to the answer, without the question: an engine that has
        cached them with this salt reads only the sentence. Raises AskdocsError, httpx.HTTPError.
        """
        ...


class Check:
    """Checks the sentences of one answer."""

    def __init__(
        self,
        excerpts: Sequence[Excerpt],
        idf: Idf,
        scorer: Scorer | None = None,
        prefix: Sequence[Message] = (),
        *,
        asked: str = "",
        before: Callable[[], Awaitable[Sequence[Excerpt]]] | None = None,
        alone: bool = False,
        thresholds: Mapping[str, float] | None = None,
        salt: str = "",
    ) -> None:
        """
        Args:
            excerpts: the pages in the prompt.
            idf: IDF of the wiki's words.
            scorer: checks in addition to the rules.
            prefix: see `Scorer.scores`.
            asked: the person's questions, this turn's and earlier ones.
            before: finds the pages that earlier turns used; awaited with the first sentence.
            alone: the scorer also decides about facts that are not on the pages.
            thresholds: the answering model's, by checker; others keep their defaults.
            salt: the prompt's, see `gateway.upstream.salt`.
        """
        self._salt = salt
        self._asked = asked
        self._before = before
        self._alone = alone
        self._excerpts = excerpts
        self._idf = idf
        self._scorer = scorer
        self._thresholds = thresholds or {}
        self._prefix = prefix

    @cached_property
    def evidence(self) -> Evidence:
        """Built when the first sentence is checked, off the event loop."""
        return Evidence(self._excerpts, self._idf, self._asked)

    def drafts(self, text: str, start: int = 0) -> list[Draft]:
        """The sentences of `text`, which starts at `start` in the answer."""
        return drafts(text, start)

    async def claims(self, text: str, start: int = 0, whole: str = "") -> list[Claim]:
        """The claims of `text`, which starts at `start` in the answer `whole`."""
        await self._add_before()
        drafted, seen, is_foreign = await asyncio.to_thread(self._see, text, start, whole or text)
        threshold = self._thresholds.get(RULES, THRESHOLD)
        by_rules = [score_of(features, is_foreign) if features else 0.0 for features in seen]
        claims = [
            verdict_of(draft, features, score, threshold) if features else none(draft)
            for draft, features, score in zip(drafted, seen, by_rules, strict=True)
        ]
        if self._scorer is None or (self._scorer.beside and is_foreign):
            return claims
        to_score = [
            n
            for n, features in enumerate(seen)
            if features and (self._alone or not features.missing)
        ]
        scores = await self._scored([(drafted[n].text, seen[n]) for n in to_score])
        if self._scorer.beside:
            known = [0.5 if self._alone else by_rules[n] for n in to_score]
            scores = [added(*pair) for pair in zip(known, scores, strict=False)]
        threshold = self._thresholds.get(self._scorer.name, self._scorer.threshold)
        for number, score in zip(to_score, scores, strict=False):
            features = seen[number]
            assert features is not None
            claims[number] = verdict_of(drafted[number], features, score, threshold)
        return claims

    async def _add_before(self) -> None:
        """Add the pages of earlier turns to the evidence."""
        if self._before is None:
            return
        find, self._before = self._before, None
        try:
            excerpts = await find()
        except Exception as error:  # check the answer without them
            log.warning("cannot find the pages of the previous question: %s", error)
            return
        known = {excerpt.page.url for excerpt in self._excerpts if excerpt.is_whole}
        self._excerpts = [*self._excerpts, *(e for e in excerpts if e.page.url not in known)]

    def _see(
        self, text: str, start: int, whole: str
    ) -> tuple[list[Draft], list[Seen | None], bool]:
        drafted = self.drafts(text, start)
        seen = [see(draft.text, self.evidence) if draft.claims else None for draft in drafted]
        return drafted, seen, foreign(whole, self.evidence)

    async def _scored(self, pairs: Sequence[tuple[str, Seen | None]]) -> list[float]:
        """The model's scores; empty if it is unavailable, so that the rules' verdicts stand."""
        assert self._scorer is not None
        if not pairs:
            return []
        if self._scorer.beside:
            sentences, passages = await asyncio.to_thread(self._narrow, pairs)
        else:
            sentences = [sentence for sentence, _ in pairs]
            passages = [
                features.place.text.text if features and features.place else ""
                for _, features in pairs
            ]
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._scorer.scores(sentences, passages, self._prefix, self._salt)
        except Exception as error:  # no failure may affect the reader, who has the answer already
            log.warning(
                "the checker does not respond, so the rules decide: %s", error or "too slow"
            )
            return []

    def _narrow(self, pairs: Sequence[tuple[str, Seen | None]]) -> tuple[list[str], list[str]]:
        """Returns sentences and narrow passages as plain text."""
        passages = [
            self.evidence.passage(features.stems, features.window)
            if features and features.window
            else ""
            for _, features in pairs
        ]
        return [plain(sentence) for sentence, _ in pairs], passages


def none(draft: Draft) -> Claim:
    """The verdict "none", for a sentence without a claim."""
    return Claim(draft.start, draft.end, "none", REFUSING if draft.refuses else "", "", None)
