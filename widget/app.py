"""The widget: a box that readers ask, served into a frame on the pages of a wiki."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware import Middleware

from widget import assets, sse
from widget.answers import Done, Failed, Partial, Quiet, follow
from widget.asks import MAX_QUESTION, Ask, Asks, BadQuestion, Full, Phase
from widget.gateway import Gateway, Reading
from widget.origins import web_address
from widget.security import SecurityHeaders, is_own_post
from widget.settings import WidgetSettings
from widget.streams import Stream
from widget.views import Views

MAX_FORM = 65_536  # bytes; 2,000 characters and an address, percent-encoded, need half of it
CROWDED = "Many people are asking right now. Please try again in a moment."
ELSEWHERE = "This form was not sent from the box itself, so it was not taken."
LOST = "The connection was lost. Please try again."

AskId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{8,64}$")]


def create_app(settings: WidgetSettings) -> FastAPI:
    """The application. `app.state.asks.close()` ends every open stream."""
    files = assets.load()
    views = Views(settings, files)
    asks = Asks()
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        asks.close()
        await gateway.close()

    app = FastAPI(
        title="askdocs widget",
        openapi_url=None,
        lifespan=lifespan,
        middleware=[Middleware(SecurityHeaders, origins=settings.origins)],
    )
    app.state.asks = asks

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.get("/")
    async def index(request: Request) -> HTMLResponse:
        return HTMLResponse(views.index(str(request.base_url) + "embed.js"))

    @app.get("/embed.js")
    async def embed(request: Request) -> Response:
        response = files["embed.js"].response(request)
        # A page that isolates itself (COEP) loads only what says that it may be loaded.
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        return response

    @app.get("/static/{name:path}")
    async def static(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].response(request)

    @app.get("/box")
    async def box(request: Request) -> HTMLResponse:
        return HTMLResponse(views.box(request.query_params))

    @app.post("/asks")
    async def ask(request: Request) -> Response:
        if not is_own_post(request):
            return _refused(request, {}, ELSEWHERE, 403)
        form: dict[str, str] = {}
        try:
            form = await _form(request)
            asked = asks.add(form.get("question", ""), web_address(form.get("page", "")))
        except BadQuestion as error:
            return _refused(request, form, str(error), 422)
        except Full:
            return _refused(request, form, CROWDED, 503)
        if "hx-request" in request.headers:
            return HTMLResponse(views.article(asked))
        asks.start(asked.id)
        return Stream(_whole_page(asked, form), "text/html; charset=utf-8")

    @app.get("/asks/{id}/events")
    async def events(id: AskId) -> Stream:
        return Stream(_events(id), "text/event-stream; charset=utf-8")

    @app.post("/asks/{id}/stop")
    async def stop(request: Request, id: AskId) -> Response:
        if not is_own_post(request):
            return _refused(request, {}, ELSEWHERE, 403)
        asks.stop(id)
        return Response(status_code=204)

    def _refused(request: Request, form: dict[str, str], sentence: str, status: int) -> Response:
        if "hx-request" in request.headers:
            headers = {"hx-retarget": "#problem", "hx-reswap": "innerHTML"}
            return HTMLResponse(views.problem(sentence), status, headers)
        page = views.box(form, question=form.get("question", ""), problem=sentence)
        return HTMLResponse(page, status)

    async def _events(id: str) -> AsyncGenerator[str]:
        asked = asks.start(id)
        if asked is None:
            # A browser that lost the stream comes back by itself. It must not ask again, and an
            # answer that it has must not be replaced.
            known = asks.get(id)
            if known is None or known.phase is not Phase.ENDED or not known.delivered:
                yield sse.event("failed", views.outcome(id, Failed(LOST)))
            yield sse.event("end", "")
            return
        async with aclosing(follow(asked, gateway)) as states:
            async for state in states:
                match state:
                    case Reading():
                        yield sse.event("reading", views.reading(state))
                    case Partial():
                        yield sse.event("answer", views.answer(state.text))
                    case Quiet():
                        yield sse.KEEP_ALIVE
                    case Done():
                        yield sse.event("done", views.outcome(id, state))
                    case Failed():
                        yield sse.event("failed", views.outcome(id, state))
        asked.delivered = True
        yield sse.event("end", "")

    async def _whole_page(asked: Ask, form: dict[str, str]) -> AsyncGenerator[str]:
        # The page's beginning goes out at once, the answer follows when it is whole.
        mark = f"<!--{asked.id}-->"
        head, _, tail = views.box(form, article=mark).partition(mark)
        yield head
        async with aclosing(follow(asked, gateway)) as states:
            async for state in states:
                if isinstance(state, Quiet):
                    yield " "
                elif isinstance(state, Done | Failed):
                    yield views.finished(asked, state)
        yield tail

    return app


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form of ours; htmx and browsers send them urlencoded. Raises BadQuestion."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise BadQuestion(f"The question is too long; {MAX_QUESTION:,} characters is the most.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise BadQuestion("The question could not be read. Please type it again.") from None
    return {name: values[0] for name, values in fields.items()}
