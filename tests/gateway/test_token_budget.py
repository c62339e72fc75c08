"""How long an answer may be, and what a request can cost at most."""

from typing import Any

import pytest

from gateway.http.asgi import ApiError, dump
from gateway.routing.token_budget import MEDIA, TokenBudget, bound, count_nearly, fit, within
from gateway.upstream.engine import Engine, EngineModel

ASKED = {"messages": [{"role": "user", "content": "Where is the coffee machine?"}]}


def test_a_wish_and_its_absence_give_a_bound() -> None:
    assert bound("/chat/completions", {"max_tokens": 50}, 100, 4096).answer == 50
    assert bound("/chat/completions", {"max_completion_tokens": 9}, 100, 4096).answer == 9
    assert bound("/responses", {"max_output_tokens": 7}, 100, 4096).answer == 7
    assert bound("/chat/completions", {}, 100, 4096).answer == 4096


def test_every_choice_and_every_prompt_costs_an_answer() -> None:
    assert bound("/chat/completions", {"n": 3}, 10, 100).tokens == 10 + 64 + 300
    assert bound("/completions", {"prompt": ["a", "b"]}, 10, 100).choices == 2
    assert bound("/completions", {"prompt": ["a", "b"], "best_of": 2}, 10, 100).choices == 4


def test_an_embedding_costs_its_text_alone() -> None:
    assert bound("/embeddings", {}, 1000, 4096) == TokenBudget(1000, None)


@pytest.mark.parametrize("text", ["a" * 400, "日本語" * 50, "🙂" * 40])
async def test_where_no_engine_can_tell_the_count_is_near_and_below_the_bound(text: str) -> None:
    asked = {"messages": [{"role": "user", "content": text}]}
    counted = await count_nearly(asked, None)
    assert len(text) / 3 <= counted <= bound("/chat/completions", asked, len(dump(asked)), 1).prompt


async def test_an_image_for_a_provider_does_not_count_by_its_data() -> None:
    def asked(megabytes: int) -> dict[str, Any]:
        url = "data:image/png;base64," + "A" * (megabytes << 20)
        image = {"type": "image_url", "image_url": {"url": url}}
        text = {"type": "text", "text": "What is on it? " * 100}
        return {"messages": [{"role": "user", "content": [text, image]}]}

    small, large = [await count_nearly(asked(megabytes), None) for megabytes in (0, 2)]
    assert small == large
    assert 500 + MEDIA < large < 800 + MEDIA


async def test_the_small_model_counts_exactly_and_an_answer_is_clamped(engine: Engine) -> None:
    counted = await count_nearly(ASKED, engine)
    assert 10 < counted < 60
    room = await fit(TokenBudget(3000, 32_000), ASKED, engine)
    assert room == TokenBudget(counted, 2048 - counted)
    assert await fit(TokenBudget(100, 50), ASKED, engine) == TokenBudget(100, 50)


async def test_an_open_answer_gets_the_rest_of_the_context(engine: Engine) -> None:
    counted = await count_nearly(ASKED, engine)
    near = await fit(TokenBudget(1000, 16, is_open=True), ASKED, engine)
    assert near.answer == 1048  # at least half of it: the prompt need not be counted
    exact = await fit(TokenBudget(3000, 16, is_open=True), ASKED, engine)
    assert exact.answer == 2048 - counted


async def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(engine: Engine) -> None:
    asked = {"messages": [{"role": "user", "content": "why " * 3000}]}
    with pytest.raises(ApiError, match=r"length is 2048 tokens\. .* 3\d\d\d tokens\.") as caught:
        await fit(TokenBudget(12_000, 10), asked, engine)
    assert caught.value.body["error"]["code"] == "context_length_exceeded"


async def test_an_answer_is_never_longer_than_a_context_that_is_known(engine: Engine) -> None:
    assert within(TokenBudget(10, 32_000), None) == TokenBudget(10, 32_000)
    assert within(TokenBudget(10, 32_000), engine) == TokenBudget(
        10, 32_000
    )  # it was not asked yet
    assert (await engine.model()) == EngineModel("small", 2048)
    assert within(TokenBudget(10, 32_000), engine) == TokenBudget(10, 2048)


async def test_an_engine_is_led_to_no_address_to_count_tokens(engine: Engine) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    asked = {"messages": [{"role": "user", "content": [image]}]}
    with pytest.raises(ApiError, match="engines here do not fetch addresses"):
        await count_nearly(asked, engine)
    with pytest.raises(ApiError, match="engines here do not fetch addresses"):
        await fit(TokenBudget(12_000, 10), asked, engine)
