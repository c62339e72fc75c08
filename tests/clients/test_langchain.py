"""LangChain's ChatOpenAI."""

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import QUOTED, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HEADING = "LangChain"


@pytest.fixture(scope="module")
def programs(say: Say) -> Path:
    return environments.python("langchain", say)


def test_the_docs_code_answers_plainly_and_streams(client: Client, programs: Path) -> None:
    done = client.run(programs / "python", "-c", client.doc("clients", HEADING, "python"))
    assert done.returncode == 0, done.stderr
    assert len(QUOTED.findall(done.stdout)) == 2
    assert QUOTED.sub("", done.stdout).strip() == ""


def test_the_stream_tells_its_tokens_when_asked(client: Client, programs: Path) -> None:
    code = client.doc("clients", HEADING, "python").replace(
        'model="docs"', 'model="docs", stream_usage=True'
    )
    code += "    usage = chunk.usage_metadata or {}\n    print(usage.get('output_tokens', ''))\n"
    done = client.run(programs / "python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert any(line.isdigit() for line in done.stdout.split())


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, programs: Path) -> None:
    code = client.doc("clients", HEADING, "python")
    done = client.run(programs / "python", "-c", code, ASKDOCS_KEY=WRONG)
    assert done.returncode == 1
    assert REFUSAL in done.stderr
