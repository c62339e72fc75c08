"""The connection of a hosted service, open during a sync."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from types import MappingProxyType

from gateway.knowledge.sources.services.api import Api
from gateway.knowledge.sources.services.items import SyncState
from gateway.knowledge.sources.source import Item
from gateway.knowledge.sources.tokens import Token


class Service(ABC):
    """Implements `gateway.knowledge.sources.source.Source` for services with an API."""

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
        """See `gateway.knowledge.sources.source.Source.read`.

        Raises:
            AskdocsError: it cannot be reached, rejects the token, or has no page.
        """
        with closing(self._api()) as api:
            yield from self._read(api, SyncState(known, state))

    @abstractmethod
    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]: ...
