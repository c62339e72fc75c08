"""Turns of agents: which pages they get, and that what the model says passes as it is."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.datastructures import Headers

from gateway.answering import chat
from gateway.answering.chat import Chat
from gateway.answering.grounding.ground import Grounding, Library
from gateway.answering.turn import Turn
from gateway.api import pipeline
from gateway.api.chat_request import take_turn
from gateway.api.plan import GroundingDecision, RequestPlan
from gateway.api.transform import WHOLE
from gateway.http.json_body import parse_object
from gateway.routing.aliases import Route
from gateway.routing.dispatch import Opened
from gateway.routing.registry import Served
from gateway.routing.token_budget import TokenBudget, count_nearly
from gateway.settings import GatewaySettings
from gateway.telemetry.tracing import OFF
from gateway.upstream.engine import Engine, EngineModel, estimated
from gateway.upstream.salt import Salts
from wiki.index.index import Index
from wiki.rights import EVERYTHING
from wiki.rules import NO_RULES

QUESTION = "How many backups does the server keep?"
ASKED = {"role": "user", "content": QUESTION}
CODE = {"role": "system", "content": "You write code."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "backups: see the manual"}
TOOLS = [{"type": "function", "function": {"name": "read_file"}}]
Made = Callable[..., "tuple[RequestPlan, Turn | None]"]


async def counted(texts: Sequence[str]) -> list[int]:
    return [estimated(text) for text in texts]


class Sized:
    """An engine with a context, which counts by the rule of thumb."""

    def __init__(self, context: int) -> None:
        self.known = EngineModel("base", context)

    async def model(self) -> EngineModel:
        return self.known

    async def count_prompt(self, request: dict[str, Any]) -> int:
        return estimated(json.dumps([request["messages"], request.get("tools")]))


@pytest.fixture
def index(indexed: Callable[..., Index]) -> Index:
    return indexed(
        backup="# Backup\n\nThe server keeps 14 backups and deletes older ones.\n",
        hens="# Hens\n\nHens eat grain.\n",
    )


@pytest.fixture
def accompany(index: Index) -> Callable[..., Any]:
    async def accompany(
        *messages: dict[str, Any],
        context: int | None = None,
        asks: bool = False,
        counts: bool = False,
        lists: bool = False,
        **more: Any,
    ) -> tuple[RequestPlan, Turn | None]:
        library = Library(Grounding(index, counted), NO_RULES)
        answers = Chat(GatewaySettings(), library, counted)
        request = {"model": "docs", "messages": list(messages), "tools": TOOLS, **more}
        engine = cast("Engine", Sized(context)) if context else None
        plan = RequestPlan(
            endpoint="/chat/completions",
            scope={},
            reader=EVERYTHING,
            headers=Headers({"x-askdocs-sources": "text"} if lists else {}),
            request=request,
            route=cast(
                "Route", SimpleNamespace(sources=(), check="hold", alias="docs", thresholds={})
            ),
            first=cast("Served", SimpleNamespace(name="base", engine=engine)),
            stream=bool(more.get("stream")),
            budget=TokenBudget(len(json.dumps(request)), 1024),
            grounding=GroundingDecision(True, is_agents=True, is_asked_for=asks),
            salts=Salts("", "", EVERYTHING),
        )
        most = plan.budget.prompt + answers.most_pages(plan.grounding, request)
        plan = replace(plan, budget=plan.budget._replace(prompt=most))
        ready, turn = await answers.accompany(plan, OFF, keeps_text=True)
        if counts:
            assert await answers.count(plan) == await count_nearly(ready.request, engine) <= most
        return ready, turn

    return accompany


async def test_the_same_pages_stand_in_front_of_each_turn_of_the_work(
    accompany: Callable[..., Any],
) -> None:
    prompts = []
    work: list[dict[str, Any]] = []
    for _ in range(4):
        plan, turn = await accompany(CODE, ASKED, *work, context=8192)
        assert plan.grounding.header(turn.reads) == "on; pages=1"
        prompts.append(plan.request["messages"])
        work += [CALL, {**RESULT, "content": "hens eat grain " * 200}]
    system, asked = prompts[0]
    assert system == CODE
    assert "14 backups" in asked["content"]
    assert asked["content"].endswith(f"\n\n{QUESTION}")
    assert all(prompt[:2] == [system, asked] for prompt in prompts)
    assert prompts[1][2:] == [CALL, {**RESULT, "content": "hens eat grain " * 200}]


async def test_the_limits_of_a_key_count_the_pages(accompany: Callable[..., Any]) -> None:
    plan, _ = await accompany(CODE, ASKED, CALL, RESULT, ASKED, counts=True)
    assert "14 backups" in str(plan.request)


async def test_a_new_question_leaves_all_that_was_sent_before_it(
    accompany: Callable[..., Any],
) -> None:
    """So that an engine reads only what is new."""
    sent: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = [CODE]
    for number in range(16):
        topic = "backups does the server keep" if number % 3 else "grains do hens eat"
        said.append({"role": "user", "content": f"{number}: how many {topic}?"})
        plan, _ = await accompany(*said)
        messages = plan.request["messages"]
        assert messages[: len(sent)] == sent
        assert "<page" in messages[-1]["content"]
        sent = messages
        said.append({"role": "assistant", "content": "So."})
        sent = [*sent, said[-1]]
    plan, turn = await accompany(*said, ASKED)
    pages = ["<page" in m["content"] for m in plan.request["messages"] if m["role"] == "user"]
    assert pages == [False] * 8 + [True] * 9, "the first ones leave by eights"
    assert turn is not None
    assert plan.grounding.header(turn.reads) == "on; pages=9"


async def test_pages_leave_where_the_work_needs_the_room(accompany: Callable[..., Any]) -> None:
    long = {**RESULT, "content": "word " * 3000}
    plan, turn = await accompany(CODE, ASKED, CALL, long, context=4096)
    assert turn is None
    assert plan.grounding.header(0) == "off; reason=no-room"
    assert plan.request["messages"] == [CODE, ASKED, CALL, long]
    fits, turn = await accompany(CODE, ASKED, CALL, long, context=32768)
    assert turn is not None
    assert fits.grounding.is_on


@pytest.mark.parametrize("is_long", [False, True])
async def test_a_long_conversation_is_read_in_a_thread(
    accompany: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """On the event loop it held up all other requests."""
    threads = []

    def note(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return take_turn(*args)

    monkeypatch.setattr(chat, "take_turn", note)
    question = ASKED | {"content": "<" * (200_000 if is_long else 200)}
    await accompany(CODE, question)
    assert [thread is not threading.current_thread() for thread in threads] == [is_long]


@pytest.mark.parametrize("is_long", [False, True])
async def test_a_long_body_is_parsed_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    threads = []

    def note(body: bytes) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return parse_object(body)

    monkeypatch.setattr(pipeline, "parse_object", note)
    body = {"model": "a" * (200_000 if is_long else 200)}
    assert await pipeline._parsed(json.dumps(body).encode()) == body
    assert [thread is not threading.current_thread() for thread in threads] == [is_long]


async def test_a_question_that_no_page_answers_leaves_the_request_alone(
    accompany: Callable[..., Any],
) -> None:
    off_topic = {"role": "user", "content": "Rename the variable foo to bar in main.py"}
    plan, turn = await accompany(CODE, off_topic)
    assert (turn, plan.grounding.why) == (None, "no-page")
    assert plan.request["messages"] == [CODE, off_topic]
    plan, turn = await accompany(CODE, CALL, RESULT)
    assert (turn, plan.grounding.why) == (None, "no-question")


async def test_pages_that_are_missing_are_said_where_they_were_asked_for(
    accompany: Callable[..., Any],
) -> None:
    _, turn = await accompany(CODE, CALL, RESULT, asks=True, stream=True)
    facts = [event["askdocs"] for event in _fed(turn, _stream("Hello.")) if "askdocs" in event]
    assert [(one["refused"], one["reason"], one["claims"]) for one in facts] == [
        (False, "no_question", [])
    ]


def _stream(*words: str, calls: Sequence[dict[str, Any]] = ()) -> list[bytes]:
    """As vLLM sends it."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None if calls else ""}]
    deltas += [{"content": word} for word in words]
    deltas += [{"tool_calls": [call]} for call in calls]
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there"}
    events: list[Any] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    ending = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}
    events.append({**head, "choices": [ending]})
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]


