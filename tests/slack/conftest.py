"""askdocs in Slack, between a stand-in for Slack and one for the gateway."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from core import database
from core.tasks import Tasks
from tests.slack.stand_in import APP_TOKEN, BOT_TOKEN, SECRET, Slack, as_form, running, signed
from tests.widget.stand_in import Reply, StandIn, serve
from widget.service.store import Store
from widget.settings import WidgetSettings
from widget.slack import replies, web
from widget.slack.running import parts
from widget.slack.settings import SlackSettings

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


class Team:
    """A workspace with askdocs in it."""

    def __init__(self, slack: Slack, gateway: StandIn, store: Store, http: httpx.AsyncClient):
        self.slack, self.gateway, self.store, self.http = slack, gateway, store, http

    async def event(self, event: dict[str, Any], **headers: str) -> httpx.Response:
        """Deliver an event."""
        return await self._post(json.dumps(event), "application/json", headers)

    async def command(self, form: dict[str, Any]) -> httpx.Response:
        """Deliver a command."""
        return await self._post(urlencode(form), "application/x-www-form-urlencoded", {})

    async def interact(self, payload: dict[str, Any]) -> httpx.Response:
        """Deliver a press or a dialog."""
        return await self._post(as_form(payload), "application/x-www-form-urlencoded", {})

    async def _post(self, body: str, kind: str, headers: dict[str, str]) -> httpx.Response:
        sent = {**signed(body), "content-type": kind, **headers}
        response = await self.http.post(web.PATH, content=body, headers=sent)
        assert response.status_code == 200, response.text
        return response


Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edits come as often as tests have time for, and a machine's proxy is not asked."""
    monkeypatch.setattr(replies, "EDIT", 0.02)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without questions."""
    path = tmp_path_factory.mktemp("empty") / "askdocs.db"
    engine = database.open(f"sqlite:///{path}")
    database.migrate(engine)
    engine.dispose()
    return path


class Gateways:
    """Gateways behind one port, each below a path of its own; they count votes together."""

    def __init__(self) -> None:
        self.url = ""
        self.gateways: list[StandIn] = []
        self.votes: list[dict[str, str]] = []

    def add(self, gateway: StandIn) -> str:
        """Its base URL."""
        self.gateways.append(gateway)
        return f"{self.url}/{len(self.gateways) - 1}/v1"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            _, number, path = scope["path"].split("/", 2)
            if path == "askdocs/vote":
                self.votes.append(await Request(scope, receive).json())
                await JSONResponse({"counted": True})(scope, receive, send)
                return
            await self.gateways[int(number)].app({**scope, "path": f"/{path}"}, receive, send)


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    made = Gateways()
    with serve(made) as made.url:
        yield made


@pytest.fixture
async def team(tmp_path: Path, empty: Path, gateways: Gateways) -> AsyncIterator[Start]:
    """Start askdocs in a workspace, with these replies of the gateway and these settings."""
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(running(Slack()))
        shutil.copy(empty, tmp_path)
        engine = database.open(f"sqlite:///{tmp_path / empty.name}")
        stack.callback(engine.dispose)

        async def start(
            *answers: Reply, stored: bool = True, asks_per_minute: int = 100, **settings: Any
        ) -> Team:
            gateway = StandIn(*answers)
            url = gateways.add(gateway)
            store = Store(engine)
            tasks = Tasks()
            app = await stack.enter_async_context(
                parts(
                    SlackSettings(
                        bot_token=BOT_TOKEN,
                        app_token=APP_TOKEN,
                        signing_secret=SECRET,
                        api_url=f"{slack.url}/api/",
                        **settings,
                    ),
                    WidgetSettings(gateway_url=url, asks_per_minute=asks_per_minute),
                    store if stored else None,
                    tmp_path,
                    lambda line: None,
                    tasks,
                )
            )
            http = httpx.AsyncClient(
                transport=httpx.ASGITransport(web.create_app(app, tasks)), base_url="http://askdocs"
            )
            await stack.enter_async_context(http)
            return Team(slack, gateway, store, http)

        yield start
