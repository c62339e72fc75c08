"""LangChain's ChatOpenAI."""

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import QUOTED, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


HEADING = "Let askdocs find the pages"
STREAM = """
from langchain_openai import ChatOpenAI

for chunk in ChatOpenAI(model="docs", stream_usage=True).stream("How do I stop askdocs?"):
    print(chunk.content, end="")
    if chunk.usage_metadata:
        print("\\ntokens", chunk.usage_metadata["output_tokens"])
"""


@pytest.fixture(scope="module")
def programs(say: Say) -> Path:
    return environments.python("langchain", say)


@pytest.fixture
def env(client: Client) -> dict[str, str]:
    """The variables that the docs set."""
    return {"OPENAI_BASE_URL": client.url, "OPENAI_API_KEY": client.key}


def test_the_docs_code_answers(client: Client, programs: Path, env: dict[str, str]) -> None:
    code = client.doc("sdk", HEADING, "python")
    code = code.replace("Which ports does askdocs use?", "How do I stop askdocs?")
    done = client.run(programs / "python", "-c", code, **env)
    assert done.returncode == 0, done.stderr
    assert QUOTED.fullmatch(done.stdout.strip())


def test_the_stream_tells_its_tokens_when_asked(
    client: Client, programs: Path, env: dict[str, str]
) -> None:
    done = client.run(programs / "python", "-c", STREAM, **env)
    assert done.returncode == 0, done.stderr
    assert QUOTED.search(done.stdout)
    assert "\ntokens " in done.stdout


def test_a_wrong_key_is_shown_with_the_gateways_words(
    client: Client, programs: Path, env: dict[str, str]
) -> None:
    code = client.doc("sdk", HEADING, "python")
    done = client.run(programs / "python", "-c", code, **env | {"OPENAI_API_KEY": WRONG})
    assert done.returncode == 1
    assert REFUSAL in done.stderr
