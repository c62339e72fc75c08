import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

from askdocs.commands import slack as command
from askdocs.commands.slack_check import examine
from core.errors import AskdocsError, SettingsError
from core.settings import load
from core.tasks import Tasks
from tests.slack.stand_in import APP_TOKEN, BOT_TOKEN, HELP, SCOPES, SECRET, Slack, running
from tests.widget.stand_in import serve
from widget.settings import WidgetSettings
from widget.slack import running as running_module
from widget.slack.manifest import manifest
from widget.slack.running import by_http, by_socket, parts
from widget.slack.settings import SlackSettings

GOOD = {"bot_token": BOT_TOKEN, "app_token": APP_TOKEN, "signing_secret": SECRET}


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with running(Slack()) as slack:
        yield slack


def settings(slack: Slack, **changed: Any) -> SlackSettings:
    return SlackSettings(**{"api_url": f"{slack.url}/api/", **GOOD, **changed})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"bot_token": None}, "ASKDOCS_SLACK_BOT_TOKEN is not set: set it to the Bot User OAuth"),
        ({"bot_token": "no"}, "ASKDOCS_SLACK_BOT_TOKEN: Slack says 'invalid_auth': copy the Bot"),
        ({"app_token": None}, "ASKDOCS_SLACK_APP_TOKEN is not set: set it to an App-Level Token"),
        ({"app_token": "no"}, "ASKDOCS_SLACK_APP_TOKEN: Slack says 'invalid_auth': make an App"),
        ({"signing_secret": None}, "ASKDOCS_SLACK_SIGNING_SECRET is not set: set it to the Sign"),
        ({"signing_secret": "", "host": "203.0.113.1"}, "ASKDOCS_SLACK_SIGNING_SECRET is not set"),
        ({"host": "203.0.113.1"}, "203.0.113.1:3000: cannot listen (Cannot assign"),
        ({"api_url": "http://127.0.0.1:9/"}, "http://127.0.0.1:9/: Slack cannot be reached"),
    ],
)
async def test_what_is_wrong_is_one_line(
    slack: Slack, tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    given = settings(slack, **changed)
    listen = by_http if {"signing_secret", "host"} & changed.keys() else by_socket

    def say(line: str) -> None: ...

    tasks = Tasks()
    with pytest.raises(AskdocsError) as caught:
        async with parts(given, WidgetSettings(), None, tmp_path, say, tasks) as app:
            await listen(app, given, say, tasks)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["@anna", "<#C1>", "our team"])
def test_humans_are_a_channel_or_a_user_group(place: str) -> None:
    with pytest.raises(SettingsError, match="ASKDOCS_SLACK_HUMANS: is neither a channel"):
        load(SlackSettings, env={"ASKDOCS_SLACK_HUMANS": place})


def test_aliases_of_channels_come_from_the_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "askdocs.toml"
    file.write_text('[slack]\nchannels = {"C0HR" = "hr", "#it" = "triage"}\n')
    assert load(SlackSettings, env={}, file=file).channels == {"C0HR": "hr", "it": "triage"}
    told = load(SlackSettings, env={"ASKDOCS_SLACK_CHANNELS": '{"it": "triage"}'})
    assert told.channels == {"it": "triage"}


def models(request: Request) -> JSONResponse:
    if request.headers["authorization"] != "Bearer ask-test":
        return JSONResponse({"error": {}}, 401)
    return JSONResponse({"object": "list", "data": [{"id": "docs"}, {"id": "hr"}]})


