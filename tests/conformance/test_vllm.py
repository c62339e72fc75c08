"""What only vLLM does here: forced tools, cached tokens, clamping, clients that leave."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import Lane
from tests.conformance.test_openai import HELLO, TOOL
from tests.conformance.vllm_metrics import Vllm, number
from tests.starting import KEY
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def engine(vllm_lane: Lane) -> Vllm:
    assert isinstance(vllm_lane.engine, Vllm)
    return vllm_lane.engine


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
        "model": lane.base,
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
        "model": lane.base,
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
        "model": lane.base,
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
    vllm_lane: Lane, called: Callable[..., tuple[str, str]], choice: Any, stream: bool
) -> None:
    name, arguments = called(vllm_lane, choice, stream)
    assert name == "open_page" if choice == NAMED else name in ("open_page", "close_page")
    assert json.loads(arguments)["title"] in ("Coffee", "Tea")


def test_a_forced_tool_is_called_through_litellm(vllm_lane: Lane) -> None:
    """Its arguments fit the schema where the client says `strict`, as vLLM has it."""
    assert called_in_chat(vllm_lane, NAMED, True, model="base-litellm")[0] == "open_page"


def test_a_forced_call_on_docs_has_its_pages(vllm_lane: Lane, engine: Vllm) -> None:
    asked = [{"role": "user", "content": QUESTION}]
    before = engine.read()
    called_in_chat(vllm_lane, NAMED, False, messages=asked)
    alone = engine.read() - before
    for called, stream, said in (
        (called_in_chat, True, {"messages": asked}),
        (called_in_responses, True, {"input": QUESTION}),
        (called_in_messages, False, {"messages": asked}),
    ):
        before = engine.read()
        assert called(vllm_lane, NAMED, stream, model="docs", **said)[0] == "open_page"
        assert engine.read() - before > alone + 30, "the page was not in the prompt"


def test_a_max_tokens_beyond_the_room_is_clamped(vllm_lane: Lane) -> None:
    reply = vllm_lane.client.chat.completions.create(
        model="base", messages=HELLO, max_tokens=32_000, stop=[".", "!", "\n"]
    )
    assert reply.choices[0].message.content is not None


def test_a_prompt_that_was_read_before_is_counted_as_cached(vllm_lane: Lane, engine: Vllm) -> None:
    lane = vllm_lane
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
    assert usage.prompt_tokens_details is None
    shown = httpx.get(f"{lane.gateway.root}/metrics").text
    assert number(shown, total) - before > 0.6 * usage.prompt_tokens
    found = engine.number("vllm:prefix_cache_hits_total")
    assert number(shown, "askdocs_gateway_engine_cached_tokens") == found
    assert 0 < number(shown, "askdocs_gateway_engine_cache_hit_ratio") < 1


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_leaves_vllm_writes_no_more(
    vllm_lane: Lane, engine: Vllm, stream: bool
) -> None:
    body = {
        "model": "base",
        "stream": stream,
        "max_tokens": 1500,
        "ignore_eos": True,
        "messages": HELLO,
    }
    url = f"{vllm_lane.gateway.url}/chat/completions"
    headers = {"authorization": f"Bearer {KEY}"}
    before = engine.written()
    if stream:
        with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as reply:
            chunks = reply.iter_bytes()  # held: httpx closes the response of one that is dropped
            next(chunks)
            until(lambda: engine.running() == 1)
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=body, headers=headers, timeout=httpx.Timeout(60, read=1.5))
    until(lambda: engine.running() == 0)
    # In tokens, since a busy machine does everything later. All of the answer takes a minute.
    assert engine.written() - before < 750
