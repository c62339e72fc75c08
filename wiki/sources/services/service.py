"""The connection of a hosted service, open during a sync."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from types import MappingProxyType

from wiki.sources.services.api import Api
from wiki.sources.services.items import SyncState
from wiki.sources.source import Item
from wiki.sources.tokens import Token


class Service(ABC):
    """Implements `wiki.sources.source.Source` for services with an API."""

    def __init__(
        self,
        name: str,
        base: str,
        token: Token | None,
        rate: float,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """The arguments after `name` are those of `Api`."""
        self.name = name
        self._api = partial(Api, base, token, rate, headers)

    def read(self, known: Mapping[str, str], state: str = "") -> Iterator[Item]:
        """See `wiki.sources.source.Source.read`.

        Raises:
            AskdocsError: it cannot be reached, rejects the token, or has no page.
        """
        with closing(self._api()) as api:
            yield from self._read(api, SyncState(known, state))

    @abstractmethod
    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]: ...
