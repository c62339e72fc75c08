"""The pages of the review: queue, cluster, gaps, analytics, words."""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute

from core.database import Unreachable
from core.tasks import Tasks
from widget.access.forms import name
from widget.review import analytics, gaps, weeks, words
from widget.review.access import Access, AccessRefused, Entered, Reviewer, signed_out
from widget.review.clusters import Sorter
from widget.review.forms import Posted
from widget.review.keeper import Keeper
from widget.review.queue import PAGE, STATES, Queue, Wanted, closest_pages
from widget.review.reviews import Action, Conflict, Draft, Reviews, Unfit, clean
from widget.review.tables import GapKind
from widget.review.views import Views
from widget.review.wiki import ReviewIndex
from widget.service.assets import Asset
from widget.service.store import Unknown
from widget.settings import WidgetSettings
from wiki.rights import Reader

log = logging.getLogger(__name__)

WEEKS = 8  # shown on the page of gaps
DAYS = 30  # default of the analytics page
MOST_DAYS = 366
AWAY = "Nothing was changed: the database does not respond. Please try again in a moment."
NO_STORE = (
    "This widget stores nothing, so there is nothing to review: set ASKDOCS_DATABASE_URL to the"
    " database of the gateway, and leave `store` of the [widget] settings on."
)

# Up to the largest integer in the database.
Cluster = Annotated[int, Path(ge=1, le=2**31 - 1)]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def router(
    settings: WidgetSettings,
    assets: Mapping[str, Asset],
    engine: sa.Engine | None,
    tasks: Tasks,
    busy: Callable[[], bool],
) -> APIRouter:
    """The routes under /review, and their background work.

    `tasks` supervises the background work. `busy`: are answers running? Background work then
    pauses. Callable from any thread.
    """
    views = Views(settings, assets)
    access = Access(settings)

    class Explained(APIRoute):
        """Renders errors (refused, missing, unreachable) as pages."""

        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def explained(request: Request) -> Response:
                field = ""
                try:
                    return await handler(request)
                except Entered as entered:
                    return entered.response(request)
                except AccessRefused as error:
                    status, sentence, field = error.status, error.sentence, error.field
                except Unknown as error:
                    status, sentence = 404, f"Not found: {error}."
                except RequestValidationError:
                    status, sentence = 404, f"Not found: {request.url.path[:100]} is not a page."
                except Unreachable as error:
                    # The error contains the database's address, which reviewers need not know.
                    log.warning("the review: %s", error)
                    status, sentence = 503, AWAY
                return HTMLResponse(views.problem(request, sentence, field), status)

            return explained

    if engine is None:
        return _without_store(access, Explained)
    wiki = ReviewIndex(settings.index, engine)
    queue, sorter = Queue(engine, wiki), Sorter(engine)
    reviews = Reviews(engine, second_approval=settings.second_approval)
    webhook = settings.digest_webhook.get_secret_value() if settings.digest_webhook else None

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        tasks.start("clusters", Keeper(engine, wiki, webhook, settings.public_url, busy).run)
        yield
        await tasks.close()
        wiki.close()

    routes = APIRouter(prefix="/review", route_class=Explained, lifespan=lifespan)
    _let_in(routes, access)
    words.add_routes(routes, views, access, engine)
    Who = Annotated[Reviewer, Depends(access.reviewer)]

    @routes.get("")
    def show_queue(request: Request, who: Who) -> Response:
        wanted, start = _wanted(request.query_params), _number(request, "start", 0, 10**9)
        items, count = queue.items(wanted, who.reader, start)
        return views.page(
            request,
            "queue.html",
            who=who.name,
            wanted=wanted,
            items=items,
            count=count,
            start=start,
            size=PAGE,
            states=queue.counts(who.reader),
            choices=queue.choices(),
        )

    @routes.get("/gaps")
    def show_gaps(request: Request, who: Who) -> Response:
        return views.page(
            request, "gaps.html", who=who.name, report=_gaps(engine, who.reader, wiki)
        )

    @routes.get("/gaps.csv")
    def gaps_csv(who: Who) -> Response:
        weekly_gaps = _gaps(engine, who.reader, wiki)
        file = f"gaps-{weeks.name(weekly_gaps.first_days[-1])}.csv"
        headers = {"content-disposition": f'attachment; filename="{file}"'}
        return Response(gaps.sheet_of(weekly_gaps), 200, headers, "text/csv; charset=utf-8")

    @routes.get("/analytics")
    def show_analytics(request: Request, who: Who) -> Response:
        measured = _measure(engine, _number(request, "days", DAYS, MOST_DAYS), who.reader)
        return views.page(request, "analytics.html", who=who.name, analytics=measured)

    @routes.get("/analytics.json")
    def analytics_json(request: Request, who: Who) -> Response:
        return JSONResponse(
            analytics.facts(_measure(engine, _number(request, "days", DAYS, MOST_DAYS), who.reader))
        )

    @routes.get("/pages")
    def pages(request: Request, who: Who) -> Response:
        text = request.query_params.get("page", "")[:200]
        return views.page(
            request,
            "pages.html",
            who=who.name,
            pages=wiki.like(text, who.reader) if text else [],
            page=wiki.find(text, who.reader),
        )

    @routes.post("/preview")
    def preview(request: Request, who: Who, sent: Posted) -> Response:
        draft = _draft(sent)
        return views.page(
            request,
            "preview.html",
            who=who.name,
            draft=draft,
            page=wiki.find(draft.page, who.reader),
        )

    @routes.get("/{cluster:int}")
    def show_cluster(request: Request, who: Who, cluster: Cluster) -> Response:
        _require(who, cluster)
        return _cluster(request, who, cluster)

    @routes.post("/{cluster:int}")
    def change(request: Request, who: Who, cluster: Cluster, sent: Posted) -> Response:
        _require(who, cluster)
        actions: tuple[Action, ...] = get_args(Action)
        action: Action = next((known for known in actions if known == sent.get("action")), "save")
        version = _whole(sent.get("version", ""))
        try:
            if action == "undo":
                reviews.undo(cluster, version, who.name, _whole(sent.get("to", "")))
            else:
                draft = wiki.checked(_draft(sent), who.reader) if "answer" in sent else None
                reviews.change(cluster, version, who.name, action, draft)
        except (Unfit, Conflict) as error:
            return _cluster(request, who, cluster, sent, error)
        return RedirectResponse(f"{cluster}?did={action}", 303)

    @routes.get("/{cluster:int}/why")
    def show_why(request: Request, who: Who, cluster: Cluster) -> Response:
        _require(who, cluster)
        id = request.query_params.get("question", "")
        stored = next((one for one in queue.questions(cluster)[0] if one.asked.id == id), None)
        if stored is None:
            raise Unknown(f"no question {id[:80]!r} is in cluster {cluster} any more")
        return views.page(
            request,
            "why.html",
            who=who.name,
            cluster=cluster,
            stored=stored,
            found=wiki.explain(stored.asked.question, stored.asked.page, who.reader),
        )

    @routes.post("/{cluster:int}/apart")
    def apart(who: Who, cluster: Cluster, sent: Posted) -> Response:
        _require(who, cluster)
        sorter.apart(name(sent.get("question", "")), cluster, who.name)
        return RedirectResponse(f"../{cluster}?did=apart", 303)

    def _require(who: Reviewer, cluster: int) -> None:
        if not queue.may_open(cluster, who.reader):
            raise Unknown(f"no cluster {cluster} that you may view")

    def _cluster(
        request: Request,
        who: Reviewer,
        cluster: int,
        sent: dict[str, str] | None = None,
        problem: Unfit | Conflict | None = None,
    ) -> Response:
        review = problem.current if isinstance(problem, Conflict) else reviews.current(cluster)
        stored, count = queue.questions(cluster)
        usual = queue.usual_question(cluster)
        draft = review.draft if review.version else Draft(usual)
        if sent is not None:
            draft = _draft(sent)
        return views.page(
            request,
            "cluster.html",
            status=409 if isinstance(problem, Conflict) else 422 if problem else 200,
            who=who.name,
            review=review,
            draft=draft,
            kept=stored,
            again=queue.asked_again(stored, who.reader),
            count=count,
            usual=usual,
            page=wiki.find(draft.page, who.reader),
            has_wiki=wiki.is_there,
            closest=[
                (wiki.find(page["url"], who.reader), page) for page in closest_pages(stored, most=5)
            ],
            history=reviews.history(cluster),
            second=settings.second_approval,
            problem=str(problem or ""),
            conflict=isinstance(problem, Conflict),
            did=request.query_params.get("did", "") if problem is None else "",
        )

    return routes


