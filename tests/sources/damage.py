"""Answers of services with values that no reference has."""

import random
from collections.abc import Callable
from typing import Any

_VALUES = (None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", [], {}, [[]], [None])


def damage(seed: int) -> Callable[[Any], Any]:
    """Replaces some values of each answer, the same ones for a seed."""
    chance = random.Random(seed)

    def changed(value: Any) -> Any:
        if chance.random() < 0.02:
            return chance.choice(_VALUES)
        if isinstance(value, dict):
            return {key: changed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [changed(one) for one in value]
        return value

    return changed
