"""What the gateway records of an answer is how it ended and what went out: status, usage, names."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import database
from gateway.access.keys import Keys, Limits
from gateway.telemetry.answer_statistics import AnswerStatistics
from gateway.telemetry.usage import UsageRow, report
from tests import starting
from tests.gateway.dying import ANSWER, Dying, dying

pytestmark = pytest.mark.slow

AUTH = {"authorization": f"Bearer {starting.KEY}"}
QUESTION = "How does the greeting go, ça va and two words?"
BROKEN = [(3, "cut")] * 5  # wherever it goes on, it breaks off again


@dataclass
class Place:
    """A gateway that logs questions, with the small model and an engine that dies when told."""

    gateway: starting.Gateway
    engine: Dying
    log: Path

    def ask(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        headers = {**AUTH, **(headers or {})}
        return httpx.post(f"{self.gateway.url}{path}", json=body, headers=headers, timeout=90)

    def logged(self, reply: httpx.Response) -> dict[str, Any]:
        """The line of the request in the access log."""
        name = reply.headers["x-request-id"]
        for _ in range(1200):
            lines = map(json.loads, self.log.read_text().splitlines())
            found = [line for line in lines if line["request_id"] == name]
            if found:
                (line,) = found
                return line
            time.sleep(0.05)
        raise AssertionError("not logged")

    def metric(self, start: str) -> float:
        return sum(
            float(line.split()[-1])
            for line in self.exposed().splitlines()
            if line.startswith(f"askdocs_gateway_{start}")
        )

    def exposed(self) -> str:
        reply = httpx.get(f"{self.gateway.root}/metrics", timeout=30)
        assert reply.status_code == 200, reply.text
        return reply.text

    def usage(self) -> dict[str, UsageRow]:
        """By model, as it stands in the database."""
        time.sleep(2.5)
        engine = database.open(self.gateway.database)
        try:
            return {row.group["model"]: row for row in report(engine, ["model"])}
        finally:
            engine.dispose()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "wiki").mkdir()
    (folder / "wiki/greetings.md").write_text(f"# Greetings\n\n{ANSWER}\n")
    with ExitStack() as stack:
        small = stack.enter_context(starting.engine(folder, name="small", context=4096, parallel=2))
        engine = stack.enter_context(dying("vllm"))
        log = folder / "access.log"
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("TEST_CLOUD_KEY", "secret")
        cloud = {"litellm": "openai/base", "api_base": engine.url, "key_env": "TEST_CLOUD_KEY"}
        gateway = starting.gateway(
            folder,
            gateway_engine_url=small.url,
            gateway_models=json.dumps(
                {"dying": {"url": engine.url, "model": "base"}, "dying-cloud": cloud}
            ),
            gateway_aliases=json.dumps(
                {
                    "pages": {"targets": "dying", "grounding": True},
                    "plain": {"targets": "dying"},
                    "provider": {"targets": "dying-cloud"},
                    "backed": {"targets": "dying", "fallback": ["provider"]},
                }
            ),
            gateway_docs=str(folder / "wiki"),
            gateway_access_log=str(log),
            gateway_log_prompts="true",
        )
        yield Place(stack.enter_context(gateway), engine, log)


@pytest.fixture(autouse=True)
def _lives(place: Place) -> None:
    place.engine.deaths.clear()


def chat(place: Place, model: str, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": QUESTION}]
    return place.ask("/chat/completions", model=model, messages=messages, **more)


@pytest.mark.parametrize("model", ["plain", "pages", "provider"])
def test_a_stream_that_breaks_off_is_recorded_as_failed(place: Place, model: str) -> None:
    served = "dying-cloud" if model == "provider" else "dying"
    failed = f'answers_total{{alias="{model}",model="{served}",outcome="failed"}}'
    before = place.metric(failed)
    place.engine.deaths = list(BROKEN)
    reply = chat(place, model, stream=True)
    assert reply.status_code == 200
    assert '"error"' in reply.text
    assert "[DONE]" not in reply.text
    line = place.logged(reply)
    assert line["status"] >= 500
    chunks = [chunk for chunk in events(reply) if chunk.get("choices")]
    said = sum(bool(c["choices"][0]["delta"].get("content")) for c in chunks)
    # An engine that goes on may say a blank once more, which is left out.
    assert said <= line["completion_tokens"] <= said + (model == "pages")
    assert place.metric(failed) == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_the_log_has_question_and_answer_of_an_answer_from_pages(
    place: Place, stream: bool
) -> None:
    line = place.logged(chat(place, "pages", stream=stream))
    assert line["grounded"]
    assert line["prompt"] == QUESTION
    assert line["answer"].split() == ANSWER.split()


def test_chunks_of_an_answer_from_pages_have_one_id(place: Place) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"x-askdocs-progress": "on"}
    messages = [{"role": "user", "content": QUESTION}]
    reply = place.ask("/chat/completions", headers, model="pages", messages=messages, **asked)
    found = [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: {")]
    assert len(found) > 3
    assert len({(chunk["id"], chunk["created"]) for chunk in found}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_every_choice_and_every_prompt_counts(place: Place, stream: bool) -> None:
    shown = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    prompts = [f"Number {number}:" for number in range(5)]
    messages = [{"role": "user", "content": "Count."}]
    alone = place.ask("/completions", model="base", prompt=prompts[0], max_tokens=1).json()
    each = alone["usage"]["prompt_tokens"]
    for path, body, prompt, answer in (
        ("/completions", {"prompt": prompts}, 5 * each, 5 * 3),
        ("/completions", {"prompt": prompts[:2], "n": 2}, 2 * each, 4 * 3),
        ("/chat/completions", {"messages": messages, "n": 2}, None, 2 * 3),
    ):
        reply = place.ask(path, model="base", max_tokens=3, ignore_eos=True, **body, **shown)
        (usage,) = usages(reply) if stream else [reply.json()["usage"]]
        assert usage["completion_tokens"] == answer
        assert prompt in (None, usage["prompt_tokens"])
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        line = place.logged(reply)
        assert line["completion_tokens"] == usage["completion_tokens"]
        assert line["prompt_tokens"] == usage["prompt_tokens"]


def usages(reply: httpx.Response) -> list[dict[str, Any]]:
    data = [line[6:] for line in reply.text.split("\n") if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    assert "null" not in data
    return [one["usage"] for one in map(json.loads, data[:-1]) if one.get("usage")]


@pytest.mark.parametrize("path", ["/responses", "/messages"])
def test_a_translated_stream_that_breaks_off_ends_with_an_error_of_its_own_shape(
    place: Place, path: str
) -> None:
    asked = {"input": QUESTION} if path == "/responses" else {"max_tokens": 50}
    if path == "/messages":
        asked["messages"] = [{"role": "user", "content": QUESTION}]
    whole = place.ask(path, model="plain", stream=True, **asked)
    assert events(whole)[-1]["type"] in ("response.completed", "message_stop")
    assert place.logged(whole)["status"] == 200
    place.engine.deaths = list(BROKEN)
    reply = place.ask(path, model="plain", stream=True, **asked)
    last = events(reply)[-1]
    assert last["type"] in ("error", "response.failed"), reply.text[-2000:]
    if path == "/messages":
        assert set(last["error"]) >= {"type", "message"}
    assert place.logged(reply)["status"] >= 500


def events(reply: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in reply.text.split("\n") if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("name", ["made-up", "\ud800", "x" * 5000])
def test_no_name_of_a_clients_making_is_counted(place: Place, name: str) -> None:
    body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    for headers in ({}, {"x-askdocs-model": "base"}):
        reply = httpx.post(
            f"{place.gateway.url}/chat/completions",
            content=json.dumps(body),
            headers={**AUTH, **headers},
            timeout=60,
        )
        assert reply.status_code == 404, reply.text
        assert reply.json()["error"]["code"] == "model_not_found"
        place.logged(reply)
    assert name not in place.exposed()
    # And what comes later is counted.
    counted = place.usage().get("base")  # none, where this is the first test
    assert chat(place, "base", max_tokens=1).status_code == 200
    assert place.usage()["base"].requests == (counted.requests if counted else 0) + 1


def test_votes_count_against_the_limits_of_their_key(place: Place) -> None:
    engine = database.open(place.gateway.database)
    _, secret = Keys(engine).create("voter", limits=Limits(rpm=3))
    engine.dispose()
    headers = {"authorization": f"Bearer {secret}"}
    vote = {"alias": "plain", "model": "dying", "vote": "up"}
    replies = [
        httpx.post(f"{place.gateway.root}/askdocs/vote", json=vote, headers=headers)
        for _ in range(5)
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]


def test_a_vote_names_no_model_that_the_key_cannot_reach(place: Place) -> None:
    """Else the names of all models could be guessed."""
    engine = database.open(place.gateway.database)
    _, secret = Keys(engine).create("narrow voter", models=["plain", "backed"])

    def vote(model: str, alias: str = "plain") -> dict[str, Any]:
        body = {"alias": alias, "model": model, "vote": "up"}
        headers = {"authorization": f"Bearer {secret}"}
        reply = httpx.post(f"{place.gateway.root}/askdocs/vote", json=body, headers=headers)
        told: dict[str, Any] = reply.json()
        return told

    there, away = vote("base"), vote("away")
    assert there["error"]["code"] == away["error"]["code"] == "model_not_found"
    assert vote("dying") == {"counted": True}
    assert vote("dying-cloud", "backed") == {"counted": True}  # by the fallback's own alias
    # A model that answered before an alias was changed.
    asyncio.run(AnswerStatistics(engine).vote("plain", "base", "up"))
    assert vote("base") == {"counted": True}
    engine.dispose()


def test_a_path_of_a_clients_making_is_other(place: Place) -> None:
    for number in range(3):
        reply = httpx.post(f"{place.gateway.root}/v1/made/{number}", headers=AUTH, content=b"{}")
        assert reply.status_code == 404
    assert "made" not in place.exposed()
    assert place.metric('requests_total{alias="",endpoint="other"') >= 3
