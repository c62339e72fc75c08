"""In front of a real vLLM: tools, pages, schemas, usage, clamping, clients that leave."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest

from tests import starting
from tests.conformance.conftest import WIKI
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

    def read(self) -> float:
        """Tokens of prompts that vLLM has been asked so far."""
        return self._number("vllm:prompt_tokens_total")

    def _number(self, name: str) -> float:
        metrics = httpx.get(f"{self.engine}/metrics", timeout=30).text
        assert name in metrics
        return number(metrics, name)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory, vllm_url: str) -> Iterator[Lane]:
    folder = tmp_path_factory.mktemp("gateway")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(WIKI)
    with (
        starting.gateway(
            folder,
            gateway_engine_url=f"{vllm_url}/v1",
            gateway_docs=str(docs),
        ) as gateway,
        openai.OpenAI(base_url=gateway.url, api_key=KEY, max_retries=0, timeout=120) as client,
    ):
        yield Lane(gateway, vllm_url, client)


NAMED = {"type": "function", "function": {"name": "open_page"}}
# Short arguments: the small model would not end a text.
PAGES = {
    "type": "object",
    "properties": {"title": {"enum": ["Coffee", "Tea"]}},
    "required": ["title"],
    "additionalProperties": False,
}
OPEN: Any = {**TOOL, "function": {**TOOL["function"], "parameters": PAGES}}
OTHER: Any = {"type": "function", "function": {"name": "close_page", "parameters": PAGES}}
QUESTION = "Where is the coffee machine?"


def called_in_chat(lane: Lane, choice: Any, stream: bool, **more: Any) -> tuple[str, str]:
    asked: Any = {
        "model": "base",
        "messages": [{"role": "user", "content": "Open the page Coffee."}],
        "tools": [OPEN, OTHER],
        "tool_choice": choice,
        "max_tokens": 100,
        "temperature": 0,
        **more,
    }
    name, arguments = "", ""
    if stream:
        for chunk in lane.client.chat.completions.create(**asked, stream=True):
            for one in chunk.choices:
                for call in one.delta.tool_calls or []:
                    assert call.function is not None
                    name = call.function.name or name
                    arguments += call.function.arguments or ""
    else:
        reply = lane.client.chat.completions.create(**asked)
        (made,) = reply.choices[0].message.tool_calls or []
        assert made.type == "function"
        name, arguments = made.function.name, made.function.arguments
    return name, arguments


def called_in_responses(lane: Lane, choice: Any, stream: bool, **more: Any) -> tuple[str, str]:
    named = {"type": "function", "name": "open_page"} if choice == NAMED else choice
    asked: Any = {
        "model": "base",
        "input": "Open the page Coffee.",
        "tools": [{"type": "function", **tool["function"]} for tool in (OPEN, OTHER)],
        "tool_choice": named,
        "max_output_tokens": 100,
        "temperature": 0,
        **more,
    }
    if stream:
        with lane.client.responses.stream(**asked) as events:
            output = events.get_final_response().output
    else:
        output = lane.client.responses.create(**asked).output
    (call,) = [item for item in output if item.type == "function_call"]
    return call.name, call.arguments


def called_in_messages(lane: Lane, choice: Any, stream: bool, **more: Any) -> tuple[str, str]:
    named = {"type": "tool", "name": "open_page"} if choice == NAMED else {"type": "any"}
    asked: Any = {
        "model": "base",
        "max_tokens": 100,
        "temperature": 0,
        "messages": [{"role": "user", "content": "Open the page Coffee."}],
        "tools": [
            {"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]}
            for tool in (OPEN, OTHER)
        ],
        "tool_choice": named,
        "stream": stream,
        **more,
    }
    headers = {"x-api-key": KEY}
    reply = httpx.post(f"{lane.gateway.url}/messages", json=asked, headers=headers, timeout=120)
    assert reply.status_code == 200, reply.text
    if not stream:
        assert reply.json()["stop_reason"] == "tool_use"
        (block,) = [one for one in reply.json()["content"] if one["type"] == "tool_use"]
        return block["name"], json.dumps(block["input"])
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line[:6] == "data: "]
    (begun,) = [
        event["content_block"]
        for event in events
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use"
    ]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return begun["name"], "".join(delta.get("partial_json", "") for delta in deltas)


@pytest.mark.parametrize(
    ("called", "choice", "stream"),
    [
        (called_in_chat, NAMED, False),
        (called_in_chat, NAMED, True),
        (called_in_chat, "required", True),
        (called_in_responses, NAMED, True),
        (called_in_responses, "required", False),
        (called_in_messages, NAMED, False),
        (called_in_messages, "required", True),
    ],
)
def test_a_forced_tool_is_called(
    lane: Lane, called: Callable[..., tuple[str, str]], choice: Any, stream: bool
) -> None:
    name, arguments = called(lane, choice, stream)
    assert name == "open_page" if choice == NAMED else name in ("open_page", "close_page")
    assert json.loads(arguments)["title"] in ("Coffee", "Tea")


def test_a_forced_call_on_docs_has_its_pages(lane: Lane) -> None:
    asked = [{"role": "user", "content": QUESTION}]
    before = lane.read()
    called_in_chat(lane, NAMED, False, messages=asked)
    alone = lane.read() - before
    for called, stream, said in (
        (called_in_chat, True, {"messages": asked}),
        (called_in_responses, True, {"input": QUESTION}),
        (called_in_messages, False, {"messages": asked}),
    ):
        before = lane.read()
        assert called(lane, NAMED, stream, model="docs", **said)[0] == "open_page"
        assert lane.read() - before > alone + 30, "the page was not in the prompt"


@pytest.mark.parametrize("stream", [False, True])
def test_docs_answers_from_its_page_in_chat_and_completions(lane: Lane, stream: bool) -> None:
    for path, said in (
        ("/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}),
        ("/completions", {"prompt": QUESTION}),
    ):
        reply = httpx.post(
            f"{lane.gateway.url}{path}",
            json={"model": "docs", "max_tokens": 30, "stream": stream, **said},
            headers={"authorization": f"Bearer {KEY}"},
            timeout=120,
        )
        assert reply.headers["x-askdocs-grounding"] == "on; pages=1", reply.text
        lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
        bodies = [json.loads(line) for line in lines] if stream else [reply.json()]
        (facts,) = [body["askdocs"] for body in bodies if "askdocs" in body]
        assert facts["pages"][0]["title"] == "Coffee"
        assert facts["mode"] == "generative"


def test_docs_fills_a_schema_from_its_page_or_refuses(lane: Lane) -> None:
    schema = {
        "type": "object",
        "properties": {"room": {"enum": ["kitchen", "cellar"]}},
        "required": ["room"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "room", "schema": schema}}

    def ask(question: str) -> Any:
        messages: Any = [{"role": "user", "content": question}]
        reply = lane.client.chat.completions.create(
            model="docs", messages=messages, max_tokens=60, response_format=form
        )
        return reply.choices[0].message

    assert json.loads(ask(QUESTION).content)["room"] in ("kitchen", "cellar")
    refused = ask("Who won the football world cup of 1954?")
    assert refused.content is None
    assert "enough information" in refused.refusal


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
