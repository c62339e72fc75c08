"""Agents' requests: tools and pages together, on real engines. What the small model cannot do, such
as choosing a tool, is in tests/gateway/test_turn.py."""

import json
from typing import Any

import httpx
import pytest

from tests import starting
from tests.conformance.conftest import Lane
from tests.conformance.vllm_metrics import number

pytestmark = pytest.mark.slow

HEADER = "x-askdocs-grounding"
QUESTION = "Where is the coffee machine?"
ASKED = {"role": "user", "content": QUESTION}
CODE = {"role": "system", "content": "You write code."}
OFF_TOPIC = {"role": "user", "content": "Rename the variable foo to bar in main.py"}
READ = {
    "name": "read_file",
    "description": "Read a file.",
    "parameters": {
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
    },
}
TOOLS = [{"type": "function", "function": READ}]
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "read_file", "arguments": '{"path": "a.md"}'},
        }
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "Nothing about it."}


def ask(
    lane: Lane, *messages: dict[str, Any], grounding: str | None = None, **more: Any
) -> httpx.Response:
    headers = {"authorization": f"Bearer {starting.KEY}"}
    if grounding:
        headers[HEADER] = grounding
    body = {"model": lane.docs, "messages": list(messages), "tools": TOOLS, "max_tokens": 8, **more}
    url = f"{lane.gateway.url}/chat/completions"
    reply = httpx.post(url, json=body, headers=headers, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply


def cached(lane: Lane) -> float:
    """Tokens of prompts that the engine had in its cache, which no client is told."""
    shown = httpx.get(f"{lane.gateway.root}/metrics").text
    return number(shown, "askdocs_gateway_cached_tokens_total")


def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_question_with_tools_has_its_pages_in_the_prompt(most: Lane) -> None:
    reply = ask(most, CODE, ASKED, stream=True, stream_options={"include_usage": True})
    assert reply.headers[HEADER] == "on; pages=1"
    *events, usage = chunks(reply)
    (facts,) = [event["askdocs"] for event in events if "askdocs" in event]
    assert facts["pages"][0]["title"] == "Coffee"
    assert not facts["refused"]
    assert facts["cut"] is False
    words = [event["choices"][0]["delta"].get("content") for event in events]
    assert "".join(filter(None, words))
    off = ask(most, CODE, ASKED, grounding="off")
    assert off.headers[HEADER] == "off; reason=requested"
    assert "askdocs" not in off.json()
    assert usage["usage"]["prompt_tokens"] > off.json()["usage"]["prompt_tokens"] + 60


def test_the_pages_stay_while_the_agent_works(most: Lane) -> None:
    first = ask(most, CODE, ASKED)
    before = cached(most)
    more = ask(most, CODE, ASKED, CALL, RESULT)
    assert more.headers[HEADER] == first.headers[HEADER] == "on; pages=1"
    assert more.json()["askdocs"]["pages"] == first.json()["askdocs"]["pages"]
    # The engine has all of the first prompt in its cache but the end of the template.
    assert cached(most) - before > 0.8 * first.json()["usage"]["prompt_tokens"]
    assert "cache" not in more.text


def test_what_no_page_helps_is_answered_as_without_a_wiki(most: Lane) -> None:
    reply = ask(most, CODE, OFF_TOPIC)
    assert reply.headers[HEADER] == "off; reason=no-page"
    assert "askdocs" not in reply.json()
    plain = ask(most, CODE, OFF_TOPIC, model=most.base)
    assert plain.headers[HEADER] == "off; reason=alias"
    assert reply.json()["usage"]["prompt_tokens"] == plain.json()["usage"]["prompt_tokens"]


def test_pages_that_were_asked_for_and_are_not_there_are_said_to_be_missing(most: Lane) -> None:
    reply = ask(most, CODE, OFF_TOPIC, grounding="on")
    assert reply.headers[HEADER] == "off; reason=no-page"
    facts = reply.json()["askdocs"]
    assert (facts["refused"], facts["reason"], facts["claims"]) == (False, "no_page", [])
    alone = ask(most, CODE, CALL, RESULT, grounding="on", stream=True)
    assert alone.headers[HEADER] == "off; reason=no-question"
    assert chunks(alone)[-1]["askdocs"]["reason"] == "no_question"


def test_tools_that_may_not_be_called_leave_the_question_to_the_wiki(most: Lane) -> None:
    reply = ask(most, CODE, ASKED, tool_choice="none")
    assert reply.headers[HEADER] == "on; pages=1"
    assert reply.json()["askdocs"]["pages"][0]["title"] == "Coffee"
    refused = ask(most, CODE, OFF_TOPIC, tool_choice="none", grounding="on").json()
    assert refused["askdocs"]["refused"]


def test_a_client_with_its_own_system_prompt_is_not_refused(most: Lane) -> None:
    reply = ask(most, CODE, OFF_TOPIC, tools=None)
    assert reply.headers[HEADER] == "off; reason=no-page"
    assert "askdocs" not in reply.json()
    plain = ask(most, CODE, OFF_TOPIC, tools=None, model=most.base)
    assert reply.json()["usage"]["prompt_tokens"] == plain.json()["usage"]["prompt_tokens"]
    assert ask(most, OFF_TOPIC, tools=None).json()["askdocs"]["refused"]


def test_the_beginning_of_an_answer_and_a_system_prompt_alone_are_accepted(most: Lane) -> None:
    begun = ask(most, ASKED, {"role": "assistant", "content": "It is"}, tools=None)
    assert begun.headers[HEADER] == "on; pages=1"
    assert begun.json()["choices"][0]["message"]["content"]
    alone = ask(most, CODE, tools=None)
    assert alone.headers[HEADER] == "off; reason=no-question"


@pytest.mark.parametrize("stream", [False, True])
def test_translated_requests_with_tools_are_grounded_and_say_so(most: Lane, stream: bool) -> None:
    headers = {"authorization": f"Bearer {starting.KEY}"}
    spoken = [{"type": "text", "text": "<system-reminder>\nx\n</system-reminder>"}]
    messages = {
        "model": most.docs,
        "max_tokens": 8,
        "stream": stream,
        "system": "You write code.",
        "messages": [{"role": "user", "content": [*spoken, {"type": "text", "text": QUESTION}]}],
        "tools": [{"name": "read_file", "input_schema": READ["parameters"]}],
    }
    responses = {
        "model": most.docs,
        "max_output_tokens": 16,
        "stream": stream,
        "input": QUESTION,
        "tools": [{"type": "function", **READ}],
    }
    for path, body in (("messages", messages), ("responses", responses)):
        url = f"{most.gateway.url}/{path}"
        reply = httpx.post(url, json=body, headers=headers, timeout=200)
        assert reply.status_code == 200, reply.text
        assert reply.headers[HEADER] == "on; pages=1", path
