"""`/v1/rerank`, answered by the model in this process, in Cohere's v1 format like LiteLLM's.

https://docs.cohere.com/v1/reference/rerank; adds `model` and `usage`, as Jina does.
"""

import hashlib
import uuid
from functools import partial
from typing import Any, NamedTuple

from gateway.upstream.local.embeddings import embedded
from gateway.upstream.local.models import RERANK, EmbeddingThread, Local, refused
from wiki.index.embed import Vectors
from wiki.search.relevance import EncodedText, relevance, spans

DOCUMENTS = 1000  # per request, as Cohere advises
# Encoded spans of texts, which the next question is likely to need again: 31 MB.
CACHED_SPANS = 20_000


class _Read(NamedTuple):
    """The encoding of a text."""

    tokens: int
    spans: Vectors


def model(reader: EmbeddingThread) -> Local:
    memory = _Memory(reader)

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        documents = _documents(request)
        question: str = request["query"]
        windows = await reader.windows("query", question)
        tokens = sum(map(len, windows))
        vector = await embedded(reader, windows)
        texts = []
        for place, text in documents.items():
            read = await memory.read(place, text)
            tokens += read.tokens
            texts.append(EncodedText(text, read.spans))
        scores = await reader.run(partial(relevance, question, vector, texts))
        ranked = sorted(range(len(texts)), key=lambda index: (-scores[index], index))
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": scores[index]}
            for index in ranked[: request.get("top_n")]
        ]
        if request.get("return_documents"):
            for result in results:
                result["document"] = {"text": texts[result["index"]].text}
        return {
            "id": str(uuid.uuid4()),
            "model": RERANK,
            "results": results,
            "meta": {
                "api_version": {"version": "1"},
                "billed_units": {"search_units": 1},
                "tokens": {"input_tokens": tokens, "output_tokens": 0},
            },
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return Local(RERANK, "/rerank", "rerank", answer)


class _Memory:
    """Encodes texts, and caches the most recent ones."""

    def __init__(self, reader: EmbeddingThread) -> None:
        self._reader = reader
        self._read: dict[bytes, _Read] = {}
        self._spans = 0

    async def read(self, place: str, text: str) -> _Read:
        """Raises as `EmbeddingThread.windows`."""
        key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        reading = self._read.pop(key, None)
        if reading is None:
            windows = await self._reader.windows(place, text)
            read = [await self._reader.read(window) for window in windows]
            reading = _Read(sum(map(len, windows)), spans(read))
            # A concurrent request may have encoded it, too.
            twin = self._read.pop(key, None)
            self._spans += len(reading.spans) - (len(twin.spans) if twin else 0)
        self._read[key] = reading  # move it to the end
        while self._spans > CACHED_SPANS:
            oldest = self._read.pop(next(iter(self._read)))
            self._spans -= len(oldest.spans)
        return reading


def _documents(request: dict[str, Any]) -> dict[str, str]:
    """The texts by their location in the request. Raises ApiError 400."""
    if not request["query"].strip():
        raise refused("query", "query is empty: send the question")
    given: list[Any] = request["documents"]
    if len(given) > DOCUMENTS:
        text = f"documents has {len(given):,} texts: send at most {DOCUMENTS:,} at once"
        raise refused("documents", text)
    texts = {}
    for number, document in enumerate(given):
        place = f"documents[{number}]"
        content = document.get("text") if isinstance(document, dict) else document
        if not isinstance(content, str):
            raise refused(place, f"{place} must be a string, or an object with a string text")
        texts[place] = content
    return texts
