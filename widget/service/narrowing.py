"""Withdraws stored answers from readers who lost access to their pages.

An answer is stored with what it took to read its pages on its day. The gateway says what it takes
now; where that has changed, every answer is looked at again, so that the review, the gaps,
suggested questions and exported rows follow within a minute. Links and old answers ask the gateway
themselves when they are opened.
"""

import asyncio
import logging

from gateway.access.rights import Groups, dump, simplified
from gateway.api.readable import MOST
from gateway.core.errors import AskdocsError
from widget.service.gateway import Gateway
from widget.service.store import Store

log = logging.getLogger(__name__)

EVERY = 15.0  # seconds between two looks at the gateway's rights
BATCH = 1000  # answers that are looked at together


class Narrowing:
    """One in each process; several do no harm."""

    def __init__(self, gateway: Gateway, store: Store) -> None:
        self._gateway = gateway
        self._store = store
        self._done = ""  # the revision under which every answer has been looked at
        self._complained = ""

    async def run(self) -> None:
        """Work until cancelled. A database that is away is tried again, and said once."""
        while True:
            try:
                await self.once()
                self._complained = ""
            except AskdocsError as error:
                if str(error) != self._complained:
                    self._complained = str(error)
                    log.warning("stored answers do not follow the rights now: %s", error)
            await asyncio.sleep(EVERY)

    async def once(self) -> bool:
        """Look at all answers that need it. False: the gateway does not say, or has changed
        meanwhile. Raises Unreachable."""
        told = await self._gateway.rights(())
        if told is None:
            return False
        revision, everything = told.revision, told.revision != self._done
        while stale := await asyncio.to_thread(self._store.stale, revision, BATCH, everything):
            urls = list(dict.fromkeys(url for pages in stale.values() for url in pages))
            needed: dict[str, Groups] = {}
            for start in range(0, len(urls), MOST):
                some = urls[start : start + MOST]
                told = await self._gateway.rights(some)
                if told is None or told.revision != revision:
                    return False
                needed |= zip(some, told.readers, strict=True)
            readers = {
                id: simplified(some for url in pages for some in needed[url])
                for id, pages in stale.items()
            }
            stored = {id: dump(groups) if groups else None for id, groups in readers.items()}
            await asyncio.to_thread(self._store.narrow, stored, revision)
        self._done = revision
        return True
