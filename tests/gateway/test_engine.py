"""The client of the engine, against the real llama.cpp server."""

import asyncio
import json
import threading
import time
from http.server import ThreadingHTTPServer

import httpx
import pytest

from askdocs.supervision.checks import free_port
from core.errors import AskdocsError
from gateway.api.usage_sum import UsageSum, stated
from gateway.upstream import bounds
from gateway.upstream.engine import AT_ONCE, Engine
from tests.speaking import Handler, serving

TEXTS = ["", "a", "Hello world.", "Größe 日本語 🎉", "<|im_start|>user\n", "x" * 5000, '"\\\n\t\0']


async def test_the_model_and_its_context_are_found(engine: Engine) -> None:
    model = await engine.model()
    assert model.id == "small"
    assert model.context == 2048


async def test_the_address_may_end_with_a_slash(engine_url: str) -> None:
    engine = Engine(engine_url + "/")
    assert (await engine.model()).id == "small"
    assert await engine.is_ready()
    await engine.close()


async def test_no_web_page_may_read_the_engines_answers(engine_url: str) -> None:
    page = {"origin": "http://elsewhere.example"}
    wish = {"access-control-request-method": "POST"}
    async with httpx.AsyncClient() as client:
        answers = [
            await client.get(f"{engine_url}/models", headers=page),
            await client.options(f"{engine_url}/chat/completions", headers=page | wish),
        ]
    for answer in answers:
        assert not answer.headers.get("access-control-allow-origin")
        assert answer.headers.get("access-control-allow-credentials") != "true"


@pytest.mark.parametrize("text", TEXTS)
async def test_texts_are_counted_by_the_engines_own_tokenizer(engine: Engine, text: str) -> None:
    root = engine.url.removesuffix("/v1")
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{root}/tokenize", json={"content": text, "add_special": False})
    assert await engine.count(text) == len(reply.json()["tokens"])


async def test_sections_together_have_the_tokens_of_each_give_or_take_one(engine: Engine) -> None:
    parts = [f"## Part {n}\n\nSome text of it, `code` and 4000.\n\n" for n in range(20)]
    apart = sum([await engine.count(part) for part in parts])
    assert abs(apart - await engine.count("".join(parts))) <= len(parts)


async def test_reading_tells_the_prompts_tokens(engine: Engine) -> None:
    short = await engine.read([{"role": "user", "content": "Hi"}])
    long = await engine.read([{"role": "user", "content": "Hi " * 100}])
    assert 0 < short.tokens < long.tokens
    again = await engine.read([{"role": "user", "content": "Hi " * 100}])
    assert again.tokens == long.tokens
    assert again.cached > 0.9 * long.tokens


async def test_usage_is_reported_in_every_chunk_of_a_stream(engine: Engine) -> None:
    await engine.kind()
    asked = {
        "model": "small",
        "messages": [{"role": "user", "content": "Hi " * 50}],
        "max_tokens": 3,
        "stream": True,
        **engine.telling(),
    }
    counted, told = UsageSum(), []
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream("POST", f"{engine.url}/chat/completions", json=asked) as reply,
    ):
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                counted.add(chunk)
                told.append(counted.total)
    said = [usage for usage in told if usage]
    assert len(said) >= 3
    assert len({usage["prompt_tokens"] for usage in said}) == 1
    assert said[0]["prompt_tokens"] > 50
    assert said[-1]["completion_tokens"] == 3


async def test_reading_more_than_the_context_is_an_http_error(engine: Engine) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        await engine.read([{"role": "user", "content": "word " * 4000}])


@pytest.mark.slow
async def test_the_reading_speed_is_measured_and_no_cache_knows_the_prompt(engine: Engine) -> None:
    first, second = [await engine.measure_prefill(90) for _ in range(2)]
    assert first > 0
    assert second < 20 * first  # a cached prompt would be read a hundred times as fast


@pytest.mark.slow
async def test_what_the_engine_has_read_and_in_how_long_is_reported(engine: Engine) -> None:
    before = await engine.reading()
    tokens = (
        await engine.read([{"role": "user", "content": f"{time.time_ns()} a word " * 20}])
    ).tokens
    after = await engine.reading()
    assert before is not None
    assert after is not None
    assert 0 < after.tokens - before.tokens <= tokens
    assert after.seconds > before.seconds


async def test_an_engine_that_is_away_tells_no_reading() -> None:
    away = Engine("http://127.0.0.1:9/v1")
    assert await away.reading() is None
    await away.close()


async def test_a_model_that_is_not_served_is_an_error_that_names_the_ones_that_are(
    engine_url: str,
) -> None:
    engine = Engine(engine_url, model="other")
    with pytest.raises(AskdocsError, match=r"does not serve 'other'; it serves small: .*--model"):
        await engine.model()
    await engine.close()


