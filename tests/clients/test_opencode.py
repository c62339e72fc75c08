"""opencode, one question."""

import json
import platform
import re
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, REFUSAL, WRONG, Client
from tests.clients.environments import Say
from tests.parts import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

HEADING = "opencode"
# The program itself, which opencode-ai picks for the machine.
BINARY = "opencode-linux-x64-baseline"
OFFLINE = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}


@pytest.fixture
def opencode(client: Client, say: Say) -> Path:
    """The program, with the settings of the docs in the project."""
    require((platform.system(), platform.machine()) == ("Linux", "x86_64"), "Linux on x86-64")
    binary = environments.node("opencode", say) / BINARY / "bin" / "opencode"
    (client.home / "opencode.json").write_text(client.doc("editors", HEADING, "json"))
    return binary


def command(client: Client, opencode: Path) -> tuple[str, str, str]:
    text = client.doc("editors", HEADING, "sh")
    return "sh", "-ec", text.replace("opencode ", f"{opencode} ")


def test_a_question_without_tools_is_answered_from_the_wiki(client: Client, opencode: Path) -> None:
    done = client.run(*command(client, opencode), **OFFLINE)
    assert done.returncode == 0, done.stderr
    assert ANSWER in done.stdout


def test_a_question_with_all_its_tools_is_answered_by_the_model(
    client: Client, opencode: Path
) -> None:
    before = client.written()
    file = client.home / "opencode.json"
    settings = json.loads(file.read_text())
    del settings["permission"]
    settings["provider"]["askdocs"]["models"]["docs"]["limit"]["output"] = 40
    file.write_text(json.dumps(settings))
    done = client.run(*command(client, opencode), **OFFLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert client.written() > before


def test_the_models_of_the_settings_are_listed(client: Client, opencode: Path) -> None:
    listed = client.run(opencode, "models", "askdocs", **OFFLINE).stdout.split()
    assert sorted(listed) == ["askdocs/base", "askdocs/docs"]


def test_a_wrong_key_is_shown_with_the_gateways_words(client: Client, opencode: Path) -> None:
    done = client.run(*command(client, opencode), ASKDOCS_KEY=WRONG, **OFFLINE)
    assert done.returncode == 1
    assert REFUSAL in done.stdout + done.stderr


def test_the_wiki_is_connected_as_tools(client: Client, opencode: Path) -> None:
    settings = client.doc("mcp", "opencode", "json")
    root = client.url.removesuffix("/v1")
    (client.home / "opencode.json").write_text(settings.replace("http://127.0.0.1:4000", root))
    shown = client.run(opencode, "mcp", "list", **OFFLINE).stdout
    assert re.search(r"✓ wiki .*connected", shown)
    refused = client.run(opencode, "mcp", "list", ASKDOCS_KEY=WRONG, **OFFLINE).stdout
    assert re.search(r"✗ wiki .*failed", refused)
