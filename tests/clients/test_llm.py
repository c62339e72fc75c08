"""`llm`, the command line tool."""

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import QUOTED, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

SETTINGS = """- model_id: docs
  model_name: docs
  api_base: {url}
  api_key_name: askdocs
"""


@pytest.fixture
def llm(client: Client, say: Say) -> Path:
    """The command, with the settings of the docs in the folder that it names."""
    llm = environments.python("llm", say) / "llm"
    folder = Path(client.run(llm, "logs", "path").stdout.strip()).parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(SETTINGS.format(url=client.url))
    return llm


def test_the_model_of_the_docs_settings_is_listed(client: Client, llm: Path) -> None:
    assert "OpenAI Chat: docs" in client.run(llm, "models").stdout


def test_the_docs_commands_stream_the_answer(client: Client, llm: Path) -> None:
    assert client.run(llm, "keys", "set", "askdocs", "--value", client.key).returncode == 0
    done = client.run(llm, "-m", "docs", "How do I stop askdocs?")
    assert done.returncode == 0, done.stderr
    assert QUOTED.fullmatch(done.stdout.strip())


def test_it_answers_without_a_stream_too(client: Client, llm: Path) -> None:
    command = (llm, "-m", "docs", "--no-stream", "--key", client.key, "How do I stop askdocs?")
    assert QUOTED.fullmatch(client.run(*command).stdout.strip())


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, llm: Path) -> None:
    done = client.run(llm, "-m", "docs", "--key", WRONG, "Hello?")
    assert done.returncode == 1
    assert REFUSAL in done.stderr