@pytest.mark.parametrize("path", ["/v1", "/v2/v1", ""])
async def test_an_engine_that_is_not_there_is_an_error_that_names_the_fix(
    engine_url: str, path: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    if path != "/v1":
        url = engine_url.removesuffix("/v1") + path  # a server, but no API there
    engine = Engine(url)
    if path == "":
        assert (await engine.model()).id == "small"  # llama.cpp lists its models there too
    else:
        with pytest.raises(AskdocsError) as caught:
            await engine.model()
        assert url in str(caught.value)
        assert "--engine-url (it ends with /v1)" in str(caught.value)
        assert not await engine.is_ready()
    await engine.close()


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_process_that_was_held_up_does_not_take_its_engine_for_away(
    engine: Engine, steps: int
) -> None:
    asking = asyncio.create_task(engine.is_ready())
    for _ in range(steps):  # within one of them it connects
        await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251
    assert await asking


async def test_an_engine_is_ready_once_it_lists_its_model(engine: Engine) -> None:
    assert await engine.is_ready()


@pytest.mark.parametrize(("health", "readiness"), [(503, 200), (503, 503), (503, 404), (200, 404)])
async def test_a_router_is_ready_while_one_of_its_engines_is(health: int, readiness: int) -> None:
    """As vLLM's answers: 503 to /health as soon as one of several engines is away."""

    class Router(Handler):
        def do_GET(self) -> None:
            statuses = {"/health": health, "/readiness": readiness, "/v1/models": 200}
            self.json(statuses[self.path], {"data": []})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Router)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        try:
            assert await engine.is_ready() == (200 in (health, readiness))
        finally:
            await engine.close()


async def test_an_engine_of_another_kind_has_its_tokens_estimated_from_above() -> None:
    class Other(Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.json(404, {"error": "not found"})

        def do_GET(self) -> None:
            self.json(200, {"data": [{"id": "m"}]})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Other)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        assert await engine.count("a" * 300) == 100
        await engine.close()


@pytest.mark.parametrize("answer", [b"[" * 100_000 + b"]" * 100_000, b"5", b"<html>"])
async def test_answers_that_are_no_json_are_those_of_an_unknown_engine(answer: bytes) -> None:
    class Odd(Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send(200, answer, "application/json")

        def do_GET(self) -> None:
            self.json(200, {"data": [{"id": "m"}]})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Odd)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        assert await engine.kind() == "other"
        assert await engine.count("a" * 300) == 100
        Odd.do_GET = lambda handler: handler.send(200, answer, "application/json")  # type: ignore[method-assign]
        with pytest.raises(AskdocsError, match="no OpenAI-compatible engine"):
            await engine.listed()
        await engine.close()


async def test_a_list_of_models_without_end_is_read_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "LARGEST", 1000)

    class Odd(Handler):
        def do_GET(self) -> None:
            self.json(200, {"data": [{"id": "base"}], "more": "a" * 1000})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Odd)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        with pytest.raises(AskdocsError, match="bytes"):
            await engine.listed()
        await engine.close()


async def test_what_an_engine_is_is_asked_once_and_kept_once_it_has_loaded() -> None:
    """vLLM's proxy and llama.cpp say 503 to everything while a model is loaded."""
    asked: list[int] = []
    loading = True

    class Loading(Handler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = 503 if loading else 200 if "prompt" in body else 400
            asked.append(status)
            self.json(status, {"count": 1})

        def do_GET(self) -> None:
            self.json(200, {"data": [{"id": "m", "max_model_len": 4096}]})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Loading)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        with pytest.raises(httpx.HTTPStatusError):
            await engine.kind()
        loading = False
        assert set(await asyncio.gather(*(engine.kind() for _ in range(20)))) == {"vllm"}
        assert asked == [503, 400, 200]
        await engine.close()


async def test_a_count_that_fails_leaves_none_behind() -> None:
    counted: list[str] = []

    class Failing(Handler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if "content" not in body and body["prompt"] != "a":
                counted.append(body["prompt"])
            time.sleep(0.01)
            self.json(500 if body.get("prompt") == "bad" else 200, {"count": 1})

        def do_GET(self) -> None:
            self.json(200, {"data": [{"id": "m", "max_model_len": 4096}]})

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Failing)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        with pytest.raises(httpx.HTTPStatusError):
            await engine.counts(["bad", *(f"section {n}" for n in range(300))])
        there = len(counted)
        await asyncio.sleep(0.2)
        assert len(counted) <= there + AT_ONCE
        await engine.close()


async def test_few_counts_are_under_way_at_a_time_and_each_gets_its_turn() -> None:
    under_way, most = 0, 0
    lock = threading.Lock()

    class Slow(Handler):
        def do_POST(self) -> None:
            nonlocal under_way, most
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.01)
            with lock:
                under_way -= 1
            self.json(200, {"count": len(asked.get("prompt", "")), "max_model_len": 4096})

        def do_GET(self) -> None:
            model = {"id": "m", "object": "model", "max_model_len": 4096}
            self.json(200 if self.path == "/v1/models" else 404, {"data": [model]})

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    with serving(Server(("127.0.0.1", 0), Slow)) as server:
        engine = Engine(f"http://127.0.0.1:{server.server_port}/v1")
        pages = [["a" * length for length in range(1, 21)] for _ in range(5)]
        counted = await asyncio.gather(*map(engine.counts, pages))
        assert counted == [list(range(1, 21))] * 5
        await engine.close()
    assert 1 < most <= AT_ONCE


def test_clients_get_neither_nulls_nor_counts_of_caches() -> None:
    said = {
        "prompt_tokens": 33,
        "completion_tokens_details": None,
        "prompt_tokens_details": {"cached_tokens": 32, "multimodal_tokens": None},
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 32,
    }
    assert stated(said) == {"prompt_tokens": 33}
    said["prompt_tokens_details"] = {"cached_tokens": 32, "audio_tokens": 1}
    assert stated(said) == {"prompt_tokens": 33, "prompt_tokens_details": {"audio_tokens": 1}}
