"""Real clients with the settings that `askdocs connect` has written."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, REFUSAL, WRONG, Client
from tests.clients.environments import Say
from tests.clients.test_opencode import OFFLINE, program
from tests.end_to_end.running import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

QUESTION = "How do I stop askdocs?"
# What a test does not want of aider: questions to a user, look-ups on the internet.
QUIET = (
    "--yes-always --analytics-disable --no-check-update --no-show-release-notes"
    " --no-show-model-warnings --no-detect-urls --no-gitignore --no-pretty"
)
SETTINGS = {
    "aider": ".aider.askdocs.yml",
    "continue": ".continue/config.yaml",
    "opencode": ".config/opencode/opencode.json",
}
QUIETLY = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "CONTINUE_TELEMETRY_ENABLED": "0",
    **OFFLINE,
}


def connected(client: Client, *arguments: str) -> subprocess.CompletedProcess[str]:
    return client.run(COMMAND, "connect", *arguments, "--home", client.state)


def keys(client: Client) -> list[str]:
    listed = client.run(COMMAND, "keys", "list", "--json", "--home", client.state)
    return [key["name"] for key in json.loads(listed.stdout)]


def command(client: Client, say: Say, name: str) -> list[str | Path]:
    """One question, without tools where the client has any."""
    config = client.home / SETTINGS[name]
    if name == "aider":
        aider = environments.python("aider", say) / "aider"
        return [aider, *QUIET.split(), "--no-git", "--config", config, "--message", QUESTION]
    if name == "continue":
        cn = environments.node("cn", say) / ".bin" / "cn"
        return [cn, "--config", config, "--exclude", "*", "-p", QUESTION]
    (client.home / "opencode.json").write_text(json.dumps({"permission": {"*": "deny"}}))
    return [program(say), "run", "--model", "askdocs/docs", QUESTION]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_client_asks_by_the_settings_that_were_written(
    client: Client, say: Say, name: str
) -> None:
    before = keys(client)
    shown = connected(client, name)
    assert shown.returncode == 0, shown.stderr
    assert "writes it and creates the key" in shown.stdout
    assert "warning: the model behind docs cannot use tools" in shown.stdout
    assert keys(client) == before
    made = connected(client, name, "--write")
    assert made.returncode == 0, made.stderr
    assert QUESTION in made.stdout
    assert ANSWER in made.stdout.partition("it answers:")[2]
    assert client.key not in made.stdout + shown.stdout, "it has a key of its own"
    words = command(client, say, name)
    done = client.run(*words, **QUIETLY)
    assert done.returncode == 0, done.stderr + done.stdout
    assert ANSWER in " ".join(done.stdout.split())
    # A wrong key is shown with the gateway's words.
    file = client.home / SETTINGS[name]
    file.write_text(re.sub(r"ask-[\w-]+", WRONG, file.read_text()))
    done = client.run(*words, **QUIETLY)
    assert REFUSAL in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("name", ["continue", "opencode"])
def test_a_question_with_all_its_tools_is_answered_by_the_model(
    client: Client, say: Say, name: str
) -> None:
    assert connected(client, name, "--write").returncode == 0
    words = [word for word in command(client, say, name) if word not in ("--exclude", "*")]
    file = client.home / SETTINGS[name]
    if name == "opencode":
        (client.home / "opencode.json").unlink()
        settings = json.loads(file.read_text())
        settings["provider"]["askdocs"]["models"]["docs"]["limit"]["output"] = 40
        file.write_text(json.dumps(settings))
    else:
        limit = "  defaultCompletionOptions:\n    maxTokens: 40\n  model: docs\n"
        file.write_text(file.read_text().replace("  model: docs\n", limit))
        assert "maxTokens" in file.read_text()
    before = client.written()
    done = client.run(*words, **QUIETLY)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip()
    assert client.written() > before


def test_what_cannot_be_connected_is_refused_before_a_key_is_made(client: Client) -> None:
    before = keys(client)
    settings = client.home / ".config" / "zed" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{\n  // mine\n  "theme": "dark"\n}\n')
    refused = connected(client, "zed", "--write")
    assert refused.returncode == 2
    assert "add the settings by hand" in refused.stderr
    assert '"api_url"' in refused.stderr, "they are shown"
    assert "// mine" in settings.read_text()
    assert connected(client, "emacs").returncode == 2
    assert connected(client, "jetbrains", "--write").returncode == 2
    assert keys(client) == before
    by_hand = connected(client, "jetbrains")
    assert f"URL    {client.url}" in by_hand.stdout
    assert len(keys(client)) == len(before) + 1
