"""The same over both lanes in front of a real vLLM: tools, usage, clamping, clients that leave."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests import starting
from tests.conformance.test_openai import HELLO, TOOL
from tests.starting import KEY
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Lane:
    gateway: starting.Gateway
    engine: str
    client: openai.OpenAI

    def running(self) -> float:
        """Requests that vLLM works on."""
        return self._number("vllm:num_requests_running")

    def written(self) -> float:
        """Tokens that vLLM has written so far."""
        return self._number("vllm:generation_tokens_total")

    def _number(self, name: str) -> float:
        metrics = httpx.get(f"{self.engine}/metrics", timeout=30).text
        assert name in metrics
        return number(metrics, name)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory, vllm_url: str) -> Iterator[Lane]:
    with (
        starting.gateway(
            tmp_path_factory.mktemp("gateway"),
            gateway_engine_url=f"{vllm_url}/v1",
        ) as gateway,
        openai.OpenAI(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=120) as client,
    ):
        yield Lane(gateway, vllm_url, client)


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_tool_is_called(lane: Lane, stream: bool) -> None:
    asked: Any = {
        "model": "base",
        "messages": [{"role": "user", "content": "Open the page Coffee."}],
        # vLLM binds the arguments to their schema only where it is called strict.
        "tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "open_page"}},
        "max_tokens": 100,
        "temperature": 0,
    }
    name, arguments = "", ""
    if stream:
        for chunk in lane.client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    name = call.function.name or name
                    arguments += call.function.arguments or ""
    else:
        message = lane.client.chat.completions.create(**asked).choices[0].message
        assert message.tool_calls
        call = message.tool_calls[0]
        assert call.type == "function"
        name, arguments = call.function.name, call.function.arguments
    assert name == "open_page"
    assert "title" in json.loads(arguments)


def test_usage_comes_if_and_only_if_it_was_asked_for(lane: Lane) -> None:
    def usages(**more: Any) -> list[Any]:
        stream = lane.client.chat.completions.create(
            model="base", messages=HELLO, max_tokens=4, stream=True, **more
        )
        return [chunk.usage for chunk in stream if chunk.usage]

    assert usages() == []
    assert [u.completion_tokens for u in usages(stream_options={"include_usage": True})] == [4]


def test_a_max_tokens_beyond_the_room_is_clamped(lane: Lane) -> None:
    reply = lane.client.chat.completions.create(
        model="base", messages=HELLO, max_tokens=32_000, stop=[".", "!", "\n"]
    )
    assert reply.choices[0].message.content is not None


def test_json_schema_binds_the_answer(lane: Lane) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    reply = lane.client.chat.completions.create(
        model="base",
        messages=HELLO,
        max_tokens=60,
        temperature=0,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {**schema, "additionalProperties": False}},
        },
    )
    assert isinstance(json.loads(reply.choices[0].message.content or "")["ok"], bool)


def test_a_prompt_that_was_read_before_is_counted_as_cached(lane: Lane) -> None:
    page = f"{lane.gateway.port} " + "The printer is on floor 2. " * 60  # some blocks of the cache
    asked: Any = {"model": "base", "max_tokens": 1}
    total = "askdocs_gateway_cached_tokens_total"
    for question in ("Where is it?", "Which floor is it on?"):
        before = number(httpx.get(f"{lane.gateway.root}/metrics").text, total)
        messages: Any = [
            {"role": "system", "content": page},
            {"role": "user", "content": question},
        ]
        usage = lane.client.chat.completions.create(messages=messages, **asked).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    cached = usage.prompt_tokens_details.cached_tokens or 0
    assert cached > 0.6 * usage.prompt_tokens
    shown = httpx.get(f"{lane.gateway.root}/metrics").text
    assert number(shown, total) - before == cached
    found = number(httpx.get(f"{lane.engine}/metrics").text, "vllm:prefix_cache_hits_total")
    assert number(shown, "askdocs_gateway_engine_cached_tokens") == found
    assert 0 < number(shown, "askdocs_gateway_engine_cache_hit_ratio") < 1


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_and_choices_are_counted_and_have_one_id(lane: Lane, stream: bool) -> None:
    asked: Any = {"model": "base", "n": 2, "max_tokens": 3, "extra_body": {"ignore_eos": True}}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    for endpoint, prefix, said, count in (
        (lane.client.completions, "cmpl-", {"prompt": ["One two", "Red"]}, 12),
        (lane.client.chat.completions, "chatcmpl-", {"messages": HELLO}, 6),
    ):
        made: Any = endpoint.create(**asked, **said)
        chunks = list(made) if stream else [made]
        assert chunks[-1].usage.completion_tokens == count
        (id,) = {chunk.id for chunk in chunks}
        assert id.startswith(prefix)
        assert {chunk.model for chunk in chunks} == {"base"}


def test_a_completion_of_no_tokens_is_none_or_the_prompt(lane: Lane) -> None:
    for echo, text in ((False, ""), (True, "Red")):
        reply = lane.client.completions.create(model="base", prompt="Red", max_tokens=0, echo=echo)
        assert reply.choices[0].text == text
        assert reply.usage is not None
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (1, 0)
    scored = lane.client.completions.create(
        model="base", prompt="Red wine", max_tokens=0, echo=True, logprobs=1
    )
    assert scored.choices[0].logprobs is not None
    assert scored.choices[0].text.startswith("Red wine")


@pytest.mark.parametrize("path", ["/chat/completions", "/messages", "/responses"])
def test_an_image_to_a_model_without_eyes_is_named(lane: Lane, path: str) -> None:
    url = "data:image/png;base64,AAAA"
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    name, part = {
        "/chat/completions": ("messages", {"type": "image_url", "image_url": {"url": url}}),
        "/messages": ("messages", {"type": "image", "source": source}),
        "/responses": ("input", {"type": "input_image", "image_url": url}),
    }[path]
    reply = httpx.post(
        f"{lane.gateway.url}{path}",
        json={"model": "base", name: [{"role": "user", "content": [part]}]},
        headers={"authorization": f"Bearer {KEY}"},
        timeout=120,
    )
    assert reply.status_code == 400, reply.text
    said = reply.json()["error"]
    assert (said["param"], said["code"]) == (f"{name}[0].content[0]", "model_not_supported")


def number(metrics: str, name: str) -> float:
    """The sum of all values of that name."""
    return sum(map(float, re.findall(rf"^{name}\{{.*\}} (\S+)$", metrics, re.M)))


def test_a_suffix_is_refused(lane: Lane) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot fill in the middle"):
        lane.client.completions.create(model="base", prompt="def f(", suffix="x", max_tokens=4)


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_vllm_writes_no_more(lane: Lane, stream: bool) -> None:
    body = {
        "model": "base",
        "stream": stream,
        "max_tokens": 1500,
        "ignore_eos": True,
        "messages": HELLO,
    }
    url = f"{lane.gateway.url}/chat/completions"
    headers = {"authorization": f"Bearer {KEY}"}
    before = lane.written()
    if stream:
        with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as reply:
            chunks = reply.iter_bytes()  # held: httpx closes the response of one that is dropped
            next(chunks)
            until(lambda: lane.running() == 1)
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, headers=headers, timeout=httpx.Timeout(60, read=1.5))
    until(lambda: lane.running() == 0)
    # In tokens, since a busy machine does everything later. All of the answer takes a minute.
    assert lane.written() - before < 750
