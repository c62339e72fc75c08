"""Continue's command line, cn, one question."""

from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, REFUSAL, WRONG, Client
from tests.clients.environments import Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HEADING = "Continue CLI, cn"


@pytest.fixture
def command(client: Client, say: Say) -> str:
    """The command of the docs, with the settings of the docs beside it."""
    cn: Path = environments.node("cn", say) / ".bin" / "cn"
    (client.home / "config.yaml").write_text(client.doc("editors", HEADING, "yaml"))
    return client.doc("editors", HEADING, "sh").replace("cn --", f"{cn} --")


def test_a_question_without_tools_is_answered_from_the_wiki(client: Client, command: str) -> None:
    done = client.run("sh", "-ec", command, CONTINUE_TELEMETRY_ENABLED="0")
    assert done.returncode == 0, done.stderr + done.stdout
    assert ANSWER in done.stdout


def test_a_question_with_all_its_tools_is_answered_by_the_model(
    client: Client, command: str
) -> None:
    before = client.written()
    settings = client.home / "config.yaml"
    settings.write_text(settings.read_text().replace("maxTokens: 200", "maxTokens: 40"))
    command = command.replace('--exclude "*" ', "")
    done = client.run("sh", "-ec", command, CONTINUE_TELEMETRY_ENABLED="0")
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip()
    assert client.written() > before


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, command: str) -> None:
    done = client.run("sh", "-ec", command, ASKDOCS_KEY=WRONG, CONTINUE_TELEMETRY_ENABLED="0")
    assert done.returncode == 1
    assert REFUSAL in done.stdout + done.stderr
