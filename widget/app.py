"""The widget app: serves the question box as a frame on the pages of a wiki."""

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core import database
from core.tasks import Tasks
from gateway.telemetry import tracing
from widget.access.captcha import Captcha
from widget.access.proxies import OnlyTrusted
from widget.access.security import SecurityHeaders
from widget.access.tokens import Tokens
from widget.access.visitors import Visitors
from widget.box.answers import Answers
from widget.box.asking import Asking
from widget.box.feedback import Feedback
from widget.box.frame import Box
from widget.box.views import Views
from widget.review.pages import router as review
from widget.service import assets
from widget.service.gateway import Gateway
from widget.service.journal import Journal
from widget.service.metrics import PATH as METRICS
from widget.service.metrics import Metrics, OnlyDirect
from widget.service.narrowing import Narrowing
from widget.service.opening import Opening
from widget.service.pending import PendingQuestions
from widget.service.store import Store
from widget.settings import WidgetSettings
from widget.text.language import SpeakLanguage


def create_app(settings: WidgetSettings) -> FastAPI:
    """Create the app. `app.state.pending.close()` ends every open stream.

    Raises AskdocsError: the database cannot be opened.
    """
    files = assets.load()
    views = Views(settings, files)
    pending = PendingQuestions()
    gateway = Gateway(settings, tracing.load("askdocs-widget", os.environ))
    journal = Journal(pending, _store(settings), settings.retention_days)
    metrics = Metrics()
    tasks = Tasks(metrics.task_failed, metrics.task_started)
    metrics.watch(
        lambda: sum(ask.readers for ask in pending.items.values()), lambda: pending.running
    )
    answers = Answers(gateway, journal, metrics)
    visitors = Visitors(settings)
    before = settings.previous_secret
    tokens = Tokens(visitors.secret, before.get_secret_value() if before else None)
    captcha = _captcha(settings)
    box = Box(settings, views, journal, tokens)
    opening = Opening(pending, journal, gateway)
    asking = Asking(
        settings, views, pending, answers, journal, visitors, metrics, tokens, captcha, box, opening
    )
    feedback = Feedback(settings, views, pending, journal, visitors, gateway, metrics, box, opening)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await visitors.open()
        tasks.start("retention", journal.run)
        if journal.store:
            tasks.start("rights", Narrowing(gateway, journal.store).run)
        yield
        pending.close()
        await tasks.close()
        # Answers that have just ended are still stored.
        writing = [ask.task for ask in pending.items.values() if ask.task is not None]
        await asyncio.gather(*writing, return_exceptions=True)
        await gateway.close()
        await visitors.close()
        journal.close()
        box.close()

    proxies = [ipaddress.ip_network(proxy) for proxy in settings.trusted_proxies]
    headers = (
        settings.person_header,
        settings.team_header,
        settings.groups_header,
        settings.identity_header,
    )
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
    app.state.pending = pending

    @app.get("/health")
    async def health() -> JSONResponse:
        degraded = {"degraded": tasks.failing} if tasks.failing else {}
        return JSONResponse({"status": "ok", **degraded})

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
        # A page that isolates itself (COEP) loads only resources that allow it.
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        return response

    @app.get("/static/{name:path}")
    async def static(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].response(request)

    app.include_router(box.router)
    app.include_router(asking.router)
    app.include_router(feedback.router)
    engine = journal.store.engine if journal.store else None
    app.include_router(review(settings, files, engine, tasks, lambda: pending.running > 0))
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
