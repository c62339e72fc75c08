"""`askdocs docs warm`, and what status says about the prefix cache, with a gateway's own words."""

import json
import os
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from askdocs.state.home import Home
from askdocs.supervision import prefix_cache, status
from askdocs.wikis import prefill
from gateway.core.errors import AskdocsError
from gateway.core.http import event
from gateway.telemetry.metrics import Metrics
from tests.askdocs.conftest import RunHere
from tests.widget.stand_in import serve

pytestmark = pytest.mark.slow

PAGE = {"page": "ports.md", "tokens": 1500, "seconds": 2.5, "how": "read"}
LARGE = {"page": "all.md", "tokens": 9000, "seconds": 0.0, "how": "too large"}
DONE = {"done": True, "pages": 1, "tokens": 1500, "seconds": 2.6}


class Gateway:
    """Answers with `events`, or with an error."""

    def __init__(self) -> None:
        self.events: list[object] = [{"total": 2}, PAGE, LARGE, DONE]
        self.error: str | None = None
        self.metrics = Metrics()
        self.asked: object = None
        self.key = ""
        self.app = Starlette(
            routes=[
                Route("/askdocs/warm", self.warm, methods=["POST"]),
                Route("/metrics", self.show),
            ]
        )

    async def warm(self, request: Request) -> Response:
        self.asked = await request.json()
        self.key = request.headers["authorization"].removeprefix("Bearer ")
        if self.error:
            return JSONResponse({"error": {"message": self.error}}, 404)
        body = b": still working\n\n" + b"".join(event(one) for one in self.events)
        return Response(body, media_type="text/event-stream")

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


def test_each_page_is_reported_with_its_tokens_and_what_was_done(
    home: Home, gateway: Gateway, running: str, here: RunHere
) -> None:
    done = here("docs", "warm", "--top", "2", "--home", str(home.root))
    assert done.stdout.splitlines() == [
        "ports.md  1,500 tokens, read, 2.5 s",
        "all.md  9,000 tokens, too large, sections are read, 0.0 s",
        "1 of 2 pages with 1,500 tokens prefilled, after 2.6 s",
    ]
    assert gateway.asked == {"pages": [], "top": 2}
    assert gateway.key == home.key()


def test_json_has_every_event(home: Home, gateway: Gateway, running: str, here: RunHere) -> None:
    done = here("docs", "warm", "ports.md", "all.md", "--json", "--home", str(home.root))
    assert json.loads(done.stdout) == gateway.events
    assert gateway.asked == {"pages": ["ports.md", "all.md"], "top": None}


def test_what_the_gateway_refuses_is_the_error(
    home: Home, gateway: Gateway, running: str, here: RunHere
) -> None:
    gateway.error = "there is no page 'x'"
    done = here("docs", "warm", "x", "--home", str(home.root))
    assert done.returncode != 0
    assert "there is no page 'x'" in done.stderr


def test_an_engine_that_goes_away_and_a_gateway_that_breaks_off_are_errors(
    home: Home, gateway: Gateway, running: str
) -> None:
    gateway.events = [{"total": 2}, PAGE, {"error": {"message": "the engine is away"}}]
    with pytest.raises(AskdocsError, match="the engine is away"):
        list(prefill.warm(home, [], None))
    gateway.events = [{"total": 2}, PAGE]
    with pytest.raises(AskdocsError, match="broke off: try again"):
        list(prefill.warm(home, [], None))


def test_without_a_running_askdocs_the_command_says_how_to_start_it(home: Home) -> None:
    with pytest.raises(AskdocsError, match="does not run in"):
        list(prefill.warm(home, [], None))


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
        "requests 75% of 4,000 prompt tokens; engine of base 80% of 10,000 prompt tokens"
    )


def test_a_gateway_that_is_away_has_no_prefix_cache() -> None:
    assert prefix_cache.read("http://127.0.0.1:9") is None
