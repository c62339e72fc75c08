"""The official Python SDK, 2.x (on httpx) and 3.x (on httpx2)."""

import json
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, QUOTED, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

ASK = "2. Ask a question"
FACTS = """
import asyncio, json, os, sys, openai

settings = {"base_url": sys.argv[1], "api_key": os.environ["ASKDOCS_KEY"], "max_retries": 0}
question = [{"role": "user", "content": "How do I stop askdocs?"}]

async def streamed():
    async with openai.AsyncOpenAI(**settings) as client:
        stream = await client.chat.completions.create(
            model="docs", messages=question, stream=True, stream_options={"include_usage": True}
        )
        return [chunk async for chunk in stream]

with openai.OpenAI(**settings) as client:
    facts = {"version": openai.__version__, "models": [m.id for m in client.models.list()]}
    chunks = asyncio.run(streamed())
    facts["async"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    facts["usage"] = chunks[-1].usage.total_tokens
    facts["text"] = client.completions.create(
        model="base", prompt="One, two, three,", max_tokens=4
    ).choices[0].text
    try:
        client.with_options(api_key="ask-wrong").models.list()
    except openai.AuthenticationError as error:
        facts["error"] = [error.status_code, error.code, bool(error.request_id)]
    try:
        client.chat.completions.create(model="gpt-x", messages=question)
    except openai.NotFoundError as error:
        facts["missing"] = [error.code, error.param]
print(json.dumps(facts))
"""


@pytest.fixture(scope="module", params=["openai-2", "openai-3"])
def programs(request: pytest.FixtureRequest, say: Say) -> Path:
    return environments.python(request.param, say)


def test_the_sdk_lists_models_streams_completes_and_raises_typed_errors(
    client: Client, programs: Path
) -> None:
    done = client.run(programs / "python", "-c", FACTS, client.url)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["version"].startswith(programs.parents[1].name[-1] + ".")
    assert facts["models"] == ["docs", "base", "minilm", "local"]
    assert QUOTED.fullmatch(facts["async"])
    assert facts["usage"] == 0  # no model was asked
    assert facts["text"]
    assert facts["error"] == [401, "invalid_api_key", True]
    assert facts["missing"] == ["model_not_found", "model"]


def test_the_docs_code_embeds(client: Client, programs: Path) -> None:
    code = client.doc("search-models", "Get embeddings from Python", "python")
    done = client.run(programs / "python", "-c", f"{code}print(len(vectors), len(vectors[0]))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "384"]


def test_the_docs_code_prints_answer_and_source(client: Client, programs: Path) -> None:
    code = client.doc("sdk", ASK, "python")
    done = client.run(programs / "python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert ANSWER in done.stdout
    assert done.stdout.endswith("/getting-started/#how-do-i-stop-askdocs\n")


def test_the_docs_code_streams_the_answer(client: Client, programs: Path) -> None:
    code = client.doc("sdk", "3. Stream an answer", "python")
    done = client.run(programs / "python", "-c", code)
    assert done.returncode == 0, done.stderr
    *answer, source = done.stdout.splitlines()
    assert QUOTED.fullmatch("\n".join(answer))
    assert source.endswith("/getting-started/#how-do-i-stop-askdocs")


def test_the_docs_code_switches_grounding_off(client: Client, programs: Path) -> None:
    code = client.doc("sdk", "5. Turn grounding off", "python")
    done = client.run(programs / "python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "grounded: False\n"


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, programs: Path) -> None:
    code = client.doc("sdk", ASK, "python")
    done = client.run(programs / "python", "-c", code, ASKDOCS_KEY=WRONG)
    assert done.returncode == 1
    assert "AuthenticationError" in done.stderr
    assert REFUSAL in done.stderr
