"""Real clients with the settings that `askdocs connect` has written."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import ANSWER, Client
from tests.clients.environments import Say
from tests.clients.test_aider import QUIET
from tests.clients.test_opencode import BINARY, OFFLINE
from tests.end_to_end.running import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

QUESTION = "How do I stop askdocs?"


def connected(client: Client, *arguments: str) -> subprocess.CompletedProcess[str]:
    return client.run(COMMAND, "connect", *arguments, "--home", client.state)


@pytest.mark.parametrize("name", ["aider", "continue", "opencode"])
def test_a_client_asks_by_the_settings_that_were_written(
    client: Client, say: Say, name: str
) -> None:
    shown = connected(client, name)
    assert shown.returncode == 0, shown.stderr
    assert "nothing was written" in shown.stdout
    made = connected(client, name, "--write")
    assert made.returncode == 0, made.stderr
    assert QUESTION in made.stdout
    assert ANSWER in made.stdout.partition("it answers:")[2]
    assert client.key not in made.stdout + shown.stdout, "it has a key of its own"
    env: dict[str, str] = {}
    command: list[str | Path]
    if name == "aider":
        aider = environments.python("aider", say) / "aider"
        config = client.home / ".aider.askdocs.yml"
        command = [aider, *QUIET.split(), "--no-git", "--config", config, "--message", QUESTION]
        env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    elif name == "continue":
        cn = environments.node("cn", say) / ".bin" / "cn"
        config = client.home / ".continue" / "config.yaml"
        command = [cn, "--config", config, "--exclude", "*", "-p", QUESTION]
        env["CONTINUE_TELEMETRY_ENABLED"] = "0"
    else:
        binary = environments.node("opencode", say) / BINARY / "bin" / "opencode"
        (client.home / "opencode.json").write_text(json.dumps({"permission": {"*": "deny"}}))
        command = [binary, "run", "--model", "askdocs/docs", QUESTION]
        env |= OFFLINE
    done = client.run(*command, **env)
    assert done.returncode == 0, done.stderr
    assert ANSWER in " ".join(done.stdout.split())


def test_what_cannot_be_connected_is_refused_before_a_key_is_made(client: Client) -> None:
    def keys() -> list[str]:
        listed = client.run(COMMAND, "keys", "list", "--json", "--home", client.state)
        return [key["name"] for key in json.loads(listed.stdout)]

    before = keys()
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
    assert keys() == before
    by_hand = connected(client, "jetbrains")
    assert f"URL    {client.url}" in by_hand.stdout
    assert len(keys()) == len(before) + 1