def _let_in(routes: APIRouter, access: Access) -> None:
    @routes.post("")
    def enter(request: Request, sent: Posted) -> Response:
        access.enter(request, sent.get("key", ""))

    @routes.post("/sign-out")
    def sign_out(sent: Posted) -> Response:
        return signed_out()


def _without_store(access: Access, route_class: type[APIRoute]) -> APIRouter:
    routes = APIRouter(prefix="/review", route_class=route_class)
    _let_in(routes, access)

    @routes.get("", dependencies=[Depends(access.reviewer)])
    def nothing() -> Response:
        raise AccessRefused(503, NO_STORE)

    return routes


def _gaps(engine: sa.Engine, reader: Reader, wiki: ReviewIndex) -> gaps.Gaps:
    return gaps.find(engine, weeks.monday(datetime.now(UTC).date()), WEEKS, reader, wiki)


def _measure(engine: sa.Engine, days: int, reader: Reader) -> analytics.Analytics:
    today = datetime.now(UTC).date()
    return analytics.measure(engine, today - timedelta(days=max(1, days) - 1), today, reader)


def _wanted(params: Mapping[str, str]) -> Wanted:
    """The filters of a URL; invalid values are ignored."""
    state, kind = params.get("state", ""), params.get("kind", "")
    kinds: tuple[GapKind, ...] = get_args(GapKind)
    channel, alias, words = (
        params.get(name, "").replace("\0", "").strip()[:200]
        for name in ("channel", "alias", "words")
    )
    return Wanted(
        state="all"
        if state == "all"
        else next((known for known in STATES if known == state), "open"),
        kind=next((known for known in kinds if known == kind), "all"),
        channel=channel,
        alias=alias,
        words=words,
    )


def _draft(sent: Mapping[str, str]) -> Draft:
    return clean(
        Draft(
            question=sent.get("question", ""),
            answer=sent.get("answer", ""),
            page=sent.get("page", ""),
            section=sent.get("section", ""),
            answerable="unanswerable" not in sent,
        )
    )


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    return min(_whole(text), most) if text else default


def _whole(text: str) -> int:
    """The number, or 0 if it is invalid."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
