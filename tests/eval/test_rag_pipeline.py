"""From a question, other wordings and a passage that is made up to the chunks that are found."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.openai_client import RequestRefused
from eval.questions.question import Question
from eval.running.answer import Answer
from eval.systems.asker import Asker
from eval.systems.client import Client
from eval.systems.rag.chunks import Chunk
from eval.systems.rag.endpoints import Endpoints, Vectors
from eval.systems.rag.pipeline import Rag
from eval.systems.rag.settings import RagSettings
from eval.systems.systems import parse as named
from tests.eval.queued import Reply, queued, words
from tests.eval.rag_gateway import Models, serving
from tests.eval.test_asker import DESCALE, PAGES, RUN, SITE, opened
from tests.parts import require
from wiki.index import embed
from wiki.sources.markdown import parse

if TYPE_CHECKING:
    from eval.systems.rag.store import Store
else:
    Store = object

THINGS = ("pump", "valve", "lamp")
QUESTION, WORDING, PASSAGE = "How does it go on?", "Open the valve?", "Light the lamp."
VECTORS = {QUESTION: [1, 0, 0], WORDING: [0, 1, 0], PASSAGE: [0, 0.6, 0.8]}
# Of the question and the passage: their sum, of length 1.
MEAN = [1 / 2**0.5, 0.6 / 2**0.5, 0.8 / 2**0.5]


class Hit(NamedTuple):
    """As of the store, whose library only another environment has."""

    score: float
    vector: Vectors


class Threes:
    """Three chunks, each with a direction of its own; keeps what was sought."""

    folder = Path()
    of_chunk = np.eye(3, dtype=np.float32)

    def __init__(self) -> None:
        self.near: list[list[float]] = []
        self.words: list[str] = []

    def search(self, text: str, vector: Vectors, n: int) -> dict[int, Hit]:
        self.near.append(vector.tolist())
        self.words.append(text)
        near = np.argsort(-vector, kind="stable").tolist()
        said = [number for number, thing in enumerate(THINGS) if thing in text]
        lists = (near, said)
        scores = {
            number: sum(1 / (61 + ranked.index(number)) for ranked in lists if number in ranked)
            for number in near
        }
        best = sorted(scores, key=lambda number: -scores[number])
        return {number: Hit(scores[number], self.of_chunk[number]) for number in best[:n]}


def found(store: Threes) -> Store:
    return store  # type: ignore[return-value]


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
        (
            {"decompose": True},
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
    store = Threes()
    chunks = []
    for thing in THINGS:
        page = parse(f"{thing}.md", f"# The {thing}\n\nIt goes on.", "http://wiki/")
        chunks.append(Chunk(page, 0, page.text, (), 10))
    app = Starlette(routes=[Route("/v1/{path:path}", gateway, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        asking = Endpoints(settings, "http://gateway/v1", http)
        rag = Rag(settings, asking, chunks, found(store))
        got = await rag.retrieve(QUESTION)
    assert store.near == [pytest.approx(vector) for vector in near]
    assert store.words == words
    assert got.pages == tuple(f"{thing}.md" for thing in order.split())
    assert tuple(one.page.path for one in got.excerpts) == got.pages
    assert got.extra_prompt_tokens == 30 * len(changed)
    assert got.extra_completion_tokens == 7 * len(changed)


async def test_the_reranker_orders_k_chunks_of_which_mmr_left_out_one_that_is_alike() -> None:
    asked: list[str] = []

    async def reranking(request: Request) -> Response:
        if not request.url.path.endswith("/rerank"):
            return await gateway(request)
        body: dict[str, Any] = await request.json()
        asked.extend(body["documents"])
        results = [
            {"index": n, "relevance_score": float("lamp" in text)}
            for n, text in enumerate(body["documents"])
        ]
        return JSONResponse({"results": results})

    class Alike(Threes):
        of_chunk = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)

    chunks = [
        Chunk(parse(f"{thing}.md", f"# The {thing}\n\nGo on.", "http://wiki/"), 0, "Go on.", (), 10)
        for thing in THINGS
    ]
    app = Starlette(routes=[Route("/v1/{path:path}", reranking, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        settings = RagSettings(k=2, keep=2, mmr_lambda=0.5)
        rag = Rag(settings, Endpoints(settings, "http://gateway/v1", http), chunks, found(Alike()))
        pages = (await rag.retrieve(QUESTION)).pages
    assert len(asked) == 2
    assert pages == ("lamp.md", "pump.md")


async def answered(
    folder: Path, app: Starlette, stored: Store, *questions: Question
) -> tuple[list[Answer], float]:
    """What RAG answers with the models of `app`, and for how long it was waited for."""
    settings = RagSettings(rerank=False)
    page = parse("coffee.md", PAGES["coffee.md"], SITE)
    chunks = [Chunk(page, 0, page.text, (), 10)] * 3
    (system,) = named(["base-rag"])
    with serving(app) as url, queued(Reply(words("Press the button."))) as answering:
        async with (
            opened(folder / "index.db", PAGES) as wiki,
            httpx.AsyncClient(headers={"Authorization": "Bearer secret"}) as http,
            Client(answering.url, "secret", 60, 1) as client,
        ):
            rag = Rag(settings, Endpoints(settings, f"{url}/v1", http), chunks, stored)
            asker = Asker(RUN, client, wiki, rag)
            began = time.monotonic()
            answers = [await asker.answer(system, question) for question in questions]
            return answers, time.monotonic() - began


async def test_for_how_long_the_gateway_was_busy_is_no_time_of_rag(tmp_path: Path) -> None:
    answers = [Response(status_code=429, headers={"retry-after": "0.3"})]

    async def busy_once(request: Request) -> Response:
        return answers.pop() if answers else await gateway(request)

    app = Starlette(routes=[Route("/v1/{path:path}", busy_once, methods=["POST"])])
    asked = DESCALE.model_copy(update={"text": QUESTION})
    stored = found(Threes())
    (answer,), seconds = await answered(tmp_path, app, stored, asked)
    assert answers == []
    assert answer.text == "Press the button."
    assert 0 < answer.retrieval_s < answer.total_s <= seconds - 0.3


async def test_a_model_that_refuses_is_found_out_before_the_first_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once there are questions, a refusal is the question's own."""

    async def refuses(_: Request) -> Response:
        return JSONResponse({"error": {"message": "it does not answer /v1/rerank"}}, 400)

    async def opened(*_: object) -> Store:
        return found(Threes())

    # The real one runs in another environment.
    fake = SimpleNamespace(opened=opened)
    monkeypatch.setitem(sys.modules, "eval.systems.rag.store", fake)  # type: ignore[arg-type]
    tokenizer = embed.tokenizer_file()
    require(tokenizer is not None, "make setup")
    page = parse("pump.md", "# The pump\n\nIt goes on.", "http://wiki/")
    settings = RagSettings(rerank_model="base")
    with serving(Starlette(routes=[Route("/v1/rerank", refuses, methods=["POST"])])) as url:
        place = (tmp_path, f"{url}/v1", "key", tokenizer)
        with pytest.raises(RequestRefused, match="model 'base': 400: it does not answer"):
            await Rag.open(settings, [page], *place, lambda *_: None)


class OnePage(Threes):
    def search(self, text: str, vector: Vectors, n: int) -> dict[int, Hit]:
        return {0: Hit(1.0, np.ones(1, dtype=np.float32))}


async def test_a_question_too_long_for_the_embedding_model_does_not_end_the_evaluation(
    tmp_path: Path,
) -> None:
    loaded = embed.load()
    require(loaded is not None, "make setup")
    assert loaded is not None
    app = Models(loaded).app()
    log = DESCALE.model_copy(update={"text": f"{DESCALE.text}\n{'error 42 ' * 9000}"})
    stored = found(OnePage())
    (refused, answer), _ = await answered(tmp_path, app, stored, log, DESCALE)
    assert "400: input[0] has " in refused.error
    assert "the model reads at most 8,192 tokens" in refused.error
    assert (answer.error, answer.text) == ("", "Press the button.")
