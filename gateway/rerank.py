"""`/v1/rerank` by the model in this process, in the format of Cohere's v1, as LiteLLM serves it.

https://docs.cohere.com/v1/reference/rerank; `model` and `usage` stand beside it, as Jina has them.
"""

import uuid
from typing import Any

from gateway.local import RERANK, Local, Reader, refused
from gateway.search.relevance import Text, relevance

DOCUMENTS = 1000  # in one request, as Cohere advises


def model(reader: Reader) -> Local:
    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        documents = _documents(request)
        query, *texts = [
            await _read(reader, place, text)
            for place, text in [("query", request["query"]), *documents.items()]
        ]
        scores = relevance(query, texts)
        ranked = sorted(range(len(texts)), key=lambda index: (-scores[index], index))
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": float(scores[index])}
            for index in ranked[: request.get("top_n")]
        ]
        if request.get("return_documents"):
            for result in results:
                result["document"] = {"text": texts[result["index"]].text}
        tokens = query.tokens + sum(text.tokens for text in texts)
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


async def _read(reader: Reader, place: str, text: str) -> Text:
    windows = await reader.windows(place, text)
    return Text(text, [await reader.read(window) for window in windows])


def _documents(request: dict[str, Any]) -> dict[str, str]:
    """The texts by their places in the request. Raises ApiError 400."""
    if not request["query"].strip():
        raise refused("query", "query is empty: send the question")
    given: list[Any] = request["documents"]
    if len(given) > DOCUMENTS:
        text = f"documents has {len(given):,} texts: send at most {DOCUMENTS:,} at once"
        raise refused("documents", text)
    texts = {}
    for number, document in enumerate(given):
        place = f"documents[{number}]"
        said = document.get("text") if isinstance(document, dict) else document
        if not isinstance(said, str):
            raise refused(place, f"{place} must be a string, or an object with a string text")
        texts[place] = said
    return texts
