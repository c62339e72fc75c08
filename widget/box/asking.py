"""Routes for getting an answer: ask, stream, stop."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from core.control_characters import without
from widget.access.captcha import SOLVED, Captcha, NotHuman
from widget.access.forms import ELSEWHERE, AskId, Elsewhere, form
from widget.access.identity import BadIdentity
from widget.access.limits import OFTEN, TooMany
from widget.access.security import is_own_post
from widget.access.tokens import BadToken, Claims, Tokens
from widget.access.visitors import Visitor, Visitors
from widget.box import sse
from widget.box.answers import Answers
from widget.box.frame import Box
from widget.box.streams import Stream
from widget.box.views import Views
from widget.service.journal import Journal
from widget.service.metrics import Metrics
from widget.service.opening import Opening
from widget.service.outcome import Reading
from widget.service.pending import (
    BadQuestion,
    Full,
    PendingQuestion,
    PendingQuestions,
    checked,
    new_id,
)
from widget.service.states import Done, Failed, Partial, Quiet
from widget.service.store import NewQuestion
from widget.settings import WidgetSettings

CROWDED = "Many people are asking right now. Please try again in a moment."
LOST = "The connection was lost. Please try again."
STALE = "This page has been open for long. Please send the question again."


class Asking:
    """The routes of a question."""

    def __init__(
        self,
        settings: WidgetSettings,
        views: Views,
        pending: PendingQuestions,
        answers: Answers,
        journal: Journal,
        visitors: Visitors,
        metrics: Metrics,
        tokens: Tokens,
        captcha: Captcha | None,
        box: Box,
        opening: Opening,
    ) -> None:
        self._settings = settings
        self._views = views
        self._pending = pending
        self._answers = answers
        self._journal = journal
        self._visitors = visitors
        self._metrics = metrics
        self._tokens = tokens
        self._captcha = captcha
        self._box = box
        self._opening = opening
        self.router = APIRouter()
        self.router.add_api_route("/asks", self.ask, methods=["POST"])
        self.router.add_api_route("/asks/{id}/events", self.events, methods=["GET"])
        self.router.add_api_route("/asks/{id}/stop", self.stop, methods=["POST"])

    async def ask(self, request: Request) -> Response:
        sent: dict[str, str] = {}
        try:
            sent = await form(request)
            asked, visitor, claims = await self._asked(request, sent)
            ask = self._pending.add(asked, visitor.counted, visitor.groups)
        except Elsewhere:
            self._metrics.refused("elsewhere")
            return await self._refused(request, {}, ELSEWHERE, 403)
        except BadQuestion as error:
            self._metrics.refused("malformed")
            return await self._refused(request, sent, str(error), 422)
        except BadToken:
            self._metrics.refused("token")
            return await self._refused(request, sent, STALE, 403)
        except NotHuman as error:
            self._metrics.refused("captcha")
            return await self._refused(request, sent, str(error), 403)
        except BadIdentity as error:
            self._metrics.refused("identity")
            return await self._refused(request, sent, str(error), 401)
        except TooMany as error:
            self._metrics.refused("often")
            return await self._refused(request, sent, OFTEN.format(seconds=error.seconds), 429)
        except Full:
            self._metrics.refused("full")
            return await self._refused(request, sent, CROWDED, 503)
        self._metrics.asked()
        await self._journal.asked(asked)
        sent["token"] = self._tokens.make(asked.page, claims)
        if "hx-request" in request.headers:
            return HTMLResponse(self._views.article(ask, sent["token"]))
        page = await self._box.render(request, sent, article=f"<!--{ask.id}-->")
        return Stream(self._whole_page(ask, page, sent["token"]), "text/html; charset=utf-8")

    async def events(self, request: Request, id: AskId) -> Stream:
        seen = request.headers.get("last-event-id", "")
        ask = await self._opening.find(id, self._visitors.groups(request))
        return Stream(self._events(id, ask, seen), "text/event-stream; charset=utf-8")

    async def stop(self, request: Request, id: AskId) -> Response:
        if not is_own_post(request):
            return await self._refused(request, {}, ELSEWHERE, 403)
        self._pending.stop(id)
        return Response(status_code=204)

    async def _asked(
        self, request: Request, sent: Mapping[str, str]
    ) -> tuple[NewQuestion, Visitor, Claims]:
        """The question of a form, the visitor, and the claims of the next token.

        Raises BadQuestion, BadToken, BadIdentity, TooMany, NotHuman.
        """
        question = checked(sent.get("question", ""))
        page = self._box.page(request, sent)
        claims = self._tokens.read(sent.get("token", ""), page)
        visitor = self._visitors.of(request, sent.get("identity", ""))
        await self._visitors.count(visitor)
        if self._captcha:
            if time.time() < claims.solved + SOLVED:
                await self._visitors.count_solution(claims.solution)
            else:
                await self._captcha.check(sent, request.client.host if request.client else "")
                claims.solved, claims.solution = int(time.time()), new_id()
        id = new_id()
        person = visitor.id if visitor.person else ""
        if not claims.conversation or claims.person != person:
            claims.conversation, claims.person = id, person
        asked = NewQuestion(
            id=id,
            question=question,
            conversation=claims.conversation,
            alias=self._settings.model,
            quote=without(sent.get("quote", "")).strip()[:2000],
            page=page,
            visitor=visitor.id,
            person=visitor.person,
            team=visitor.team,
            lang=without(sent.get("lang", ""))[:20],
        )
        return asked, visitor, claims

    async def _refused(
        self, request: Request, sent: dict[str, str], sentence: str, status: int
    ) -> Response:
        if "hx-request" in request.headers:
            headers = {"hx-retarget": "#problem", "hx-reswap": "innerHTML"}
            fresh = self._box.renewed(request, sent)
            return HTMLResponse(self._views.problem(sentence, token=fresh), status, headers)
        question = sent.get("question", "")
        page = await self._box.render(request, sent, question=question, problem=sentence)
        return HTMLResponse(page, status)

    async def _events(self, id: str, ask: PendingQuestion | None, seen: str) -> AsyncGenerator[str]:
        if ask is None:
            yield sse.event("failed", self._views.outcome(id, Failed(LOST)))
        # A browser that lost the stream reconnects by itself and sends its last event id.
        elif ask.end is None or seen != str(ask.version):
            growing = self._views.growing()
            async with aclosing(self._answers.follow(ask)) as states:
                async for state in states:
                    match state:
                        case Reading():
                            yield sse.event("reading", self._views.reading(state), ask.version)
                        case Partial():
                            yield sse.event("answer", growing.render(state.text), ask.version)
                        case Quiet():
                            yield sse.KEEP_ALIVE
                        case Done():
                            is_refused = state.outcome.refused
                            better = await self._box.better(ask.question) if is_refused else ()
                            html = self._views.outcome(id, state, ask=ask, better=better)
                            yield sse.event("done", html, ask.version)
                        case Failed():
                            html = self._views.outcome(id, state)
                            yield sse.event("failed", html, ask.version)
        yield sse.event("end", "")

    async def _whole_page(self, ask: PendingQuestion, page: str, token: str) -> AsyncGenerator[str]:
        # Send the page up to the answer at once, and the answer when it is complete.
        head, _, tail = page.partition(f"<!--{ask.id}-->")
        yield head
        async with aclosing(self._answers.follow(ask)) as states:
            async for state in states:
                if isinstance(state, Quiet):
                    yield " "
                elif isinstance(state, Done | Failed):
                    yield self._views.finished(ask, state, token)
        yield tail
