"""Coding sessions of two turns through real agents: the first asks what the wiki says, the second
edits code. The engine follows a script, so it is known what each of them has to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments
from tests.clients.conftest import WIKI, Client
from tests.clients.environments import Say
from tests.clients.scripted import DONE, MODEL, Scripted
from tests.clients.test_connect import QUIET
from tests.clients.test_opencode import BINARY, OFFLINE
from tests.end_to_end.running import COMMAND, up
from tests.widget.stand_in import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

ASKING = "How do I stop askdocs? Write it to NOTES.md."
EDITING = "Rename the variable in hello.py to greeting."
PAGE = "Press Ctrl-C in the terminal where askdocs runs."

Session = tuple[Client, Scripted]


@pytest.fixture(scope="module")
def coding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("sessions")
    for name, text in WIKI.items():
        path = folder / "wiki" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    engine = Scripted()
    with serve(engine.app) as url:
        options = ("--engine-url", f"{url}/v1", "--model", MODEL)
        with up(folder / "home", folder / "wiki", *options) as running:
            gateway = running.status()["parts"]["gateway"]["url"]
            home = folder / "user"
            home.mkdir()
            yield Client(gateway, "", "", "", folder / "home", home), engine


@pytest.fixture
def session(coding: Session, tmp_path: Path) -> Session:
    client, engine = coding
    (tmp_path / "hello.py").write_text('print("hello")\n')
    engine.asked.clear()
    return Client(client.url, "", "", "", client.state, tmp_path), engine


def connected(client: Client, name: str) -> None:
    made = client.run(COMMAND, "connect", name, "--write", "--home", client.state)
    assert made.returncode == 0, made.stderr


def persons(request: dict[str, Any]) -> list[str]:
    return [json.dumps(one) for one in request["messages"] if one["role"] == "user"]


@pytest.mark.parametrize("name", ["opencode", "continue"])
def test_pages_stay_through_a_tool_loop_and_a_turn_of_editing_is_left_alone(
    session: Session, say: Say, name: str
) -> None:
    client, engine = session
    connected(client, name)
    engine.asked.clear()
    if name == "opencode":
        program = environments.node("opencode", say) / BINARY / "bin" / "opencode"
        first = [program, "run", "--model", "askdocs/docs"]
        second = [*first, "--continue"]
        env = OFFLINE
    else:
        program = environments.node("cn", say) / ".bin" / "cn"
        config = client.home / ".continue" / "config.yaml"
        first = [program, "--config", config, "--auto", "-p"]
        second = [*first, "--resume"]
        env = {"CONTINUE_TELEMETRY_ENABLED": "0"}
    for command in ([*first, ASKING], [*second, EDITING]):
        done = client.run(*command, **env)
        assert done.returncode == 0, done.stderr
        assert DONE in done.stdout
    # Both commands of both turns ran: calls, arguments and results passed as they were.
    assert (client.home / "NOTES.md").read_text() == "written\n" * 2
    assert len(engine.asked) == 6
    asking, editing = engine.asked[:3], engine.asked[3:]
    asked = persons(asking[0])
    assert PAGE in asked[-1]
    for request in (*asking, *editing):
        assert persons(request)[: len(asked)] == asked, "a prefix that an engine keeps"
    for request in editing:
        assert PAGE not in "".join(persons(request)[len(asked) :])
        calls = [one for one in request["messages"] if one.get("tool_calls")]
        results = [one["tool_call_id"] for one in request["messages"] if one["role"] == "tool"]
        assert [one["tool_calls"][0]["id"] for one in calls] == results
        assert results[0].startswith("call_scripted_")


def test_aider_edits_a_file_and_no_page_stands_in_its_prompt(session: Session, say: Say) -> None:
    client, engine = session
    aider = environments.python("aider", say) / "aider"
    connected(client, "aider")
    config = client.home / ".aider.askdocs.yml"
    done = client.run(
        *(aider, *QUIET.split(), "--no-git", "--config", config, "--chat-mode", "diff"),
        *("--message", EDITING, "hello.py"),
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    assert done.returncode == 0, done.stderr
    assert (client.home / "hello.py").read_text() == 'print("greeting")\n'
    assert engine.asked
    assert not any(PAGE in json.dumps(request) for request in engine.asked)
