"""What RAG asks of a gateway, in the words of its API, and what it makes of the answers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from askdocs.supervision.checks import free_port
from core import openai_client
from core.errors import AskdocsError
from eval.systems.rag.endpoints import Endpoints
from eval.systems.rag.rewrite import rewrite
from eval.systems.rag.settings import RagSettings

USAGE = {"prompt_tokens": 30, "completion_tokens": 7}


class Scripted:
    """A gateway with scripted replies, in turn."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self.answers: list[Response] = []
        self.app = Starlette(routes=[Route("/v1/{path:path}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        grounding = request.headers.get("x-askdocs-grounding")
        self.asked.append((request.url.path, await request.json(), grounding))
        return self.answers.pop(0)

    def says(self, text: str) -> None:
        message = {"role": "assistant", "content": text}
        self.answers.append(JSONResponse({"choices": [{"message": message}], "usage": USAGE}))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "PAUSE", 0.01)


@pytest.fixture
def gateway() -> Scripted:
    return Scripted()


@pytest.fixture
async def http(gateway: Scripted) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app)) as client:
        yield client


def endpoints(http: httpx.AsyncClient, **changed: Any) -> Endpoints:
    return Endpoints(RagSettings(**changed), "http://gateway/v1", http)


def vectors(*given: Any) -> Response:
    rows = [{"index": n, "embedding": one} for n, one in enumerate(given)]
    return JSONResponse({"data": rows[::-1]})


async def test_vectors_have_length_one_and_the_order_of_the_texts(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    coded = base64.b64encode(np.array([0, 2], "<f4").tobytes()).decode()
    gateway.answers = [vectors([3, 4], coded)]
    found = await endpoints(http).embed(["a", "b"], "search_document")
    assert found.tolist() == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))
    body = {"model": "minilm", "input": ["a", "b"], "encoding_format": "base64"}
    assert gateway.asked == [("/v1/embeddings", body, None)]


async def test_cohere_is_reported_what_is_a_question(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    gateway.answers = [vectors([1.0])]
    asking = endpoints(http, embedding_model="cohere/embed-v4.0", input_type=True)
    await asking.embed(["a"], "search_query")
    assert gateway.asked[0][1]["input_type"] == "search_query"
    assert gateway.asked[0][1]["model"] == "cohere/embed-v4.0"


async def test_documents_are_in_the_order_of_their_scores(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    scores = [(1, 0.5), (0, 0.9), (2, 0.5)]
    results = [{"index": n, "relevance_score": score} for n, score in scores]
    gateway.answers = [JSONResponse({"results": results})]
    assert await endpoints(http).rerank("q", ["a", "b", "c"]) == [0, 1, 2]
    path, body, _ = gateway.asked[0]
    assert path == "/v1/rerank"
    assert body == {"model": "local", "query": "q", "documents": ["a", "b", "c"], "top_n": 3} | {
        "return_documents": False
    }


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (JSONResponse({"data": []}), "has an unknown format"),
        (vectors([1.0]), "1 vectors for 2 texts"),
        (vectors("!", "!"), "has an unknown format"),
        (JSONResponse([]), "has an unknown format"),
        (PlainTextResponse("<html>\n<body>", 400), "model 'minilm': 400: <html> <body>"),
        (
            JSONResponse({"error": {"message": "no such model"}}, 404),
            "model 'minilm' refuses: 404: no such model",
        ),
    ],
)
async def test_what_is_no_answer_is_one_clear_line(
    gateway: Scripted, http: httpx.AsyncClient, answer: Response, told: str
) -> None:
    gateway.answers = [answer]
    with pytest.raises(AskdocsError, match=told) as raised:
        await endpoints(http).embed(["a", "b"], "search_query")
    assert "http://gateway/v1/embeddings: " in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_places_that_are_no_order_are_refused(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    gateway.answers = [JSONResponse({"results": [{"index": 0, "relevance_score": 1}]})]
    with pytest.raises(AskdocsError, match=r"places \[0\] of 2 documents"):
        await endpoints(http).rerank("q", ["a", "b"])


async def test_a_full_gateway_is_asked_again_when_it_says(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    gateway.answers = [Response(status_code=429, headers={"retry-after": "0"}), vectors([1.0])]
    await endpoints(http).embed(["a"], "search_query")
    assert len(gateway.asked) == 2


async def test_a_gateway_that_starts_again_is_waited_for() -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first one is cut
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"data": [{"index": 0, "embedding": [1]}]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    port = free_port()
    async with httpx.AsyncClient() as http:
        asking = Endpoints(RagSettings(), f"http://127.0.0.1:{port}/v1", http)
        found = asyncio.create_task(asking.embed(["a"], "search_query"))
        await asyncio.sleep(0.1)
        assert not found.done()
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            assert (await found).tolist() == [[1]]
    assert sum(asking.waited) > 0.05


async def test_no_gateway_is_said_to_be_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "PATIENCE", 0.1)
    async with httpx.AsyncClient() as http:
        asking = Endpoints(RagSettings(), "http://127.0.0.1:9/v1", http)
        with pytest.raises(AskdocsError, match="has not answered for long: ConnectError"):
            await asking.embed(["a"], "search_query")


async def test_a_question_is_not_rewritten_unless_that_is_wanted(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    found = await rewrite(endpoints(http), "How?")
    assert (found.wordings, found.passage, gateway.asked) == ((), "", [])


async def test_wordings_are_the_lines_and_a_passage_is_kept_whole(
    gateway: Scripted, http: httpx.AsyncClient
) -> None:
    gateway.says("1. How to A?\n- How to B?\n\nHow to A?\nHow to C?\nHow to D?")
    gateway.says(" It is done by A.\nThen B. ")
    found = await rewrite(endpoints(http, expand=True, hyde=True, chat_model="m"), "How?")
    assert found.wordings == ("How to A?", "How to B?", "How to C?")
    assert found.passage == "It is done by A.\nThen B."
    assert (found.prompt_tokens, found.completion_tokens) == (60, 14)
    for path, body, grounding in gateway.asked:
        assert (path, grounding) == ("/v1/chat/completions", "off")
        assert body["model"] == "m"
        assert body["temperature"] == 0
        assert "How?" in body["messages"][0]["content"]
