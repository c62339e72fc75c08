"""Embedding models and rerankers behind an HTTP endpoint: our engine, or the gateway itself.

https://platform.openai.com/docs/api-reference/embeddings, and the `/rerank` of Cohere and Jina,
which vLLM, llama.cpp and LiteLLM's providers support.
"""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import httpx
import numpy as np
from pydantic import SecretStr

from core.errors import AskdocsError
from wiki.index.embed import CUT, Embedder, InputFormat, Vectors, unit

# Texts per request.
BATCH = 32
# Seconds for a question, while a reader waits, and for passages.
ASK, EMBED = 2.0, 120.0
CONNECT = 2.0
# Maximum size of a vector.
WIDEST = 8192


class Server(Protocol):
    """An engine of yours: an entry of [gateway.models]."""

    @property
    def url(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def key_env(self) -> str | None: ...


class Servers(Protocol):
    """Where a model is found by its name: the settings of the gateway."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def key(self) -> SecretStr | None: ...
    @property
    def models(self) -> Mapping[str, Server]: ...


class Endpoint:
    """The endpoint of a model."""

    def __init__(self, name: str, servers: Servers) -> None:
        """`name` is from [gateway.models], or another name that the gateway itself serves."""
        entry = servers.models.get(name)
        direct = entry is not None and entry.url is not None
        self.name = name
        self.url = (entry.url or "").rstrip("/") if entry and direct else _own(servers)
        self._model = entry.model if entry and direct else name
        self.label = self._model or name
        """Identifies the model without a request to the endpoint."""
        key = servers.key.get_secret_value() if servers.key and not direct else None
        if entry and direct:
            key = os.environ.get(entry.key_env) if entry.key_env else None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers["Connection"] = "close"  # llama.cpp announces keep-alive, but closes the connection
        self._http = httpx.Client(headers=headers, trust_env=False)

    @property
    def model(self) -> str:
        """The model's name at the endpoint. Raises AskdocsError."""
        if self._model is None:
            reply = self._sent("GET", "/models", None, ASK)
            try:
                self._model = str(reply["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                raise AskdocsError(f"{self.url} lists no model") from None
        return self._model

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Raises AskdocsError."""
        return self._sent("POST", path, {"model": self.model, **body}, seconds)

    def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float
    ) -> dict[str, Any]:
        where = f"{self.name} ({self.url}{path})"
        limit = httpx.Timeout(seconds, connect=min(CONNECT, seconds))
        try:
            reply = self._http.request(method, self.url + path, json=body, timeout=limit)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise AskdocsError(f"{where} does not answer: {why}") from None
        if reply.status_code != 200:
            raise AskdocsError(f"{where} answers {reply.status_code}: {reply.text[:200]}")
        try:
            content = reply.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise AskdocsError(f"{where} does not answer with a JSON object")
        return content


class RemoteEmbedder(Embedder):
    """An embedding model behind an endpoint."""

    def __init__(self, endpoint: Endpoint, reading: InputFormat) -> None:
        self._endpoint = endpoint
        self._reading = reading
        named = hashlib.sha256(repr((reading.query_prefix, reading.passage_prefix)).encode())
        self.model = f"{endpoint.name}:{endpoint.label}-{named.hexdigest()[:6]}/{CUT}"
        self._recent = lru_cache(maxsize=64)(self._embed_question)

    def embed(self, texts: Sequence[str]) -> Vectors:
        prefix = self._reading.passage_prefix
        written = [prefix + text for text in texts]
        parts = [
            self._vectors(written[start : start + BATCH], EMBED)
            for start in range(0, len(written), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)

    def ask(self, question: str) -> Vectors:
        return self._recent(self._reading.query_prefix + question)

    def _embed_question(self, text: str) -> Vectors:
        vector: Vectors = self._vectors([text], ASK)[0]
        return vector

    def _vectors(self, texts: Sequence[str], seconds: float) -> Vectors:
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        body = {"input": clean, "encoding_format": "float"}
        rows = _rows(self._endpoint.post("/embeddings", body, seconds), "data", len(texts))
        try:
            vectors = np.array([row["embedding"] for row in rows], np.float32)
        except (KeyError, OverflowError, TypeError, ValueError):
            vectors = np.zeros(0, np.float32)
        if (
            vectors.ndim != 2
            or not 0 < vectors.shape[1] <= WIDEST
            or not np.isfinite(vectors).all()
        ):
            raise AskdocsError(f"{self._endpoint.name} does not answer with vectors")
        return unit(vectors)


class RemoteReranker:
    """A reranker behind an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def scores(self, question: str, texts: Sequence[str], seconds: float) -> list[float]:
        """The relevance of each text. Raises AskdocsError."""
        body = {"query": question, "documents": list(texts)}
        rows = _rows(self._endpoint.post("/rerank", body, seconds), "results", len(texts))
        try:
            scores = [float(row["relevance_score"]) for row in rows]
        except (KeyError, OverflowError, TypeError, ValueError):
            scores = [math.nan]
        if not all(map(math.isfinite, scores)):
            raise AskdocsError(f"{self._endpoint.name} does not answer with scores")
        return scores


def _rows(reply: Mapping[str, Any], name: str, count: int) -> list[dict[str, Any]]:
    """The objects of a reply, in request order. Raises AskdocsError."""
    rows = reply.get(name)
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        ordered = {row["index"]: row for row in rows if type(row.get("index")) is int}
        if set(ordered) == set(range(count)):
            return [ordered[index] for index in range(count)]
    raise AskdocsError(f"the answer does not have one of {name} for each of {count} texts")


def _own(servers: Servers) -> str:
    """The gateway's own address."""
    host = servers.host
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 -- the listening address, not one to connect to
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{servers.port}/v1"
