"""Confidence of a generative answer: the probability that the pages support every claim.

A logistic curve over the claims, fitted on 430 labelled answers to four wikis
(research/notebook.md, "The check"). Retrieval quality adds nothing once an answer is grounded
in pages: the search's own confidence has an AUC of .50 among the answers to one wiki.
"""

import math
from collections.abc import Sequence

from gateway.answering.claims import Claim

BIAS, LOWEST, MARKED = -1.15, 3.15, -0.29
# Answers below it say that they are not sure.
CAUTION = 0.4


def confidence(claims: Sequence[Claim]) -> float | None:
    """0 to 1; None if the answer claims nothing or was not checked."""
    scores = [claim.score for claim in claims if claim.score is not None]
    if not scores:
        return None
    marked = sum(claim.verdict in ("unsupported", "contradicted") for claim in claims)
    logit = BIAS + LOWEST * min(scores) + MARKED * marked / len(scores)
    return 1 / (1 + math.exp(-logit))
