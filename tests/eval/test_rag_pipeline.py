"""From a question, other wordings and a passage that is made up to the chunks that are found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from eval.rag.chunks import Chunk
from eval.rag.endpoints import Endpoints
from eval.rag.fusion import Vectors
from eval.rag.pipeline import Rag
from eval.rag.settings import RagSettings
from eval.rag.store import Stored
from gateway.sources.markdown import parse

THINGS = ("pump", "valve", "lamp")
QUESTION, WORDING, PASSAGE = "How does it go on?", "Open the valve?", "Light the lamp."
VECTORS = {QUESTION: [1, 0, 0], WORDING: [0, 1, 0], PASSAGE: [0, 0.6, 0.8]}
# Of the question and the passage: their sum, of length 1.
MEAN = [1 / 2**0.5, 0.6 / 2**0.5, 0.8 / 2**0.5]


class Store:
    """Three chunks, each with a direction of its own; keeps what was sought."""

    def __init__(self) -> None:
        self.near: list[list[float]] = []
        self.words: list[str] = []

    def nearest(self, vector: Vectors, n: int) -> list[int]:
        self.near.append(vector.tolist())
        return [int(number) for number in np.argsort(-vector, kind="stable")[:n]]

    def match(self, question: str, n: int) -> list[int]:
        self.words.append(question)
        return [number for number, thing in enumerate(THINGS) if thing in question][:n]

    def vectors(self, numbers: Sequence[int]) -> Vectors:
        return np.eye(3, dtype=np.float32)[list(numbers)]


async def gateway(request: Request) -> Response:
    body: dict[str, Any] = await request.json()
    if request.url.path == "/v1/embeddings":
        rows = [{"index": n, "embedding": VECTORS[text]} for n, text in enumerate(body["input"])]
        return JSONResponse({"data": rows})
    asked = body["messages"][0]["content"]
    said = PASSAGE if "passage" in asked else f"1. {WORDING}"
    usage = {"prompt_tokens": 30, "completion_tokens": 7}
    return JSONResponse({"choices": [{"message": {"content": said}}], "usage": usage})


@pytest.mark.parametrize(
    ("changed", "near", "words", "order"),
    [
        ({}, [[1, 0, 0]], [QUESTION], "pump valve lamp"),
        (
            {"expand": True},
            [[1, 0, 0], [0, 1, 0]],
            [QUESTION, WORDING],
            "valve pump lamp",
        ),
        # What was made up is not searched for by its words.
        ({"hyde": True}, [MEAN], [QUESTION], "pump lamp valve"),
        (
            {"expand": True, "hyde": True},
            [MEAN, [0, 1, 0]],
            [QUESTION, WORDING],
            "valve pump lamp",
        ),
    ],
)
async def test_other_wordings_are_lists_of_their_own_and_a_passage_turns_the_question(
    changed: dict[str, Any], near: list[list[float]], words: list[str], order: str
) -> None:
    settings = RagSettings(k=5, mmr_lambda=1, rerank=False, **changed)
    store = Store()
    chunks = []
    for thing in THINGS:
        page = parse(f"{thing}.md", f"# The {thing}\n\nIt goes on.", "http://wiki/")
        chunks.append(Chunk(page, 0, page.text, (), 10))
    app = Starlette(routes=[Route("/v1/{path:path}", gateway, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        asking = Endpoints(settings, "http://gateway/v1", http)
        rag = Rag(settings, asking, chunks, Stored(store, store, 1, Path()))
        found = await rag.retrieve(QUESTION)
    assert store.near == [pytest.approx(vector) for vector in near]
    assert store.words == words
    assert found.pages == tuple(f"{thing}.md" for thing in order.split())
    assert tuple(one.page.path for one in found.excerpts) == found.pages
    assert found.extra_prompt_tokens == 30 * len(changed)
    assert found.extra_completion_tokens == 7 * len(changed)
