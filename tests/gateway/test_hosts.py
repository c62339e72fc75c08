"""Which hosts a server answers to, and that the gateway, the box and the site ask."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from core.errors import SettingsError
from core.settings import load
from gateway.http.hosts import AllowedHosts
from gateway.settings import GatewaySettings


def app(*hosts: str) -> AllowedHosts:
    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("answered")

    paths = ("/", "/health", "/ready", "/metrics", "/v1/models")
    inner = Starlette(routes=[Route(path, answer) for path in paths])
    return AllowedHosts(inner, hosts, "hosts of [gateway]")


async def get(hosts: tuple[str, ...], host: str, path: str = "/") -> httpx.Response:
    transport = httpx.ASGITransport(app(*hosts))
    async with httpx.AsyncClient(transport=transport, base_url="http://any") as client:
        return await client.get(path, headers={"host": host})


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:4000", "10.1.2.3:4000", "[::1]", "[::1]:4000", "[fd00::17]:80"),
        *("localhost", "LocalHost:4000", "localhost.", "wiki.localhost:8000"),
        *("api.example.com", "API.example.com:443", "api.example.com."),
        *("a.wikis.example.com", "a.b.wikis.example.com:8443"),
    ],
)
async def test_addresses_localhost_and_listed_names_are_answered(host: str) -> None:
    answer = await get(("api.example.com", "*.wikis.example.com"), host)
    assert (answer.status_code, answer.text) == (200, "answered")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:4000", "example.com", "xapi.example.com", "gateway"),
        *("api.example.com.evil.example", "wikis.example.com", "xwikis.example.com"),
        *("localhost.evil.example", "127.0.0.1.evil.example", "127.1", "0x7f000001", "[::1"),
        *("[evil.example]", "::1", "a:b:c", "localhost:x", "user@localhost", "", ":4000"),
    ],
)
async def test_another_host_is_refused_and_the_setting_is_named(host: str) -> None:
    answer = await get(("api.example.com", "*.wikis.example.com"), host)
    assert answer.status_code == 421
    error: dict[str, Any] = answer.json()["error"]
    assert error["code"] == "unknown_host"
    assert repr(host) in error["message"]
    assert "hosts of [gateway]" in error["message"]


async def test_one_host_of_several_that_is_not_listed_is_enough_to_refuse() -> None:
    transport = httpx.ASGITransport(app())
    async with httpx.AsyncClient(transport=transport, base_url="http://any") as client:
        headers = [("host", "127.0.0.1"), ("host", "evil.example")]
        assert (await client.get("/", headers=headers)).status_code == 421


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_probes_may_come_by_any_name(path: str) -> None:
    assert (await get((), "pod-17.gateway.svc:4000", path)).status_code == 200


@pytest.mark.parametrize("host", ["https://api.example.com", "api.example.com:443", "A.b", "*"])
def test_what_is_not_a_name_is_refused_as_a_setting(host: str) -> None:
    with pytest.raises(SettingsError, match="is not a host's name"):
        load(GatewaySettings, env={"ASKDOCS_GATEWAY_HOSTS": host})
