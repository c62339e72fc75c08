"""A widget and a stand-in gateway, both served on ports of their own, and a browser."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.widget.stand_in import Reply, StandIn, serve
from tests.wikis.host import browsing
from widget.app import create_app
from widget.settings import WidgetSettings
from widget.text import language

WIKI = "https://wiki.example.com"


class Box:
    """A widget in front of a stand-in."""

    def __init__(self, url: str, gateway: StandIn) -> None:
        self.url = url
        self.gateway = gateway

    def token(self, page: str = "") -> str:
        """A fresh token, as box.js fetches it."""
        response = httpx.post(f"{self.url}/token", data={"page": page})
        assert response.status_code == 200, response.text
        return str(response.json()["token"])

    def post(self, path: str, headers: dict[str, str], **fields: str) -> httpx.Response:
        """Send a form as the box does, with a token."""
        form = {"page": "", **fields}
        form = {"token": self.token(form["page"]), **form}
        return httpx.post(f"{self.url}/{path}", data=form, headers=headers)


@pytest.fixture
def box() -> Iterator[Callable[..., Box]]:
    """Start a widget whose gateway gives these replies."""
    with ExitStack() as stack:

        def start(*replies: Reply, origins: tuple[str, ...] = (WIKI,), **settings: Any) -> Box:
            gateway = StandIn(*replies)
            url = stack.enter_context(serve(gateway.app)) + "/v1"
            app = create_app(
                WidgetSettings(gateway_url=url, gateway_key="ask-test", origins=origins, **settings)
            )
            return Box(stack.enter_context(serve(app)), gateway)

        yield start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


def pseudo(folder: Path) -> None:
    """A language from right to left whose strings can be told from everything else."""
    english = (language.FOLDER / "en.toml").read_text()
    (folder / "en.toml").write_text(english)
    lines = [
        line if not line.partition(" = ")[2] else line.replace(' = "', ' = "«', 1)[:-1] + '»"'
        for line in english.splitlines()
    ]
    text = "\n".join(lines).replace('"«ltr»"', '"rtl"').replace('"«,»"', '","')
    (folder / "ar.toml").write_text(text)


@pytest.fixture
def strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """English, and a language from right to left."""
    folder = tmp_path / "strings"
    folder.mkdir()
    pseudo(folder)
    monkeypatch.setattr(language, "FOLDER", folder)
