"""Vectors and order by the models in the gateway's own process, in OpenAI's and Cohere's words."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from core.errors import AskdocsError
from gateway.api import plain
from gateway.http.asgi import ApiError
from gateway.upstream.local import embeddings, rerank
from gateway.upstream.local.models import CONTEXT, EmbeddingThread
from wiki.index.embed import Embedder, Vectors

Body = dict[str, Any]


@pytest.fixture(scope="module")
def reader(embedder: Embedder) -> Iterator[EmbeddingThread]:
    reader = EmbeddingThread(embedder)
    yield reader
    reader.close()


async def embed(reader: EmbeddingThread, given: Any, **more: Any) -> Body:
    body = {"model": "minilm", "input": given, **more}
    opened = await embeddings.model(reader).open("/embeddings", body)
    answer: Body = orjson.loads(b"".join([chunk async for chunk in opened.chunks()]))
    return answer


async def sort(reader: EmbeddingThread, query: str, *documents: Any, **more: Any) -> Body:
    body = {"model": "local", "query": query, "documents": list(documents), **more}
    opened = await rerank.model(reader).open("/rerank", body)
    answer: Body = orjson.loads(b"".join([chunk async for chunk in opened.chunks()]))
    return answer


async def test_a_text_has_the_vector_that_the_search_gives_it(
    reader: EmbeddingThread, embedder: Embedder
) -> None:
    texts = ["Where is the coffee machine?", "In the kitchen."]
    answer = await embed(reader, texts)
    assert [one["index"] for one in answer["data"]] == [0, 1]
    vectors = [one["embedding"] for one in answer["data"]]
    assert np.allclose(vectors, embedder.embed(texts), atol=1e-6)
    alone = await embed(reader, texts[0])
    assert alone["data"][0]["embedding"] == vectors[0]
    # 6 words and a question mark, 3 words and a full stop, and two marks each.
    assert answer["usage"] == {"prompt_tokens": 14, "total_tokens": 14}


async def test_base64_is_the_same_numbers(reader: EmbeddingThread) -> None:
    floats = (await embed(reader, "kitchen", encoding_format="float"))["data"][0]["embedding"]
    coded = (await embed(reader, "kitchen", encoding_format="base64"))["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == floats


async def test_nothing_of_a_long_text_is_left_out(reader: EmbeddingThread) -> None:
    beginning = "The coffee machine stands in the kitchen. " * 40
    long = beginning + "Refunds are paid within five days. " * 40
    answer = await embed(reader, [beginning, long, "When are refunds paid?"])
    short, whole, asked = (np.array(one["embedding"]) for one in answer["data"])
    assert whole @ asked > short @ asked + 0.2
    assert np.linalg.norm(whole) == pytest.approx(1)


async def test_a_text_beyond_the_limit_is_refused_by_its_place(reader: EmbeddingThread) -> None:
    long = ("word " * CONTEXT, "x" * 300_000)
    for text, size in zip(long, (r"8,2\d\d tokens", "300,000 characters"), strict=True):
        with pytest.raises(ApiError, match=rf"input\[1\] has {size}.*8,192 tokens") as caught:
            await embed(reader, ["fine", text])
        assert caught.value.body["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": [1, 2, 3]}, "send text"),
        ({"input": [[1, 2], [3]]}, "check_embedding_ctx_length=False"),
        ({"input": ["x"] * 2049}, "2,049 texts: send at most 2,048"),
        ({"input": "x", "dimensions": 256}, r"must be 384 \(it is 256\)"),
    ],
)
async def test_what_this_model_cannot_do_is_said(
    reader: EmbeddingThread, fields: Body, words: str
) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        await embeddings.model(reader).answer(fields)
    assert caught.value.status == 400


async def test_its_own_number_of_dimensions_may_be_asked_for(reader: EmbeddingThread) -> None:
    answer = await embed(reader, "x", dimensions=384)
    assert len(answer["data"][0]["embedding"]) == 384


async def test_a_long_list_holds_up_nobody_and_ends_with_its_client(
    reader: EmbeddingThread,
) -> None:
    long = asyncio.create_task(embed(reader, [f"text number {n} " * 20 for n in range(500)]))
    await asyncio.sleep(0.05)
    await embed(reader, "a question")
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await asyncio.wait_for(embed(reader, "another"), 2)


async def test_the_document_that_answers_comes_first(reader: EmbeddingThread) -> None:
    documents = [
        "Refunds are paid within five days.",
        {"text": "The coffee machine stands in the kitchen on the second floor."},
        "",
        "The kitchen is cleaned on Fridays.",
    ]
    answer = await sort(reader, "Where is the coffee machine?", *documents)
    results = answer["results"]
    assert results[0]["index"] == 1
    assert sorted(one["index"] for one in results) == [0, 1, 2, 3]
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert "document" not in results[0]
    tokens = answer["usage"]["prompt_tokens"]
    assert answer["meta"]["tokens"]["input_tokens"] == tokens > 40


async def test_the_best_few_come_with_their_texts_where_that_is_asked(
    reader: EmbeddingThread,
) -> None:
    more: Body = {"top_n": 2, "return_documents": True}
    answer = await sort(reader, "coffee", "tea", {"text": "coffee"}, "cocoa", **more)
    assert len(answer["results"]) == 2
    assert answer["results"][0]["document"] == {"text": "coffee"}


async def test_a_word_that_only_one_document_has_counts(reader: EmbeddingThread) -> None:
    asked = "What does error TB-4711 mean?"
    texts = [f"Error TB-{number} means that the server is busy." for number in (3141, 4711, 2718)]
    answer = await sort(reader, asked, *texts)
    assert answer["results"][0]["index"] == 1


async def test_a_document_that_comes_again_is_not_read_again(embedder: Embedder) -> None:
    class Counting(EmbeddingThread):
        read_windows = 0

        async def read(self, window: list[int]) -> Vectors:
            self.read_windows += 1
            return await super().read(window)

    counting = Counting(embedder)
    rerank_model = rerank.model(counting)
    asked: Body = {"query": "tea", "documents": ["a pot of tea", "a cup of coffee"]}
    first, second = await asyncio.gather(rerank_model.answer(asked), rerank_model.answer(asked))
    before = counting.read_windows
    third = await rerank_model.answer(asked)
    assert counting.read_windows == before + 1  # the question
    assert first["results"] == second["results"] == third["results"]
    assert first["usage"] == third["usage"]
    counting.close()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": " ", "documents": ["a"]}, "query"),
        ({"query": "a", "documents": ["a", {"title": "b"}]}, "documents[1]"),
        ({"query": "a", "documents": ["a"] * 1001}, "documents"),
        ({"query": "a", "documents": ["a", "word " * 9000]}, "documents[1]"),
    ],
)
async def test_what_cannot_be_sorted_is_said_by_its_place(
    reader: EmbeddingThread, fields: Body, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        await rerank.model(reader).answer(fields)
    assert (caught.value.status, caught.value.body["error"]["param"]) == (400, param)


async def test_each_model_answers_its_own_endpoint_alone(reader: EmbeddingThread) -> None:
    with pytest.raises(ApiError, match="minilm is for /v1/embeddings"):
        await embeddings.model(reader).open("/rerank", {})
    with pytest.raises(ApiError, match="local is for /v1/rerank"):
        await rerank.model(reader).open("/chat/completions", {})


async def test_without_the_model_they_say_how_to_get_it() -> None:
    reader = EmbeddingThread(None)
    with pytest.raises(AskdocsError, match="make setup"):
        await embed(reader, "x")
    reader.close()


@pytest.mark.parametrize(
    "vector",
    [[0.5, -1e-05], [], [[0.5], [1]], "AACAPw==", '[1] "embedding":[2', {"a": [1]}, None],
)
def test_of_an_answer_with_vectors_usage_and_names_are_read(vector: object) -> None:
    facts = {"model": 'the "embedding":[ of ]', "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    item = {"object": "embedding", "embedding": vector, "index": 0}
    for text in (
        json.dumps({"data": [item, item], **facts}),
        json.dumps({**facts, "data": [item, item]}, separators=(",", ":")),
    ):
        read = json.loads(plain._without_vectors(text.encode()))
        assert {name: read[name] for name in facts} == facts
        assert [one["index"] for one in read["data"]] == [0, 0]
    assert plain._without_vectors(b'{"embedding":[1, 2') == b'{"embedding":[1, 2'


def test_of_an_answer_with_many_vectors_no_number_is_parsed() -> None:
    vectors = np.random.default_rng(0).random((512, 384)).tolist()
    body = orjson.dumps({"data": [{"embedding": vector} for vector in vectors], "usage": {}})
    skimmed = plain._without_vectors(body)
    assert orjson.loads(skimmed) == {"data": [{"embedding": 0}] * 512, "usage": {}}
