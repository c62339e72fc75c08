"""opencode with the wiki as tools."""

import json
import platform
import re
from pathlib import Path

import pytest

from tests.clients import environments
from tests.clients.conftest import WRONG, Client
from tests.clients.environments import Say
from tests.parts import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

# The program itself, which opencode-ai picks for the machine.
BINARY = "opencode-linux-x64-baseline"
OFFLINE = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}


def program(say: Say) -> Path:
    require((platform.system(), platform.machine()) == ("Linux", "x86_64"), "Linux on x86-64")
    return environments.node("opencode", say) / BINARY / "bin" / "opencode"


def test_the_wiki_is_connected_as_tools(client: Client, say: Say) -> None:
    server = {
        "type": "remote",
        "url": client.url.removesuffix("/v1") + "/mcp",
        "oauth": False,
        "headers": {"Authorization": "Bearer {env:ASKDOCS_KEY}"},
    }
    (client.home / "opencode.json").write_text(json.dumps({"mcp": {"wiki": server}}))
    opencode = program(say)
    shown = client.run(opencode, "mcp", "list", **OFFLINE).stdout
    assert re.search(r"✓ wiki .*connected", shown)
    refused = client.run(opencode, "mcp", "list", ASKDOCS_KEY=WRONG, **OFFLINE).stdout
    assert re.search(r"✗ wiki .*failed", refused)
