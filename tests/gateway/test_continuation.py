"""Answers whose engine dies in the middle: others go on, and the client notices nothing."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import starting
from tests.gateway.dying import ANSWER, LONG, PROMPT, Dying, Way, dying, tokens

pytestmark = pytest.mark.slow

COUNT = len(tokens(ANSWER))
AUTH = {"authorization": f"Bearer {starting.KEY}"}


@dataclass
class Setting:
    """Two engines of each kind; an alias named for the kind asks the second one last."""

    gateway: starting.Gateway
    engines: dict[str, tuple[Dying, Dying]]

    def ask(self, kind: str, path: str = "/chat/completions", **more: Any) -> httpx.Response:
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Say."}]}
        if path == "/completions":
            asked = {"prompt": "Say:"}
        body = {"model": kind, "stream": True, "max_tokens": 5000, **asked, **more}
        return httpx.post(f"{self.gateway.url}{path}", json=body, headers=AUTH, timeout=60)

    def metric(self, start: str) -> float:
        text = httpx.get(f"{self.gateway.root}/metrics", timeout=30).text
        found = [line for line in text.splitlines() if line.startswith(f"askdocs_gateway_{start}")]
        return sum(float(line.split()[-1]) for line in found)


KINDS = ("llama.cpp", "vllm", "vllm-trims", "other")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    with ExitStack() as stack:
        engines: dict[str, tuple[Dying, Dying]] = {}
        models: dict[str, Any] = {}
        aliases: dict[str, Any] = {}
        for kind in KINDS:
            speech, trims = kind.removesuffix("-trims"), kind.endswith("-trims")
            pair = [stack.enter_context(dying(speech, trims=trims)) for _ in range(2)]
            engines[kind] = (pair[0], pair[1])
            for number, engine in enumerate(pair):
                models[f"{kind}-{number}"] = {"url": engine.url, "model": "base"}
            aliases[kind] = {"targets": f"{kind}-0", "fallback": [f"{kind}-1"]}
            aliases[f"{kind}-alone"] = {"targets": f"{kind}-0"}
        aliases["pages"] = {**aliases["vllm"], "grounding": True}
        folder: Path = tmp_path_factory.mktemp("continuation")
        (folder / "wiki").mkdir()
        (folder / "wiki/greetings.md").write_text(f"# Greetings\n\n{ANSWER}\n")
        gateway = starting.gateway(
            folder,
            gateway_engine_url=engines["vllm"][0].url,
            gateway_engine_model="base",
            gateway_models=json.dumps(models),
            gateway_aliases=json.dumps(aliases),
            gateway_docs=str(folder / "wiki"),
        )
        yield Setting(stack.enter_context(gateway), engines)


@pytest.fixture
def setting(started: Setting) -> Setting:
    for pair in started.engines.values():
        for engine in pair:
            engine.deaths.clear()
            engine.asked.clear()
    return started


def chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    """Those of a stream that came to its end."""
    assert reply.status_code == 200, reply.text
    data = [line[6:] for line in reply.text.split("\n") if line.startswith("data: ")]
    assert data[-1] == "[DONE]", data[-1]
    return [json.loads(one) for one in data[:-1]]


def said(reply: httpx.Response) -> str:
    choices = [choice for chunk in chunks(reply) for choice in chunk["choices"]]
    texts = [c["text"] if "text" in c else c["delta"].get("content") or "" for c in choices]
    return "".join(texts)


@pytest.mark.parametrize("way", ["cut", "end", "error"])
@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "vllm-trims"])
def test_wherever_it_dies_the_stream_is_as_if_it_had_not(
    setting: Setting, kind: str, way: Way
) -> None:
    for after in range(COUNT + 1):
        first, second = setting.engines[kind]
        first.deaths = [(after, way)]
        second.asked.clear()
        reply = setting.ask(kind, stream_options={"include_usage": True})
        assert said(reply) == ANSWER, after
        assert len(second.asked) == 1
        got = chunks(reply)
        assert len({(one["id"], one["created"], one["model"]) for one in got}) == 1
        choices = [choice for one in got for choice in one["choices"]]
        assert [c["delta"]["role"] for c in choices if "role" in c["delta"]] == ["assistant"]
        assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
        usage = got[-1]["usage"]
        if kind != "vllm-trims":  # where a blank may be written twice
            assert usage == {
                "prompt_tokens": PROMPT,
                "completion_tokens": COUNT,
                "total_tokens": PROMPT + COUNT,
            }


def test_it_is_one_request_whose_tokens_count_once(setting: Setting) -> None:
    names = (
        "requests_total",
        'tokens_total{alias="vllm",kind="completion"',
        'tokens_total{alias="vllm",kind="prompt"',
        'broken_answers_total{alias="vllm",model="vllm-0",outcome="continued"',
        "broken_answers_total",
    )
    before = [setting.metric(name) for name in names]
    setting.engines["vllm"][0].deaths = [(4, "cut")]
    assert said(setting.ask("vllm")) == ANSWER
    after = [setting.metric(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, COUNT, PROMPT, 1, 1]


def test_a_client_that_did_not_ask_for_usage_gets_none(setting: Setting) -> None:
    setting.engines["vllm"][0].deaths = [(4, "cut")]
    assert '"usage"' not in setting.ask("vllm").text


def test_max_tokens_holds_for_both_together(setting: Setting) -> None:
    setting.engines["llama.cpp"][0].deaths = [(3, "cut")]
    reply = setting.ask("llama.cpp", max_tokens=6)
    assert said(reply) == "".join(tokens(ANSWER)[:6])
    assert [body["max_tokens"] for body in setting.engines["llama.cpp"][1].asked] == [3]
    assert '"finish_reason":"length"' in reply.text


def test_an_end_that_was_told_is_the_end(setting: Setting) -> None:
    first, second = setting.engines["llama.cpp"]
    first.deaths = [(COUNT + 1, "cut")]  # before the usage
    assert said(setting.ask("llama.cpp")) == ANSWER
    assert second.asked == []


def test_it_goes_on_twice_and_then_says_that_it_broke_off(setting: Setting) -> None:
    first, second = setting.engines["vllm"]
    second.deaths = [(2, "cut")]
    first.deaths = [(3, "cut")]
    assert said(setting.ask("vllm")) == ANSWER
    first.deaths = [(3, "cut"), (2, "cut")]
    second.deaths = [(2, "cut")]
    reply = setting.ask("vllm")
    assert "broke off" in reply.text.splitlines()[-2]
    assert "[DONE]" not in reply.text


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
def test_one_that_is_back_within_seconds_goes_on_with_its_own(setting: Setting, kind: str) -> None:
    first, _ = setting.engines[kind]
    first.deaths = [(7, "away")]
    assert said(setting.ask(f"{kind}-alone")) == ANSWER
    assert len(first.asked) == 2


def test_an_answer_of_any_length_goes_on(setting: Setting) -> None:
    setting.engines["llama.cpp"][0].deaths = [(1500, "cut")]
    long = [{"role": "user", "content": "long"}]
    assert said(setting.ask("llama.cpp", messages=long)) == LONG


def test_a_completion_goes_on_at_any_engine(setting: Setting) -> None:
    for kind in ("other", "vllm"):
        setting.engines[kind][0].deaths = [(5, "cut")]
        assert said(setting.ask(kind, "/completions")) == ANSWER
        assert len(setting.engines[kind][1].asked) == 1


TOOL = {"type": "function", "function": {"name": "open", "parameters": {"type": "object"}}}
SAMPLES: list[dict[str, Any]] = [
    {"tools": [TOOL]},
    {"n": 2},
    {"logprobs": True},
    {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"regex": "x"}},
]
BEGUN = [{"role": "user", "content": "Say."}, {"role": "assistant", "content": "Ça"}]


@pytest.mark.parametrize("more", [*SAMPLES, {"messages": BEGUN}])
def test_what_is_more_than_words_ends_with_an_error_once_it_has_begun(
    setting: Setting, more: dict[str, Any]
) -> None:
    first, second = setting.engines["llama.cpp"]
    first.deaths = [(2, "cut")]
    reply = setting.ask("llama.cpp", **more)
    assert reply.status_code == 200
    assert "broke off" in reply.text.splitlines()[-2]
    assert second.asked == []


@pytest.mark.parametrize("more", SAMPLES)
def test_but_before_its_first_word_anything_is_asked_again(
    setting: Setting, more: dict[str, Any]
) -> None:
    first, second = setting.engines["llama.cpp"]
    first.deaths = [(0, "cut")]
    reply = setting.ask("llama.cpp", **more)
    assert said(reply) == ANSWER
    asked = [{**body, "model": ""} for body in (*first.asked, *second.asked)]
    assert asked[0] == asked[1]
    assert reply.text.count('"role"') == 1


def test_an_engine_of_another_kind_is_not_given_half_an_answer(setting: Setting) -> None:
    first, second = setting.engines["other"]
    first.deaths = [(2, "error")]
    reply = setting.ask("other")
    assert "broke off" in reply.text.splitlines()[-2]
    assert "EngineCore" not in reply.text
    assert second.asked == []


def test_a_whole_answer_of_which_nothing_was_seen_is_asked_for_again(setting: Setting) -> None:
    first, second = setting.engines["llama.cpp"]
    first.deaths = [(4, "cut")]
    reply = setting.ask("llama.cpp", stream=False, tools=[TOOL])
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == ANSWER
    assert reply.headers["x-askdocs-model"] == "llama.cpp-1"
    assert len(second.asked) == 1


QUESTION: Any = [{"role": "user", "content": "Write a list of three colours with a sentence each."}]


def test_two_real_engines_write_one_answer_when_the_first_is_killed(tmp_path: Path) -> None:
    """At temperature 0 it is the very answer that one of them writes alone."""
    with (
        starting.engine(tmp_path, context=2048, parallel=1) as first,
        starting.engine(tmp_path, context=2048, parallel=1) as second,
        starting.gateway(
            tmp_path,
            gateway_engine_url=first.url,
            gateway_models=json.dumps({"second": {"url": second.url, "model": "base"}}),
            gateway_aliases=json.dumps({"team": {"targets": "base", "fallback": ["second"]}}),
        ) as gateway,
    ):
        alone = read(gateway, "second")
        assert read(gateway, "team", kill=first) == alone


def read(
    gateway: starting.Gateway,
    model: str,
    kill: starting.Engine | None = None,
) -> tuple[str, dict[str, int]]:
    """An answer and its usage; its engine is killed after the tenth part."""
    body = {"model": model, "messages": QUESTION, "temperature": 0, "max_tokens": 60}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    text, parts = "", 0
    usage: dict[str, int] = {}
    with httpx.stream(
        "POST", f"{gateway.url}/chat/completions", json=body, headers=AUTH, timeout=120
    ) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            assert "error" not in chunk, chunk
            usage = chunk.get("usage") or usage
            text += "".join(one["delta"].get("content") or "" for one in chunk["choices"])
            parts += 1
            if kill and parts == 10:
                kill.process.kill()
                kill.process.wait()
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    return text, {name: usage[name] for name in counts}


# Answers that stand on pages


def grounded(setting: Setting, **more: Any) -> httpx.Response:
    asked = [{"role": "user", "content": "How does the greeting go, ça va and two words?"}]
    return setting.ask("vllm", model="pages", messages=asked, **more)


@pytest.mark.parametrize("way", ["cut", "end"])
def test_an_answer_from_pages_goes_on_and_goes_out_once(setting: Setting, way: Way) -> None:
    whole = said(grounded(setting))
    assert whole.split() == ANSWER.split()
    first, second = setting.engines["vllm"]
    for after in range(COUNT):
        first.deaths = [(after, way)]
        second.asked.clear()
        reply = grounded(setting)
        assert said(reply) == whole, after
        last = "assistant" if after else "user"
        assert [asked["messages"][-1]["role"] for asked in second.asked] == [last]
        got = chunks(reply)
        assert len({(one["id"], one["created"], one["model"]) for one in got}) == 1
        deltas = [choice["delta"] for one in got for choice in one["choices"]]
        assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
        cited = [cite["url_citation"] for cite in deltas[-1]["annotations"]]
        parts = [whole[cite["start_index"] : cite["end_index"]] for cite in cited]
        assert parts
        assert all(part.strip() for part in parts)


def test_an_answer_from_pages_with_probabilities_goes_on_until_something_has_gone_out(
    setting: Setting,
) -> None:
    first, _ = setting.engines["vllm"]
    first.deaths = [(COUNT - 1, "cut")]
    assert '"engine_unavailable"' in grounded(setting, logprobs=True).text
    first.deaths = [(0, "cut")]  # nothing of it has gone out
    assert said(grounded(setting, logprobs=True)).split() == ANSWER.split()


def test_an_event_that_is_none_ends_the_answer_with_an_error(setting: Setting) -> None:
    first, _ = setting.engines["vllm"]
    first.deaths = [(1, "odd")]
    reply = grounded(setting)
    assert '"engine_unavailable"' in reply.text
    assert said(grounded(setting)).split() == ANSWER.split()


def test_an_answer_from_pages_that_comes_whole_is_asked_for_again(setting: Setting) -> None:
    first, second = setting.engines["vllm"]
    second.asked.clear()
    first.deaths = [(0, "cut")]
    reply = grounded(setting, stream=False)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"].split() == ANSWER.split()
    assert len(second.asked) == 1
