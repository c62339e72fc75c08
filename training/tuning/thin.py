"""Which examples a run trains on: all answers, and no more refusals than the recipe wants."""

import random
from collections.abc import Sequence

REFUSAL = "refusal-"  # what the kind of an example begins with that refuses


def thin(kinds: Sequence[str], share: float, seed: int) -> list[int]:
    """The places of the examples that stay, in their order.

    All refusals are one sentence, and answers begin in a thousand ways. A model that cannot tell
    which questions the pages answer says by greedy decoding what begins most often: where one
    example in five is a refusal it refuses everything, though it holds an answer for four times
    as likely.

    Args:
        kinds: of all examples, as `dataset build` names them.
        share: of the examples that stay, refusals are so many at most; 1.0 keeps all.
        seed: draws the refusals that stay.
    """
    refusals = [place for place, kind in enumerate(kinds) if kind.startswith(REFUSAL)]
    answers = len(kinds) - len(refusals)
    if share == 1 or len(refusals) <= (wanted := int(share * answers / (1 - share))):
        return list(range(len(kinds)))
    gone = set(refusals).difference(random.Random(seed).sample(refusals, wanted))  # noqa: S311
    return [place for place in range(len(kinds)) if place not in gone]
