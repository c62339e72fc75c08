import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from core import openai_client
from core.openai_client import AnswerFailed, EndpointAway, RequestRefused
from eval.systems.client import Client, GatewayReply
from tests.eval.queued import Queued, Reply, queued, words

HELLO: Any = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "PAUSE", 0.01)


async def ask(gateway: Queued) -> GatewayReply:
    async with Client(gateway.url, "secret", 50, 2) as asking:
        said = await asking.ask("base", HELLO, {"x-askdocs-progress": "on"})
        assert asking.busy_s == said.total_s
        return said


async def test_an_answer_is_timed_and_counted() -> None:
    chunks = words("Press", " it.", askdocs={"confidence": 0.5})
    chunks[0]["choices"][0]["logprobs"] = {"content": [{"token": "Press", "logprob": -1.0}]}
    chunks[1]["choices"][0]["logprobs"] = {"content": [{"token": " it.", "logprob": -3.0}]}
    chunks.insert(0, {"choices": [], "askdocs": {"reading": [{"url": "http://wiki/a"}]}})
    with queued(Reply(chunks)) as gateway:
        said = await ask(gateway)
        ((body, headers),) = gateway.asked
    assert (said.text, said.prompt_tokens, said.completion_tokens) == ("Press it.", 40, 2)
    assert said.logprob == -2.0
    assert said.facts == {"confidence": 0.5}
    assert said.reading == [{"url": "http://wiki/a"}]
    assert said.reading_s is not None
    assert said.first_token_s is not None
    assert 0 < said.reading_s <= said.first_token_s <= said.total_s
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0, 50, True)
    assert headers["Authorization"] == "Bearer secret"
    assert headers["x-askdocs-progress"] == "on"


async def test_what_ends_a_line_elsewhere_ends_none_of_an_event() -> None:
    with queued(Reply(words("One\u2028two\x85three."))) as gateway:
        assert (await ask(gateway)).text == "One\u2028two\x85three."


async def test_a_gateway_that_is_busy_is_asked_again() -> None:
    proxy = Reply(status=502, body="<html>Bad Gateway</html>")
    busy = (proxy, proxy, proxy, Reply(status=503), Reply(status=429))
    with queued(*busy, Reply(words("Yes."))) as gateway:
        assert (await ask(gateway)).text == "Yes."


async def test_one_that_stays_away_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "PATIENCE", 0.1)
    busy = Reply(status=503, body=json.dumps({"error": {"message": "no engine"}}))
    with (
        queued(*[busy] * 99) as gateway,
        pytest.raises(EndpointAway, match="has not answered for long: 503: no engine"),
    ):
        await ask(gateway)
    with pytest.raises(EndpointAway, match="has not answered for long: ConnectError"):
        await ask(gateway)


async def test_a_key_that_is_refused_ends_the_run() -> None:
    with queued(Reply(status=401)) as gateway, pytest.raises(EndpointAway, match="refuses: 401"):
        await ask(gateway)


async def test_a_request_that_cannot_be_answered_is_the_questions_own_error() -> None:
    too_long = Reply(status=400, body=json.dumps({"error": {"message": "too long"}}))
    with queued(too_long) as gateway, pytest.raises(RequestRefused, match="400: too long"):
        await ask(gateway)
    broken = Reply([{"error": {"message": "out of memory"}}])
    with queued(broken) as gateway, pytest.raises(RequestRefused, match="broke off: out of memory"):
        await ask(gateway)


async def test_times_are_those_of_the_try_that_was_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openai_client, "PAUSE", 0.3)
    began = time.monotonic()
    with queued(Reply(status=503), Reply(words("Yes."))) as gateway:
        said = await ask(gateway)
    assert said.total_s <= time.monotonic() - began - 0.3


@pytest.mark.parametrize("errors", [[httpx.ReadError("reset")], [AnswerFailed("it broke off")] * 2])
async def test_patience_begins_with_what_fails(
    monkeypatch: pytest.MonkeyPatch, errors: list[Exception]
) -> None:
    """A try that has taken longer than that is none that has been waited for."""
    monkeypatch.setattr(openai_client, "PATIENCE", 0.1)
    tries = iter([*errors, None])

    async def once() -> str:
        if (fails := next(tries)) is not None:
            await asyncio.sleep(0.2)
            raise fails
        return "Yes."

    assert await openai_client.patiently("it", once) == "Yes."


async def test_what_fails_each_time_is_given_up() -> None:
    slow = Reply(status=504, body="<html>Gateway Timeout</html>")
    with (
        queued(slow, slow, slow) as gateway,
        pytest.raises(RequestRefused, match="failed 3 times: 504"),
    ):
        await ask(gateway)
    own = Reply(status=502, body=json.dumps({"error": {"message": "out of memory"}}))
    with (
        queued(own, own, own) as gateway,
        pytest.raises(RequestRefused, match="502: out of memory"),
    ):
        await ask(gateway)


async def test_an_answer_that_breaks_off_each_time_is_given_up() -> None:
    half = Reply(words("Pre")[:1])
    with queued(half, half, Reply(words("Press."))) as gateway:
        assert (await ask(gateway)).text == "Press."
    with (
        queued(half, half, half) as gateway,
        pytest.raises(RequestRefused, match="failed 3 times: it broke off"),
    ):
        await ask(gateway)