def _fed(turn: Turn, events: Sequence[bytes]) -> list[dict[str, Any]]:
    """What goes out of an engine's events, each as it comes, up to where the end is checked."""
    opened = SimpleNamespace(served=SimpleNamespace(name="base"))
    assert turn.start() == b""
    turn.begin(cast("Opened", opened), WHOLE)
    out = b"".join(turn.feed(event) for event in events)
    return [json.loads(line[6:]) for line in out.decode().splitlines() if line]


async def test_words_go_out_as_they_come_and_are_checked_at_the_end(
    accompany: Callable[..., Any],
) -> None:
    _, turn = await accompany(CODE, ASKED, stream=True)
    said = (
        "I read the page on backups, which the server keeps.",
        " The server keeps 14 backups [1].",
        " It keeps 15 of them [1]. Row `a[1]` of the 14 backups that the server keeps is next.",
    )
    out = _fed(turn, _stream(*said))
    words = [event["choices"][0]["delta"].get("content") for event in out]
    assert words == ["", *said], "an alias that holds does not hold an agent's words"
    assert turn.settles
    (last,) = [json.loads(line[6:]) for line in (await turn.settle()).decode().splitlines() if line]
    assert last["choices"][0]["finish_reason"] == "stop"
    facts = last["askdocs"]
    assert [claim["verdict"] for claim in facts["claims"]] == [
        *("none", "supported", "unsupported", "none")
    ], "only a sentence with a section's number is a claim"
    assert facts["pages"][0]["title"] == "Backup"
    assert (facts["refused"], facts["caution"], facts["confidence"]) == (False, False, None)
    (note,) = last["choices"][0]["delta"]["annotations"]
    assert note["url_citation"]["title"] == "Backup"
    assert turn.claims == (), "an agent's work does not count for the model's quality"
    assert [len(turn.pages), turn.question] == [1, QUESTION]


