"""What RAG asks of the gateway: vectors, an order of texts, and other wordings of a question."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
import numpy as np

from eval.rag.fusion import Vectors
from eval.rag.settings import RagSettings
from gateway.errors import AskdocsError

# What a full or starting gateway says; it may be asked again after a while.
_LATER = (429, 503)
_TRIES = 5
_PAUSE = 2.0  # seconds, where it does not say how long
_PATIENCE = 60.0  # seconds, however long it says


class Said(NamedTuple):
    """What a chat model wrote."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Endpoints:
    """/v1/embeddings, /v1/rerank and /v1/chat/completions of a gateway. Raise AskdocsError."""

    settings: RagSettings
    url: str
    """With /v1."""
    http: httpx.AsyncClient
    """Sends the key."""

    async def embed(self, texts: Sequence[str], input_type: str) -> Vectors:
        """[len(texts), size], each of length 1.

        Args:
            texts: at least one.
            input_type: search_query or search_document, for models that want to know (Cohere's).
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
        """Places of the documents, the best one for the question first."""
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
            scored = [(-float(one["relevance_score"]), one["index"]) for one in answer["results"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange("rerank", error) from None
        order = [place for _, place in sorted(scored)]
        if sorted(order) != list(range(len(documents))):
            raise self._strange("rerank", f"places {order} of {len(documents)} documents")
        return order

    async def chat(self, prompt: str, max_tokens: int) -> Said:
        """What the chat model says to one message, greedily and without pages of the wiki."""
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
            return Said(
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
        for trial in range(_TRIES):
            try:
                response = await self.http.post(address, json=body, headers=headers)
            except httpx.HTTPError as error:
                # A connection that was kept is closed while the next question goes out on it.
                if isinstance(error, httpx.ReadError | httpx.RemoteProtocolError) and trial == 0:
                    continue
                raise AskdocsError(
                    f"{address}: cannot be reached ({type(error).__name__}: {error}): is the"
                    " gateway running? `askdocs up` starts it"
                ) from None
            if response.status_code not in _LATER or trial == _TRIES - 1:
                break
            await asyncio.sleep(_wait(response))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.status_code != 200 or not isinstance(answer, dict):
            why = " ".join((_message(answer) or response.text[:200]).split())
            raise AskdocsError(f"{address}: model {body['model']!r}: {response.status_code} {why}")
        return answer

    def _strange(self, path: str, what: object) -> AskdocsError:
        return AskdocsError(f"{self.url}/{path}: its answer is not of the known form: {what!r}")


def _floats(embedding: Any) -> Vectors:
    """Servers that do not know base64 answer with numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)


def _wait(response: httpx.Response) -> float:
    try:
        return min(_PATIENCE, max(0.0, float(response.headers["retry-after"])))
    except (KeyError, ValueError):
        return _PAUSE


def _message(answer: Any) -> str:
    """Of an error in OpenAI's form."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else str(error or "")
