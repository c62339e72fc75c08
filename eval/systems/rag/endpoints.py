"""The gateway's endpoints for RAG: embeddings, rerank and chat."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import numpy as np
import numpy.typing as npt

from core.errors import AskdocsError
from core.openai_client import RequestRefused, patiently, post
from eval.systems.rag.settings import RagSettings

Vectors = npt.NDArray[np.float32]


class Completion(NamedTuple):
    """A chat model's reply."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Endpoints:
    """/v1/embeddings, /v1/rerank and /v1/chat/completions of a gateway.

    Raise as `patiently`, and AskdocsError: the response has an unknown format.
    """

    settings: RagSettings
    url: str
    """Base URL with /v1."""
    http: httpx.AsyncClient
    """Sends the key."""
    waited: list[float] = field(default_factory=list, kw_only=True)
    """For each request, seconds of failed attempts and of the pauses between them."""

    async def check(self) -> None:
        """Send a test request: what is refused now would be refused for every question."""
        if self.settings.rerank:
            await self.rerank("?", ["?"])
        if self.settings.expand or self.settings.decompose or self.settings.hyde:
            await self.chat("?", 1)

    async def embed(self, texts: Sequence[str], input_type: str) -> Vectors:
        """[len(texts), size], each of length 1.

        Args:
            texts: at least one.
            input_type: search_query or search_document, for models that distinguish them
                (Cohere's).
        """
        body = {
            "model": self.settings.embedding_model,
            "input": list(texts),
            "encoding_format": "base64",
        }
        if self.settings.input_type:
            body["input_type"] = input_type
        answer = await self._post("embeddings", body)
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.stack([_floats(row["embedding"]) for row in rows])
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange("embeddings", error) from None
        if len(vectors) != len(texts):
            raise self._strange("embeddings", f"{len(vectors)} vectors for {len(texts)} texts")
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        result: Vectors = (vectors / lengths).astype(np.float32)
        return result

    async def rerank(self, question: str, documents: Sequence[str]) -> list[int]:
        """Indices of the documents, the most relevant to the question first."""
        answer = await self._post(
            "rerank",
            {
                "model": self.settings.rerank_model,
                "query": question,
                "documents": list(documents),
                "top_n": len(documents),
                "return_documents": False,
            },
        )
        try:
            scored = [
                (-float(result["relevance_score"]), result["index"]) for result in answer["results"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange("rerank", error) from None
        order = [place for _, place in sorted(scored)]
        if sorted(order) != list(range(len(documents))):
            raise self._strange("rerank", f"places {order} of {len(documents)} documents")
        return order

    async def chat(self, prompt: str, max_tokens: int) -> Completion:
        """The chat model's reply to one message, with greedy decoding and without pages."""
        answer = await self._post(
            "chat/completions",
            {
                "model": self.settings.chat_model,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": max_tokens,
            },
            {"x-askdocs-grounding": "off"},
        )
        try:
            usage = answer["usage"]
            return Completion(
                answer["choices"][0]["message"]["content"] or "",
                usage["prompt_tokens"],
                usage["completion_tokens"],
            )
        except (KeyError, TypeError, IndexError) as error:
            raise self._strange("chat/completions", error) from None

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        address = f"{self.url.rstrip('/')}/{path}"
        named = f"{address}: model {body['model']!r}"
        began = tried = time.perf_counter()

        async def once() -> dict[str, Any]:
            nonlocal tried
            tried = time.perf_counter()
            return await post(self.http, address, body, headers, named)

        try:
            answer = await patiently(named, once)
        except RequestRefused as error:
            raise RequestRefused(f"{named}: {error}") from None
        self.waited.append(tried - began)
        return answer

    def _strange(self, path: str, what: object) -> AskdocsError:
        return AskdocsError(f"{self.url}/{path}: its answer has an unknown format: {what!r}")


def _floats(embedding: Any) -> Vectors:
    """Servers that do not support base64 answer with numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)
