"""The official client, and raw HTTP, against the real gateway, LiteLLM and engine."""

import json
import time
from pathlib import Path

import httpx
import openai
import pytest

from gateway.answering.grounding.prompt import DOUBT
from scripts import api_page
from tests.end_to_end.running import Askdocs
from tests.waiting import until

pytestmark = pytest.mark.slow

QUESTION = "How do I stop askdocs?"


def ask(text: str) -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_models_are_listed_with_their_context(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == ["docs", "base", "minilm", "local"]
    assert models[0].model_dump()["max_model_len"] == 8192
    assert client.models.retrieve("docs").id == "docs"


def test_an_answer_stands_on_a_page_and_cites_its_heading(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="docs", messages=ask(QUESTION))
    message = reply.choices[0].message
    assert message.content is not None
    assert "Ctrl-C" in message.content
    assert message.annotations is not None
    cited = [annotation.url_citation.url for annotation in message.annotations]
    assert any(url.endswith("#stopping-askdocs") for url in cited), cited
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 0
    facts = reply.model_dump()["askdocs"]
    assert facts["mode"] == "extractive"
    assert any("Ctrl-C" in source["quote"] for source in facts["sources"])


def test_a_stream_carries_text_citation_and_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="docs",
        messages=ask(QUESTION),
        stream=True,
        stream_options={"include_usage": True},
    )
    text, annotations, finished, usage = "", [], [], None
    for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            annotations += choice.delta.model_dump().get("annotations") or []
            finished += [choice.finish_reason] if choice.finish_reason else []
        usage = chunk.usage or usage
    assert "Ctrl-C" in text
    cited = [annotation["url_citation"]["url"] for annotation in annotations]
    assert any(url.endswith("#stopping-askdocs") for url in cited), cited
    # A caution may follow what is cited.
    assert text[annotations[-1]["url_citation"]["end_index"] :] in ("", f"\n\n{DOUBT}")
    assert finished == ["stop"]
    assert usage is not None
    assert usage.prompt_tokens == 0


def test_progress_says_what_is_quoted_before_the_first_word(askdocs: Askdocs) -> None:
    status = askdocs.started
    url = f"{status['parts']['gateway']['url']}/chat/completions"
    headers = {"authorization": f"Bearer {status['key']}", "x-askdocs-progress": "on"}
    body = {"model": "docs", "stream": True, "messages": ask(QUESTION)}
    with httpx.stream("POST", url, json=body, headers=headers, timeout=120) as reply:
        lines = [line for line in reply.iter_lines() if line.startswith("data: ")]
    first = json.loads(lines[0][6:])
    assert first["choices"] == []
    assert first["askdocs"]["reading"][0]["title"]
    assert lines[-1] == "data: [DONE]"


def test_a_question_outside_the_wiki_is_refused_with_the_best_pages(
    client: openai.OpenAI, askdocs: Askdocs
) -> None:
    # Words alone tell little: this wiki has "world cup" in an example.
    deadline = time.monotonic() + 240
    while (index := askdocs.status()["index"])["vectors"]["pages"] < index["pages"]:
        assert time.monotonic() < deadline, index
        time.sleep(1)
    reply = client.chat.completions.create(
        model="docs", messages=ask("Who won the football world cup in Brazil?")
    )
    assert reply.choices[0].message.content == "I don't have enough information to answer that."
    assert reply.choices[0].message.annotations == []
    assert reply.model_dump()["askdocs"]["refused"] is True


def test_base_is_not_grounded(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="base", messages=ask("Say hello."), max_tokens=5)
    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert reply.usage.prompt_tokens < 100


def test_grounding_off_asks_the_model_alone(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="docs",
        messages=ask(QUESTION),
        max_tokens=5,
        extra_headers={"x-askdocs-grounding": "off"},
    )
    assert reply.usage is not None
    assert reply.usage.prompt_tokens < 100


def test_completions_answers_text(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="base", prompt="One, two, three,", max_tokens=4)
    assert reply.choices[0].text


@pytest.mark.parametrize("path", api_page.EXAMPLES)
def test_the_examples_of_the_api_page_are_answered(askdocs: Askdocs, path: str) -> None:
    root = askdocs.started["parts"]["gateway"]["url"].removesuffix("/v1")
    key = {"Authorization": f"Bearer {askdocs.started['key']}"}
    body = dict(api_page.EXAMPLES[path][1])
    if path == "/askdocs/vote":  # for the model that answers here
        question = api_page.EXAMPLES["/v1/chat/completions"][1]
        answer = httpx.post(f"{root}/v1/chat/completions", json=question, headers=key, timeout=60)
        body["model"] = answer.headers["x-askdocs-model"]
    reply = httpx.post(f"{root}{path}", json=body, headers=key, timeout=60)
    assert reply.status_code == 200, reply.text


