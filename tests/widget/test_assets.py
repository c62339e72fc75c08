import hashlib
import re
from pathlib import Path

import httpx

from tests.widget.conftest import WIKI
from widget.app import create_app
from widget.service import assets
from widget.service.assets import FOLDER
from widget.settings import WidgetSettings

ROOT = Path(assets.__file__).parent


def client() -> httpx.AsyncClient:
    app = create_app(WidgetSettings(origins=(WIKI,)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://box.example")


async def test_all_that_an_open_box_loads_is_under_60_kb() -> None:
    async with client() as http:
        page = await http.get("/box")
        addresses = re.findall(r'(?:src|href)="(/?static/[^"]+)"', page.text)
        loaded = [page, *[await http.get("/" + address) for address in addresses]]
        embed = await http.get("/embed.js")
    assert len(loaded) == 5
    sizes = [int(response.headers["content-length"]) for response in (*loaded, embed)]
    assert sum(sizes) < 60_000


def test_vendored_files_are_the_published_ones() -> None:
    rows = re.findall(
        r"^\| (\S+\.js) \|.*\| (\w{64}) \|$", (FOLDER / "vendor/README.md").read_text(), re.M
    )
    assert {name for name, _ in rows} == {path.name for path in (FOLDER / "vendor").glob("*.js")}
    for name, expected in rows:
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == expected


def test_nothing_of_ours_needs_inline_styles_or_scripts() -> None:
    for path in (ROOT / "templates").glob("*.html"):
        html = path.read_text()
        assert not re.search(
            r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|hx-on|javascript:", html
        ), path
    for name in ("embed.js", "box.js"):
        script = (FOLDER / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|cssText|new Function|document\.write",
            script,
        ), name


async def test_static_files_are_cached_by_their_content() -> None:
    async with client() as http:
        page = (await http.get("/box")).text
        addresses = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
        assert len(addresses) == 4
        for address in addresses:
            response = await http.get("/" + address)
            assert response.status_code == 200
            assert "immutable" in response.headers["cache-control"]
            assert response.headers["content-encoding"] == "gzip"
            again = await http.get(
                "/" + address, headers={"if-none-match": response.headers["etag"]}
            )
            assert again.status_code == 304
        plain = await http.get("/static/box.css", headers={"accept-encoding": "identity"})
        assert "immutable" not in plain.headers["cache-control"]
        assert plain.content == (FOLDER / "box.css").read_bytes()


async def test_embed_may_be_loaded_by_isolated_pages_and_is_fresh_within_minutes() -> None:
    async with client() as http:
        response = await http.get("/embed.js")
        assert response.headers["cross-origin-resource-policy"] == "cross-origin"
        assert response.headers["cache-control"] == "public, max-age=300"
        assert "javascript" in response.headers["content-type"]


async def test_only_known_files_are_served() -> None:
    async with client() as http:
        for path in ("../app.py", "%2e%2e/app.py", "vendor/README.md", "nothing"):
            assert (await http.get("/static/" + path)).status_code == 404
