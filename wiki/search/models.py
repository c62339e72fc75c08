"""Opens the configured models, and the models that an index was built with."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import AskdocsError
from wiki.index import embed
from wiki.index.embed import Embedder, InputFormat
from wiki.index.index import Index
from wiki.search import rerank
from wiki.search.config import BUNDLED, OFF, SearchSettings
from wiki.search.glossary import Glossary
from wiki.search.remote import Endpoint, RemoteEmbedder, RemoteReranker, Servers
from wiki.search.rerank import InTime
from wiki.search.search import Open, Search

log = logging.getLogger("askdocs.search")


def describe(settings: SearchSettings) -> dict[str, Any]:
    """The description of the embedder to store in an index, so that it can be reopened later."""
    return {
        "embedder": settings.embedder,
        "query_prefix": settings.query_prefix,
        "passage_prefix": settings.passage_prefix,
    }


def open_embedder(
    described: Mapping[str, Any], servers: Servers, bundled: Embedder | None
) -> Embedder | None:
    """Opens the embedder; None if the bundled one does not run here.

    Args:
        described: see `describe`.
        servers: defines the models by name.
        bundled: the bundled embedder.

    Raises AskdocsError: a folder has no model, or an endpoint does not answer.
    """
    name = str(described["embedder"])
    query, passage = described.get("query_prefix"), described.get("passage_prefix")
    if name == BUNDLED:
        return bundled
    if "/" in name:
        return embed.open_folder(Path(name).expanduser(), query, passage)
    reading = InputFormat(query_prefix=query or "", passage_prefix=passage or "")
    return RemoteEmbedder(Endpoint(name, servers), reading)


def open_reranker(settings: SearchSettings, servers: Servers) -> InTime | None:
    """Opens the configured reranker; None if the bundled one does not run here.

    Raises AskdocsError.
    """
    name, passages, seconds = settings.reranker, settings.rerank_passages, settings.rerank_seconds
    if name == OFF:
        return None
    if name == BUNDLED:
        ours = rerank.bundled()
        few = min(passages, rerank.BUNDLED_PASSAGES)
        return InTime(ours, few, seconds, rerank.BESIDE, rerank.AT_ONCE_HERE) if ours else None
    if "/" in name:
        folder = rerank.open_folder(Path(name).expanduser())
        return InTime(folder, passages, seconds, at_once=rerank.AT_ONCE_HERE)
    return InTime(RemoteReranker(Endpoint(name, servers)), passages, seconds)


def open_search(
    index: Index, servers: Servers, settings: SearchSettings, bundled: Embedder | None
) -> Search:
    """Opens the search of an index with the configured models.

    Raises AskdocsError: a folder has no model that runs here, or a name is unknown.
    """
    embedder = open_embedder(describe(settings), servers, bundled)
    reranker = open_reranker(settings, servers)
    glossary = Glossary(settings.glossary)
    return Search(index, embedder, reranker, _opener(servers, bundled), glossary)


def _opener(servers: Servers, bundled: Embedder | None) -> Open:
    """Returns a function that opens the embedders of an index."""

    def opened(described: Mapping[str, Any]) -> Embedder | None:
        try:
            return open_embedder(described, servers, bundled)
        except (AskdocsError, KeyError) as error:
            log.warning("the previous embedder cannot be used: %s", error)
            return None

    return opened
