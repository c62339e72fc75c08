"""Withdraws stored answers from readers who lost access to their pages.

An answer is stored with the groups that its pages required at the time, including the page on which
it was asked. The gateway reports the current requirements. When its rights change, every answer is
checked, conversation by conversation, and changed requirements are written, so that the review,
gaps, suggested questions and exported rows follow within a minute. Links and old answers are
checked with the gateway whenever they are opened.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache

from core.errors import AskdocsError
from gateway.api.readable import MOST
from widget.service.gateway import Gateway
from widget.service.store import Standing, Store
from wiki.rights import Groups, dump, simplified

log = logging.getLogger(__name__)

EVERY = 15.0  # seconds between two checks of the gateway's rights
LONGEST = 45.0  # the maximum after failures, each of which doubles it
STEP = 250  # conversations checked together
PAUSE = 0.02  # seconds between two steps
PAGES = 100_000  # pages whose readers are cached

_sleep = asyncio.sleep


class Narrowing:
    """Runs once per process; several processes do not conflict."""

    def __init__(self, gateway: Gateway, store: Store) -> None:
        self._gateway = gateway
        self._store = store
        self._begin("")

    def _begin(self, revision: str) -> None:
        self._revision = revision
        self._readers: dict[str, Groups] = {}
        """The groups required to read each page, under this revision."""
        self._unknown: set[str] = set()
        """Pages outside the wiki, according to the gateway."""
        self._at = ""
        """The last conversation checked under this revision."""
        self._is_done = False

    async def run(self) -> None:
        """Work until cancelled. Failures are retried, and reported once."""
        failures = 0
        while True:
            try:
                await self.once()
                if failures:
                    log.info("stored answers follow the rights again")
                failures = 0
            except AskdocsError as error:
                if not failures:
                    log.warning("stored answers do not follow the rights now: %s", error)
                failures += 1
            await _sleep(min(LONGEST, EVERY * 2 ** min(failures, 10)))

    async def once(self) -> bool:
        """Check all answers that need it, without repeating work after a failure. False: the
        gateway does not say, or its rights changed meanwhile.

        Raises AskdocsError: the gateway or the database does not answer.
        """
        rights = await self._gateway.rights(())
        if rights is None:
            return False
        if rights.revision != self._revision:
            self._begin(rights.revision)
        while not self._is_done:
            some = await asyncio.to_thread(self._store.conversations, self._at, STEP)
            if some and not await self._check(some):
                return False
            self._is_done = len(some) < STEP
            self._at = some[-1] if some else self._at
        while some := await asyncio.to_thread(self._store.unchecked, STEP):
            if not await self._check(some):
                return False
        return True

    async def _check(self, conversations: Sequence[str]) -> bool:
        """Check the answers of some conversations. False: the rights changed meanwhile."""
        standings = await asyncio.to_thread(self._store.standings, conversations)
        if len(self._readers) > PAGES:
            self._readers, self._unknown = {}, set()
        urls = dict.fromkeys(
            url for standing in standings for url in (*standing.pages, *standing.asked_on)
        )
        new = [url for url in urls if url not in self._readers]
        for start in range(0, len(new), MOST):
            some = new[start : start + MOST]
            rights = await self._gateway.rights(some)
            if rights is None or rights.revision != self._revision:
                return False
            self._readers |= zip(some, rights.readers, strict=True)
            known = rights.known or (False,) * len(some)
            self._unknown |= {url for url, there in zip(some, known, strict=True) if not there}
        readers, unknown = self._readers, self._unknown
        await asyncio.to_thread(self._write, standings, readers, unknown, self._revision)
        await _sleep(PAUSE)
        return True

    def _write(
        self,
        standings: Sequence[Standing],
        readers: Mapping[str, Groups],
        unknown: Set[str],
        revision: str,
    ) -> None:
        needed = {}
        for standing in standings:
            pages = (*standing.pages, *(url for url in standing.asked_on if url not in unknown))
            every = frozenset(some for url in pages for some in readers[url])
            needed[standing.id] = _stored(every)
        changed = {
            standing.id: needed[standing.id]
            for standing in standings
            if standing.is_new or standing.readers_now != needed[standing.id]
        }
        self._store.narrow(changed, revision)


@lru_cache(1000)  # many answers have the same requirements
def _stored(every: frozenset[frozenset[str]]) -> str | None:
    groups = simplified(every)
    return dump(groups) if groups else None