async def test_the_check_says_what_works_and_what_does_not(slack: Slack) -> None:
    gateway = Starlette(routes=[Route("/v1/models", models)])
    with serve(gateway) as url:
        widget = WidgetSettings(gateway_url=f"{url}/v1", gateway_key="ask-test")
        good = settings(slack, humans=HELP, channels={"C1": "hr"})
        found = await examine(good, widget, http=False)
        assert [check.name for check in found if check.ok] == [
            *("bot token", "scopes", "app token", "humans", "gateway", "alias", "alias")
        ]
        assert len(found) == 7
        slack.scopes = SCOPES.replace("commands,", "")
        bad = settings(slack, app_token="no", humans="C0NOWHERE", channels={"C1": "it"})
        refused = WidgetSettings(gateway_url=f"{url}/v1", gateway_key="ask-no")
        lines = [
            check.line()
            for check in [
                *await examine(bad, widget, http=False),
                *await examine(bad, refused, http=True),
                *await examine(settings(slack, bot_token="no"), WidgetSettings(), http=True),
            ]
            if not check.ok
        ]
    fix = "add them on the app's OAuth & Permissions, and install it again"
    assert lines[0] == f"scopes: commands missing: {fix}"
    assert lines[1].startswith("app token: ASKDOCS_SLACK_APP_TOKEN: Slack says 'invalid_auth'")
    assert lines[2].startswith("humans: C0NOWHERE: Slack says 'channel_not_found': invite the app")
    assert lines[3] == "alias: it is not known: choose one of docs, hr, or let the key use it"
    assert any(line.startswith(f"gateway: {url}/v1 says 401: set ASKDOCS_WID") for line in lines)
    assert any(line.startswith("bot token: ASKDOCS_SLACK_BOT_TOKEN: Slack") for line in lines)


def test_the_manifest_is_of_socket_mode_or_of_an_address() -> None:
    said = CliRunner().invoke(command.app, ["manifest", "--name", "docs"])
    made = yaml.safe_load(said.stdout)
    assert made == manifest("docs")
    assert made["settings"]["socket_mode_enabled"] is True
    assert "request_url" not in said.stdout
    assert ",".join(made["oauth_config"]["scopes"]["bot"]) == SCOPES
    http = manifest("docs", "https://askdocs.example.com/")
    assert http["settings"]["socket_mode_enabled"] is False
    address = "https://askdocs.example.com/slack/events"
    assert http["settings"]["event_subscriptions"]["request_url"] == address
    assert http["settings"]["interactivity"]["request_url"] == address
    assert http["features"]["slash_commands"][0]["url"] == address


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--url", "http://askdocs.example.com"], "Slack takes https only"),
        (["--url", "askdocs"], "Slack takes https only"),
        (["--name", "x" * 36], "has 36 characters: Slack takes 1 to 35"),
    ],
)
def test_a_manifest_that_slack_would_refuse_is_not_made(options: list[str], sentence: str) -> None:
    said = CliRunner().invoke(command.app, ["manifest", *options])
    assert isinstance(said.exception, AskdocsError)
    assert sentence in str(said.exception)


async def test_a_connection_that_the_library_gives_up_is_opened_again(
    slack: Slack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "LOOK", 0.05)
    given, tasks = settings(slack), Tasks()
    said: list[str] = []
    async with parts(given, WidgetSettings(), None, tmp_path, said.append, tasks) as app:
        task = asyncio.create_task(by_socket(app, given, said.append, tasks))
        await slack.until(lambda: len(said) == 2)
        assert tasks.failing == []
        before = len(slack.sockets)
        for other in asyncio.all_tasks():
            work: Any = other.get_coro()
            if work.__name__ in ("monitor_current_session", "receive_messages"):
                client = work.cr_frame.f_locals["self"]
                other.cancel()
        await client.current_session.close()
        await slack.until(lambda: len(slack.sockets) > before)
        assert tasks.failing == ["connection"]
        await slack.socket({"type": "events_api", "payload": slack.written("", channel="D0ANNA")})
        await slack.until(lambda: slack.messages)
        task.cancel()
        await asyncio.wait([task])


async def test_socket_mode_stops_cleanly_when_it_is_cancelled(slack: Slack, tmp_path: Path) -> None:
    given = settings(slack)
    said: list[str] = []
    tasks = Tasks()
    async with parts(given, WidgetSettings(), None, tmp_path, said.append, tasks) as app:
        task = asyncio.create_task(by_socket(app, given, said.append, tasks))
        await slack.until(lambda: len(said) == 2)
        await slack.socket({"type": "events_api", "payload": slack.written("", channel="D0ANNA")})
        await slack.until(lambda: slack.messages)
        task.cancel()
        await asyncio.wait([task])
    assert said == ["connected to Team as @askdocs", "listening by Socket Mode; Ctrl-C stops"]
