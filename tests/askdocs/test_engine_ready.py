"""When the engine of `askdocs up` counts as ready, on a machine that is busy."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from askdocs.supervision.engine import _ready
from gateway.upstream.engine import Engine
from tests.widget.stand_in import serve


async def test_an_engine_that_does_not_take_a_second_question_yet_is_asked_again() -> None:
    asked = 0

    async def models(_: Request) -> Response:
        nonlocal asked
        asked += 1
        # The first look finds it, and the next question is not taken.
        return JSONResponse({"data": [{"id": "base"}]}, 200 if asked != 2 else 503)

    routes = [Route("/health", lambda _: JSONResponse({})), Route("/v1/models", models)]
    with serve(Starlette(routes=routes)) as url:
        engine = Engine(f"{url}/v1")
        try:
            assert not await _ready(engine)
            assert await _ready(engine)
            assert (await engine.model()).id == "base"
        finally:
            await engine.close()