def test_a_wrong_key_and_a_missing_one_are_401(askdocs: Askdocs, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ask-wrong").models.list()
    url = f"{askdocs.started['parts']['gateway']['url']}/models"
    reply = httpx.get(url)
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_the_key_is_taken_from_each_header_that_clients_use(askdocs: Askdocs, header: str) -> None:
    status = askdocs.started
    value = f"Bearer {status['key']}" if header == "authorization" else status["key"]
    url = f"{status['parts']['gateway']['url']}/models"
    assert httpx.get(url, headers={header: value}).status_code == 200


def test_a_wrong_model_is_404_and_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"gpt-x.*docs, base") as caught:
        client.chat.completions.create(model="gpt-x", messages=ask("Hello?"))
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"model": "docs"}', 400),
        (b'{"model": "docs", "messages": []}', 400),
        (b'{"model": "docs", "messages": "x"}', 400),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400),
        (b'{"model": ["docs"], "messages": []}', 400),
        (b" " * (9 * 2**20), 413),
    ],
)
def test_bad_input_is_an_error_in_the_shape_that_clients_know(
    askdocs: Askdocs, body: bytes, status: int
) -> None:
    running = askdocs.started
    reply = httpx.post(
        f"{running['parts']['gateway']['url']}/chat/completions",
        content=body,
        headers={"authorization": f"Bearer {running['key']}"},
        timeout=60,
    )
    assert reply.status_code == status
    assert reply.json()["error"]["message"]
    assert reply.headers["x-request-id"]


def test_half_a_surrogate_pair_does_no_harm(askdocs: Askdocs) -> None:
    running = askdocs.started
    reply = httpx.post(
        f"{running['parts']['gateway']['url']}/chat/completions",
        content=rb'{"model": "docs", "messages": [{"role": "user", "content": "stop \ud800 it?"}]}',
        headers={"authorization": f"Bearer {running['key']}"},
        timeout=60,
    )
    assert reply.status_code == 200


def test_a_prompt_beyond_the_context_is_400_with_both_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="8192 tokens") as caught:
        client.chat.completions.create(model="base", messages=ask("why " * 20_000))
    assert caught.value.code == "context_length_exceeded"


def test_a_max_tokens_beyond_the_room_is_clamped(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="docs", messages=ask(QUESTION), max_tokens=32_000)
    assert reply.choices[0].message.content


@pytest.mark.parametrize("path", ["/ui", "/key/generate", "/model/new", "/docs", "/v1/files"])
def test_what_else_litellm_serves_is_not_served(askdocs: Askdocs, path: str) -> None:
    status = askdocs.started
    root = status["parts"]["gateway"]["url"].removesuffix("/v1")
    for method in ("GET", "POST"):
        reply = httpx.request(
            method, f"{root}{path}", headers={"authorization": f"Bearer {status['key']}"}
        )
        assert reply.status_code == 404


def test_when_the_client_leaves_the_engine_stops_working(askdocs: Askdocs) -> None:
    status = askdocs.started
    headers = {"authorization": f"Bearer {status['key']}"}
    body = {
        "model": "base",
        "stream": True,
        "max_tokens": 2000,
        "ignore_eos": True,
        "messages": ask("Count from one to a thousand."),
    }
    url = f"{status['parts']['gateway']['url']}/chat/completions"
    before = of_engine(status, "tokens_predicted_total")
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as reply:
        assert reply.status_code == 200, reply.read()
        lines = reply.iter_lines()  # held: httpx closes the response of one that is dropped
        assert next(lines)
        # It counts a request a moment after the first line of the answer.
        until(lambda: of_engine(status, "requests_processing"))
    until(lambda: not of_engine(status, "requests_processing"))
    # In tokens, since a busy machine does everything later.
    assert of_engine(status, "tokens_predicted_total") - before < 1000


def of_engine(status: dict[str, dict[str, dict[str, str]]], name: str) -> int:
    metrics = status["parts"]["engine"]["url"].removesuffix("/v1") + "/metrics"
    for line in httpx.get(metrics).text.splitlines():
        if line.startswith(f"llamacpp:{name} "):
            return int(float(line.split()[-1]))
    raise AssertionError(f"the engine does not tell {name}")


def test_the_key_is_readable_by_its_owner_alone(askdocs: Askdocs) -> None:
    assert (askdocs.home / "key").stat().st_mode & 0o777 == 0o600


def test_logs_lie_in_a_file_per_process(askdocs: Askdocs) -> None:
    names = {path.name for path in Path(askdocs.home / "logs").iterdir()}
    assert {"engine.log", "gateway.log", "widget.log", "site.log"} <= names
