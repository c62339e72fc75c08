"""The script that pages load: small, and in all languages of the box."""

import re
import tomllib
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from core import database
from tests.widget.conftest import WIKI
from widget.app import create_app
from widget.service import assets
from widget.service.store import Answered, NewQuestion, Store
from widget.settings import WidgetSettings
from widget.text.language import FOLDER

EMBED = (assets.FOLDER / "embed.js").read_text(encoding="utf-8")
OPTIONS = Path(__file__).resolve().parents[2] / "docs" / "how-to/widget.md"


async def test_it_is_at_most_6_kb_as_it_is_served() -> None:
    transport = httpx.ASGITransport(app=create_app(WidgetSettings(origins=(WIKI,))))
    async with httpx.AsyncClient(transport=transport, base_url="http://box.example") as http:
        response = await http.get("/embed.js", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) <= 6000
    # Without comments and indentation, and nothing else.
    lines = [line.strip() for line in EMBED.splitlines()]
    assert response.text == "\n".join(x for x in lines if not x.startswith("//")) + "\n"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_its_button_says_what_the_box_is_called(file: Path) -> None:
    title = tomllib.loads(file.read_text(encoding="utf-8"))["words"]["title"]
    assert f'{file.stem}: ["{title}", "' in EMBED


async def test_a_page_can_want_the_most_asked_beside_its_own_examples(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'askdocs.db'}"
    app = create_app(WidgetSettings(database_url=SecretStr(url), examples=("Who?",)))
    store = Store(database.open(url))
    for visitor in ("one", "another"):
        store.asked(NewQuestion(id=visitor, question="How?", conversation=visitor, visitor=visitor))
        store.answered(visitor, Answered("answered"))
    store.engine.dispose()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://box.example") as http:
        page = (await http.get("/box", params={"examples": "Why? | asked"})).text
        none = (await http.get("/box")).text
    assert re.findall(r'name="question" value="(.*?)"', page) == ["Why?", "Who?", "How?"]
    assert re.findall(r'name="question" value="(.*?)"', none) == ["Who?"]


def test_every_option_is_documented_and_no_other() -> None:
    used = set(re.findall(r'option\("([\w-]+)"\)', EMBED))
    used |= set(re.findall(r'"(\w+)"', EMBED.split("for (const name of [")[1].split("]")[0]))
    rows = re.findall(r"^\| `data-([\w-]+)`", OPTIONS.read_text(encoding="utf-8"), re.M)
    assert set(rows) == used
