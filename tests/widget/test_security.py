import httpx
import pytest

from tests.widget.conftest import WIKI
from widget.app import create_app
from widget.settings import WidgetSettings

BOX = "http://box.example"


def client() -> httpx.AsyncClient:
    app = create_app(WidgetSettings(origins=(WIKI, "http://127.0.0.1:8000")))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BOX)


@pytest.mark.parametrize(
    "path", ["/box", "/", "/embed.js", "/health", "/nothing", "/asks/x/events"]
)
async def test_every_response_carries_the_policy(path: str) -> None:
    async with client() as http:
        headers = (await http.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "frame-src": "'self'",
        "img-src": f"'self' https: data: {WIKI} http://127.0.0.1:8000",
        "frame-ancestors": f"'self' {WIKI} http://127.0.0.1:8000",
        "form-action": "'self'",
        "base-uri": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ({"sec-fetch-site": "same-origin", "origin": BOX}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site", "origin": WIKI}, False),
        ({"sec-fetch-site": "same-site", "origin": BOX}, False),
        ({"origin": BOX}, True),
        ({"origin": WIKI}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
        ({"origin": BOX + ":81"}, False),
        ({}, True),  # curl
    ],
)
async def test_posts_from_elsewhere_are_refused(headers: dict[str, str], taken: bool) -> None:
    async with client() as http:
        headers = headers | {"hx-request": "true"}
        response = await http.post("/token", headers=headers)
        assert response.status_code == (200 if taken else 403)
        # Taken, it is too long; refused, it is not even read.
        response = await http.post("/asks", data={"question": "x" * 2001}, headers=headers)
        assert response.status_code == (422 if taken else 403)
        response = await http.post("/asks/unknown-id/stop", headers=headers)
        assert response.status_code == (204 if taken else 403)


async def test_parameters_of_the_box_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'
    params = dict.fromkeys(("title", "placeholder", "mode", "scheme", "page"), hostile)
    async with client() as http:
        page = (await http.get("/box", params=params)).text
        assert "<script>alert" not in page
        assert 'name="page" value=""' in page
        page = (await http.get("/box", params={"page": f"{WIKI}/?a=\"'<&"})).text
        assert f'value="{WIKI}/?a=&#34;&#39;&lt;&amp;"' in page


async def test_health() -> None:
    async with client() as http:
        response = await http.get("/health")
    assert response.json() == {"status": "ok"}


async def test_the_front_page_shows_the_line_to_copy() -> None:
    async with client() as http:
        page = (await http.get("/")).text
    assert f"&lt;script src=&#34;{BOX}/embed.js&#34; defer&gt;" in page or (
        f'&lt;script src="{BOX}/embed.js" defer&gt;' in page
    )
    assert "<div data-askdocs>" in page
