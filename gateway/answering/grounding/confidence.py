"""Retrieval confidence: is the question about this wiki, and does this page answer it?

Two logistic curves over a few signals. `is_about` is evaluated before the model is called: below
ABOUT the answer is a refusal. `confidence` is the calibrated probability that the first source is
the page that a human labelled; below CAUTION a quotation says that it is not sure.

The numbers were fitted by

    python -m research.studies.confidence --wiki DOCS=QUESTIONS.jsonl ... --split validation --fit

on real questions to a support wiki, on their titles, on short questions to five wikis of 13 to 22
pages, and on the questions of each wiki to the others; BY_MEANING was refitted on 18 documentations
with near-miss questions. research/notebook.md, "Confidence", has the results. The curves by
words alone are older: fitted on the support wiki and this project's docs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A sole result is no surer than this: real leads do not exceed it.
MOST_LEAD = 0.7
# Mean log-probability (nats) that a small model assigns to the tokens of a first sentence.
TYPICAL = -0.49


@dataclass(frozen=True)
class Signals:
    """Signals about a question and its search results. Shares are between 0 and 1."""

    words: int
    """The number of distinct content words in the question."""
    share: float
    """The best share of the question's words in one section of the best pages, weighted by IDF."""
    heading: float
    """The same for one section's title and headings only."""
    lead: float
    """The first page's lead over the second: 1 - second / first."""
    similarity: float | None = None
    """Cosine similarity of the question to the nearest chunk of the best pages, or, before a
    refusal, the nearest section; None without embeddings."""
    is_early: bool = False
    """Does the similarity come from word-search passages, as the pages have no embeddings yet?"""
    logprob: float | None = None
    """Mean log-probability (nats) of the first sentence's tokens; None if the engine does not
    report it."""


@dataclass(frozen=True)
class Curve:
    """A logistic regression."""

    bias: float
    weights: Mapping[str, float]

    def of(self, signals: Signals) -> float:
        """The probability, 0 to 1."""
        values = features(signals)
        logit = self.bias + sum(weight * values[name] for name, weight in self.weights.items())
        return probability(logit)


def probability(logit: float) -> float:
    """0 to 1."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


def features(signals: Signals) -> dict[str, float]:
    """The inputs of the curves."""
    return {
        "words": math.log1p(signals.words),
        "share": signals.share,
        "heading": signals.heading,
        "lead": min(signals.lead, MOST_LEAD),
        "similarity": signals.similarity or 0.0,
        "logprob": 0.0 if signals.logprob is None else signals.logprob - TYPICAL,
    }


# Is the question about this wiki? With embeddings, and without.
BY_MEANING = Curve(-6.0, {"share": 3.3, "similarity": 11.1})
BY_WORDS = Curve(-8.31, {"words": 1.88, "share": 5.31, "heading": 3.28})
# Answers below it are refusals. A wiki of hundreds of pages would allow a higher value, but then
# four of five answerable short questions to a wiki of twenty pages were refused.
ABOUT = 0.45
ABOUT_BY_WORDS = 0.05
# With a multilingual embedding model, for a question in another language than the best page: they
# share no words (research/notebook.md#refusals-of-questions-in-other-languages).
ABOUT_FOREIGN = 0.1
# Passages found by words are less similar to the question than those found by embeddings
# (research/notebook.md#refusals-by-words-alone).
ABOUT_EARLY = 0.25
# Is the first source the right page? The model's own logprobs add little to the retrieval signals:
# the weight of logprob comes from 30 answers (research/notebook.md, "Confidence").
RIGHT = Curve(-4.61, {"heading": 2.31, "lead": 6.41, "similarity": 4.15, "logprob": 0.12})
RIGHT_BY_WORDS = Curve(
    -11.54, {"words": 1.94, "share": 1.85, "heading": 7.40, "lead": 5.11, "logprob": 0.12}
)
# At .4 a caution appeared on 36 to 55 % of the right quotations, at .15 on 6 to 19 %, and still on
# half of the answers to unanswerable questions. For answerable short questions, wrong quotations
# get it no more often than right ones (research/notebook.md#when-a-quotation-has-a-caution).
CAUTION = 0.15


def is_about(signals: Signals, least: float = ABOUT) -> bool:
    """Is the question about the wiki's subject, with a probability of at least `least`?"""
    if signals.similarity is None:
        return signals.share > 0 and BY_WORDS.of(signals) >= ABOUT_BY_WORDS
    return BY_MEANING.of(signals) >= (min(least, ABOUT_EARLY) if signals.is_early else least)


def confidence(signals: Signals) -> float:
    """The probability, 0 to 1, that the source of the answer is the page that answers the
    question."""
    return (RIGHT_BY_WORDS if signals.similarity is None else RIGHT).of(signals)


def mean_logprob(tokens: Sequence[Mapping[str, Any]], characters: int) -> float | None:
    """Mean log-probability (nats) of an answer's first tokens, up to `characters`.

    Args:
        tokens: `logprobs.content` of a choice: objects with `token` and `logprob`.
        characters: the length of the answer's beginning.
    """
    seen, values = 0, []
    for token in tokens:
        if seen >= characters:
            break
        if isinstance(value := token.get("logprob"), int | float):
            values.append(max(-20.0, float(value)))
        seen += len(str(token.get("token", "")))
    return sum(values) / len(values) if values else None
