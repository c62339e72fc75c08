"""The widget: a box that readers ask, served into a frame on the pages of a wiki."""

import asyncio
import ipaddress
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway import database, tracing
from widget import assets, openapi, sse
from widget.answers import Answers
from widget.asks import Ask, Asks, BadQuestion, Full, checked, new_id, recalled
from widget.captcha import Captcha, NotHuman
from widget.feedback import ELSEWHERE, Feedback
from widget.forms import NAME, Elsewhere, form, name
from widget.gateway import Gateway, Reading
from widget.identity import COOKIE, BadIdentity, new_cookie
from widget.journal import Journal, NotKept
from widget.language import SpeakLanguage
from widget.limits import OFTEN, TooMany
from widget.metrics import PATH as METRICS
from widget.metrics import Metrics, OnlyDirect
from widget.origins import web_address, within
from widget.proxies import OnlyTrusted
from widget.review.pages import router as review
from widget.security import SecurityHeaders, is_own_post
from widget.settings import WidgetSettings
from widget.states import Done, Failed, Partial, Quiet
from widget.store import Asked, Store
from widget.streams import Stream
from widget.tokens import BadToken, Tokens
from widget.views import Views
from widget.visitors import Visitors

CROWDED = "Many people are asking right now. Please try again in a moment."
EXAMPLES = 4
LOST = "The connection was lost. Please try again."
STALE = "This page has been open for long. Please send the question again."

AskId = Annotated[str, Path(pattern=f"^{NAME}$")]