async def test_sources_are_listed_where_the_client_shows_nothing_else(
    accompany: Callable[..., Any],
) -> None:
    _, turn = await accompany(CODE, ASKED, ASKED, stream=True, lists=True)
    out = _fed(turn, _stream("The server keeps 14 backups ", "[", "2", "]", ". `a[2]` [9]."))
    (last,) = [json.loads(line[6:]) for line in (await turn.settle()).decode().splitlines() if line]
    text = "".join(e["choices"][0]["delta"].get("content") or "" for e in (*out, last))
    said, _, sources = text.partition("\n\nSources:\n")
    assert said == "The server keeps 14 backups [1]. `a[2]` [9]."
    assert sources == "- [1] Backup: https://wiki.example.com/backup/#backup"
    assert last["choices"][0]["delta"]["annotations"] == []
    assert [place["number"] for place in last["askdocs"]["references"]] == [1]
    assert last["askdocs"]["sources"][0]["title"] == "Backup"
    assert last["askdocs"]["claims"][0]["verdict"] == "supported"


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
async def test_a_whole_answer_ends_with_its_sources_but_not_beside_a_tool_call(
    accompany: Callable[..., Any], reason: str
) -> None:
    _, turn = await accompany(CODE, ASKED, lists=True)
    turn.begin(cast("Opened", SimpleNamespace(served=SimpleNamespace(name="base"))), WHOLE)
    message: dict[str, Any] = {"role": "assistant", "content": "The server keeps 14 backups [1]."}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = json.loads(await turn.whole(json.dumps({"choices": [choice]}).encode()))
    message = whole["choices"][0]["message"]
    _, _, sources = message["content"].partition("backups [1].")
    listed = "\n\nSources:\n- [1] Backup: https://wiki.example.com/backup/#backup"
    assert sources == (listed if reason == "stop" else "")
    assert message["annotations"] == []


async def test_a_tool_call_passes_untouched(accompany: Callable[..., Any]) -> None:
    _, turn = await accompany(CODE, ASKED, stream=True)
    name = {"name": "read_file", "arguments": ""}
    calls: list[dict[str, Any]] = [
        {"index": 0, "id": "call_1", "type": "function", "function": name},
        {"index": 0, "function": {"arguments": '{"path": "<|im_end|>'}},
        {"index": 0, "function": {"arguments": '"}'}},
    ]
    out = _fed(turn, _stream(calls=calls))
    assert turn.is_over
    assert not turn.settles
    *passed, last = [event["choices"][0] for event in out]
    assert [choice["delta"].get("tool_calls", [None])[0] for choice in passed] == [None, *calls]
    assert passed[0]["delta"]["content"] is None
    assert (last["finish_reason"], last["delta"]) == ("tool_calls", {"annotations": []})
    assert out[-1]["askdocs"]["pages"][0]["title"] == "Backup"


async def test_half_a_tool_call_is_not_gone_on_with(accompany: Callable[..., Any]) -> None:
    _, turn = await accompany(CODE, ASKED, stream=True)
    _fed(turn, [])
    assert turn.partial() == ("", 0), "nothing has gone out: another engine can be asked"
    _fed(turn, _stream("Let me look.")[:2])
    assert turn.partial() is None
