"""Deduplicates events that Slack delivers more than once."""

from collections import OrderedDict
from collections.abc import Hashable

KNOWN = 10_000  # deliveries that are recognised when they come again


class Once:
    """Recognises what comes again, among the last deliveries."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, None] = OrderedDict()

    def first(self, *key: Hashable) -> bool:
        """Whether this has not come before."""
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return True

    def forget(self, *key: Hashable) -> None:
        """It may come again: nothing came of it."""
        self._known.pop(key, None)
