"""What status says about the prefix cache, with a gateway's own words."""

import os
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from askdocs.state.home import Home
from askdocs.supervision import prefix_cache, status
from gateway.telemetry.metrics import Metrics
from tests.widget.stand_in import serve

pytestmark = pytest.mark.slow


class Gateway:
    """Shows its metrics."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.app = Starlette(routes=[Route("/metrics", self.show)])

    async def show(self, request: Request) -> Response:
        return PlainTextResponse((await self.metrics.expose()).body)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def running(home: Home, gateway: Gateway) -> Iterator[str]:
    """The root of a gateway that runs, as far as the home knows."""
    with home.lock(), serve(gateway.app) as url:
        status.Running(
            pid=os.getpid(),
            started="2026-01-01T00:00:00+00:00",
            gateway=f"{url}/v1",
            widget=url,
            site=url,
            engine="llama.cpp",
            engine_url="http://127.0.0.1:1/v1",
            model="small",
            docs="docs",
            page_budget=900,
            processes={},
            ready=True,
            versions="gguf",
        ).save(home)
        home.key()
        yield url


def test_status_tells_the_hit_rate_of_requests_and_of_each_engine(
    gateway: Gateway, running: str
) -> None:
    assert prefix_cache.read(running) == {
        "requests": {"prompt_tokens": 0, "cached_tokens": 0, "hit_rate": None},
        "engines": {},
    }
    request = gateway.metrics.request("/chat/completions")
    request.alias = "docs"
    request.admitted()
    request.end(200, "base", 4000, 50, 3000)
    gateway.metrics.prefix_cache("base", 10_000, 8_000)
    found = prefix_cache.read(running)
    assert found == {
        "requests": {"prompt_tokens": 4000, "cached_tokens": 3000, "hit_rate": 0.75},
        "engines": {"base": {"prompt_tokens": 10_000, "cached_tokens": 8_000, "hit_rate": 0.8}},
    }
    assert prefix_cache.summary(found) == (
        "requests 75% of 4,000 prompt tokens; model base: 80% of 10,000 prompt tokens"
    )


def test_a_gateway_that_is_away_has_no_prefix_cache() -> None:
    assert prefix_cache.read("http://127.0.0.1:9") is None