def create_app(settings: WidgetSettings) -> FastAPI:
    """The application. `app.state.asks.close()` ends every open stream.

    Raises AskdocsError: the database cannot be opened.
    """
    files = assets.load()
    views = Views(settings, files)
    asks = Asks()
    gateway = Gateway(settings, tracing.load("askdocs-widget", os.environ))
    journal = Journal(asks, _store(settings), settings.retention_days)
    metrics = Metrics()
    metrics.watch(lambda: sum(ask.readers for ask in asks.items.values()), lambda: asks.running)
    answers = Answers(gateway, journal, metrics)
    visitors = Visitors(settings)
    before = settings.previous_secret
    tokens = Tokens(visitors.secret, before.get_secret_value() if before else None)
    captcha = _captcha(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await visitors.open()
        keeping = asyncio.create_task(journal.run())
        yield
        asks.close()
        keeping.cancel()
        # What has just ended is still written down.
        writing = [ask.task for ask in asks.items.values() if ask.task is not None]
        await asyncio.gather(keeping, *writing, return_exceptions=True)
        await gateway.close()
        await visitors.close()
        journal.close()

    proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies]
    headers = (settings.person_header, settings.team_header, settings.identity_header)
    app = FastAPI(
        title="askdocs widget",
        openapi_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(OnlyDirect),
            Middleware(OnlyTrusted, trusted=proxies, headers=headers),
            Middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies)),
            Middleware(
                SecurityHeaders,
                origins=settings.origins,
                captcha=captcha.service.hosts if captcha else "",
            ),
            Middleware(SpeakLanguage),
        ],
    )
    app.state.asks = asks

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @app.get(METRICS)
    async def shown(request: Request) -> Response:
        body, content_type = metrics.expose(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

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
        response = HTMLResponse(await _box(request, request.query_params))
        if settings.visitors == "cookie" and COOKIE not in request.cookies:
            secure = request.url.scheme == "https"
            response.set_cookie(
                COOKIE,
                new_cookie(),
                max_age=settings.retention_days * 86_400,
                httponly=True,
                secure=secure,
                # In a frame of another site only such a cookie comes back, and each site gets its
                # own: https://developer.mozilla.org/docs/Web/Privacy/Guides/Partitioned_cookies
                samesite="none" if secure else "lax",
                partitioned=secure,
            )
        return response

    @app.post("/token")
    async def token(request: Request) -> Response:
        try:
            sent = await form(request)
        except BadQuestion:
            return JSONResponse({"error": "this form cannot be read"}, 422)
        except Elsewhere:
            return JSONResponse({"error": ELSEWHERE}, 403)
        return JSONResponse({"token": tokens.renew(sent.get("token", ""), _page(request, sent))})

    @app.post("/asks")
    async def ask(request: Request) -> Response:
        sent: dict[str, str] = {}
        try:
            sent = await form(request)
            asked = await _asked(request, sent)
            ask = asks.add(asked)
        except Elsewhere:
            metrics.refused("elsewhere")
            return await _refused(request, {}, ELSEWHERE, 403)
        except BadQuestion as error:
            metrics.refused("malformed")
            return await _refused(request, sent, str(error), 422)
        except BadToken:
            metrics.refused("token")
            return await _refused(request, sent, STALE, 403)
        except NotHuman as error:
            metrics.refused("captcha")
            return await _refused(request, sent, str(error), 403)
        except BadIdentity as error:
            metrics.refused("identity")
            return await _refused(request, sent, str(error), 401)
        except TooMany as error:
            metrics.refused("often")
            return await _refused(request, sent, OFTEN.format(seconds=error.seconds), 429)
        except Full:
            metrics.refused("full")
            return await _refused(request, sent, CROWDED, 503)
        metrics.asked()
        await journal.asked(asked)
        sent["conversation"] = asked.conversation
        if captcha:
            sent["token"] = tokens.make(asked.page, human=True)
        if "hx-request" in request.headers:
            return HTMLResponse(views.article(ask, sent["token"]))
        page = await _box(request, sent, article=f"<!--{ask.id}-->")
        return Stream(_whole_page(ask, page, sent["token"]), "text/html; charset=utf-8")

    @app.get("/asks/{id}/events")
    async def events(request: Request, id: AskId) -> Stream:
        seen = request.headers.get("last-event-id", "")
        return Stream(_events(id, seen), "text/event-stream; charset=utf-8")

    @app.post("/asks/{id}/stop")
    async def stop(request: Request, id: AskId) -> Response:
        if not is_own_post(request):
            return await _refused(request, {}, ELSEWHERE, 403)
        asks.stop(id)
        return Response(status_code=204)

    async def _asked(request: Request, sent: Mapping[str, str]) -> Asked:
        """The question of a form. Raises BadQuestion, BadToken, BadIdentity, TooMany."""
        question = checked(sent.get("question", ""))
        page = _page(request, sent)
        claims = tokens.read(sent.get("token", ""), page)
        who = visitors.of(request, sent.get("identity", ""))
        await visitors.count(who)
        if captcha and not claims.human:
            await captcha.check(sent, request.client.host if request.client else "")
        id = new_id()
        return Asked(
            id=id,
            question=question,
            conversation=name(sent.get("conversation", "")) or id,
            alias=settings.model,
            quote=sent.get("quote", "").replace("\0", "").strip()[:2000],
            page=page,
            visitor=who.id,
            person=who.person,
            team=who.team,
            lang=sent.get("lang", "").replace("\0", "")[:20],
        )

    def _page(request: Request, sent: Mapping[str, str]) -> str:
        """The reader's page, if it is one of a wiki that may embed the box, or of our own."""
        page = web_address(sent.get("page", ""))
        return page if within(page, (*settings.origins, str(request.base_url).rstrip("/"))) else ""

    async def _box(request: Request, sent: Mapping[str, str], **more: Any) -> str:
        page = _page(request, sent)
        params = {**sent, "page": page, "token": tokens.renew(sent.get("token", ""), page)}
        own = [example.strip() for example in sent.get("examples", "").split("|")]
        return views.box(params, examples=await _examples("asked" in own), **more)

    async def _examples(asked: bool) -> list[str]:
        """Questions that the empty box offers; the page can want the most asked, too."""
        found = [*settings.examples, *(("asked",) if asked else ())]
        if "asked" in found:
            at = found.index("asked")
            found[at : at + 1] = await journal.most_asked(EXAMPLES)
        return found

    async def _refused(
        request: Request, sent: dict[str, str], sentence: str, status: int
    ) -> Response:
        if "hx-request" in request.headers:
            headers = {"hx-retarget": "#problem", "hx-reswap": "innerHTML"}
            fresh = tokens.renew(sent.get("token", ""), _page(request, sent))
            return HTMLResponse(views.problem(sentence, token=fresh), status, headers)
        page = await _box(request, sent, question=sent.get("question", ""), problem=sentence)
        return HTMLResponse(page, status)

    async def _events(id: str, seen: str) -> AsyncGenerator[str]:
        ask = asks.get(id) or await _stored(id)
        if ask is None:
            yield sse.event("failed", views.outcome(id, Failed(LOST)))
        # A browser that lost the stream comes back by itself, and says what it has.
        elif ask.end is None or seen != str(ask.version):
            growing = views.growing()
            async with aclosing(answers.follow(ask)) as states:
                async for state in states:
                    match state:
                        case Reading():
                            yield sse.event("reading", views.reading(state), ask.version)
                        case Partial():
                            yield sse.event("answer", growing.render(state.text), ask.version)
                        case Quiet():
                            yield sse.KEEP_ALIVE
                        case Done():
                            html = views.outcome(id, state, ask=ask)
                            yield sse.event("done", html, ask.version)
                        case Failed():
                            yield sse.event("failed", views.outcome(id, state), ask.version)
        yield sse.event("end", "")

    async def _stored(id: str) -> Ask | None:
        """An answer that was whole before a restart."""
        with suppress(NotKept):
            kept = await journal.get(id)
            if kept.answered.state in ("answered", "refused"):
                return recalled(kept)[0]
        return None

    async def _whole_page(ask: Ask, page: str, token: str) -> AsyncGenerator[str]:
        # The page's beginning goes out at once, the answer follows when it is whole.
        head, _, tail = page.partition(f"<!--{ask.id}-->")
        yield head
        async with aclosing(answers.follow(ask)) as states:
            async for state in states:
                if isinstance(state, Quiet):
                    yield " "
                elif isinstance(state, Done | Failed):
                    yield views.finished(ask, state, token)
        yield tail

    app.include_router(
        Feedback(settings, views, asks, journal, visitors, gateway, metrics, _box).router
    )
    engine = journal.store.engine if journal.store else None
    app.include_router(review(settings, files, engine, lambda: asks.running > 0))
    openapi.show(app)
    return app


def _captcha(settings: WidgetSettings) -> Captcha | None:
    if not settings.captcha:
        return None
    assert settings.captcha_secret is not None
    return Captcha(settings.captcha, settings.captcha_site_key, settings.captcha_secret)


def _store(settings: WidgetSettings) -> Store | None:
    if settings.database_url is None or not settings.store:
        return None
    url = settings.database_url.get_secret_value()
    migrating = database.open(url)
    try:
        database.migrate(migrating)
    finally:
        migrating.dispose()
    return Store(database.open(url, database.PATIENCE))
