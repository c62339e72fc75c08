"""Deduplicates events that Slack delivers more than once."""

from collections import OrderedDict
from collections.abc import Hashable

KNOWN = 10_000  # deliveries remembered


class Once:
    """Recognises repeated deliveries among the last ones."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, None] = OrderedDict()

    def first(self, *key: Hashable) -> bool:
        """Is this the first delivery?"""
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return True

    def forget(self, *key: Hashable) -> None:
        """Accept a repetition, because handling failed."""
        self._known.pop(key, None)
