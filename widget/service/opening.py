"""Opens stored answers for readers who may still read the pages behind them."""

from contextlib import suppress

from widget.service.gateway import Gateway
from widget.service.journal import Journal, NotStored
from widget.service.pending import PendingQuestion, PendingQuestions, recalled


class Opening:
    """Whoever has an answer's id may read it, as long as they may read its pages."""

    def __init__(self, pending: PendingQuestions, journal: Journal, gateway: Gateway) -> None:
        self._pending = pending
        self._journal = journal
        self._gateway = gateway

    async def find(self, id: str, groups: frozenset[str]) -> PendingQuestion | None:
        """A running or readable answer. Recent answers are checked with the asker's groups, older
        ones with `groups`."""
        if (ask := self._pending.get(id)) is not None:
            if ask.end is None:
                return ask
            is_open = ask.outcome.needed(ask.groups) is None
            may = await self._gateway.may_read(ask.outcome.urls, ask.groups, is_open)
            return ask if may else None
        with suppress(NotStored):
            stored = await self._journal.get(id)
            whole = stored.answered.state in ("answered", "refused", "stopped")
            if whole and await self._gateway.may_open(stored.answered, groups):
                return recalled(stored)[0]
        return None
