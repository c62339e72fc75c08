"""Selects the examples of a run: all answers, and no more refusals than the recipe allows."""

import random
from collections.abc import Sequence

REFUSAL = "refusal-"  # prefix of the kinds that refuse


def thin(kinds: Sequence[str], share: float, seed: int) -> list[int]:
    """Indices of the examples to keep, in order.

    All refusals are one sentence, whereas answers begin in a thousand ways. A model that cannot
    tell which questions the pages answer decodes greedily the most frequent beginning: if one
    example in five is a refusal, it refuses everything, although it considers an answer four times
    as likely.

    Args:
        kinds: the kind of each example, as in `dataset build`.
        share: maximum share of refusals among the kept examples; 1.0 keeps all.
        seed: draws the refusals to keep.
    """
    refusals = [place for place, kind in enumerate(kinds) if kind.startswith(REFUSAL)]
    answers = len(kinds) - len(refusals)
    if share == 1 or len(refusals) <= (wanted := int(share * answers / (1 - share))):
        return list(range(len(kinds)))
    gone = set(refusals).difference(random.Random(seed).sample(refusals, wanted))  # noqa: S311
    return [place for place in range(len(kinds)) if place not in gone]
