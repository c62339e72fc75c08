"""Routes for a finished answer: vote, share, hand over to people."""

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from core.control_characters import without
from widget.access.forms import ELSEWHERE, AskId, Elsewhere, fields, name
from widget.access.identity import BadIdentity
from widget.access.limits import TooMany
from widget.access.visitors import Visitor, Visitors
from widget.box import handoff
from widget.box.frame import Box
from widget.box.handoff import NotSent
from widget.box.views import Ballot, Views
from widget.service.gateway import Gateway
from widget.service.journal import GONE, Journal, NotStored
from widget.service.metrics import Metrics
from widget.service.opening import Opening
from widget.service.pending import BadQuestion, PendingQuestions, recalled
from widget.service.states import Done
from widget.service.store import REASONS, Direction, NewQuestion, Reason, StoredQuestion, Vote
from widget.settings import WidgetSettings

MAX_TEXT = 2000
LONG = "The text is longer than 2,000 characters. Please shorten it."
OFTEN = "Too many requests. Please try again in {seconds} seconds."
NOT_FOR_YOU = "This answer is for people who may read its pages. Please sign in to the wiki first."
SENT = "Your question was handed on. Thank you."


class FeedbackRefused(Exception):
    """Why an action is refused, as a status and a sentence for the reader."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Feedback:
    """The routes under an answer."""

    def __init__(
        self,
        settings: WidgetSettings,
        views: Views,
        pending: PendingQuestions,
        journal: Journal,
        visitors: Visitors,
        gateway: Gateway,
        metrics: Metrics,
        box: Box,
        opening: Opening,
    ) -> None:
        self._settings = settings
        self._views = views
        self._pending = pending
        self._journal = journal
        self._visitors = visitors
        self._gateway = gateway
        self._metrics = metrics
        self._box = box
        self._opening = opening
        self._handed: set[str] = set()
        self.router = APIRouter()
        self.router.add_api_route("/votes", self.vote, methods=["POST"])
        self.router.add_api_route("/asks/{id}/share", self.share, methods=["POST"])
        self.router.add_api_route("/asks/{id}/handoff", self.hand_off, methods=["POST"])
        self.router.add_api_route("/shared/{token}", self.shared, methods=["GET"])

    async def vote(self, request: Request) -> Response:
        """Keep a vote, or say that it is not kept."""
        sent: dict[str, list[str]] = {}
        reasons: tuple[Reason, ...] = ()
        id = vote = text = ""
        status, problem = 200, ""
        try:
            sent = await self._form(request)
            id, vote, text = (_first(sent, field) for field in ("ask", "vote", "text"))
            reasons = tuple(reason for reason in REASONS if reason in sent.get("reason", []))
            given = _vote(vote, reasons, text)
            visitor = await self._visitor(request, sent)
            before = await self._stored(self._journal.vote(name(id), given, visitor.id))
            if given.vote != (before.vote.vote if before.vote else ""):
                self._metrics.voted(given.vote)
            await self._gateway.count(before, given)
        except FeedbackRefused as refused:
            status, problem = refused.status, refused.sentence
        token = _first(sent, "token")
        ballot = Ballot(vote, reasons, text, problem)
        fragment = self._views.vote(id, ballot, token)
        return await self._reply(request, sent, id, fragment, status, ballot=ballot)

    async def share(self, request: Request, id: AskId) -> Response:
        """Make the link under which the answer can be read."""
        sent: dict[str, list[str]] = {}
        status = 200
        try:
            sent = await self._form(request)
            await self._visitor(request, sent)
            token = await self._stored(self._journal.share(id))
            if "hx-request" not in request.headers:
                return RedirectResponse(f"../../shared/{token}", 303)
            fragment = self._views.share(token)
        except FeedbackRefused as refused:
            status, fragment = refused.status, self._views.handed_off(refused.sentence)
        return await self._reply(request, sent, id, fragment, status, "../../")

    async def hand_off(self, request: Request, id: AskId) -> Response:
        """Send the question to the webhook, once."""
        sent: dict[str, list[str]] = {}
        status, sentence = 200, SENT
        try:
            sent = await self._form(request)
            await self._visitor(request, sent)
            if self._settings.handoff_webhook is None:
                raise FeedbackRefused(404, GONE)
            asked, answer = await self._for_everybody(id)
            if id not in self._handed:
                self._handed.add(id)
                try:
                    await handoff.send(self._settings.handoff_webhook, asked, answer)
                except NotSent as error:
                    self._handed.discard(id)
                    raise FeedbackRefused(502, str(error)) from None
        except FeedbackRefused as refused:
            status, sentence = refused.status, refused.sentence
        fragment = self._views.handed_off(sentence)
        return await self._reply(request, sent, id, fragment, status, "../../")

    async def shared(self, request: Request, token: str) -> Response:
        """The page of a shared answer."""
        try:
            stored = await self._journal.shared(token)
        except NotStored as error:
            page = await self._box.render(request, {}, problem=str(error), root="../")
            return HTMLResponse(page, 404)
        # Check again, with the viewer's groups and the current rights.
        if not await self._gateway.may_open(stored.answered, self._visitors.groups(request)):
            page = await self._box.render(request, {}, problem=NOT_FOR_YOU, root="../")
            return HTMLResponse(page, 403)
        return HTMLResponse(self._views.shared(stored.asked.question, recalled(stored)[1]))

    async def _form(self, request: Request) -> dict[str, list[str]]:
        try:
            return await fields(request)
        except BadQuestion:
            raise FeedbackRefused(422, LONG) from None
        except Elsewhere:
            raise FeedbackRefused(403, ELSEWHERE) from None

    async def _visitor(self, request: Request, sent: Mapping[str, list[str]]) -> Visitor:
        try:
            visitor = self._visitors.of(request, _first(sent, "identity"))
            await self._visitors.count(visitor)
        except BadIdentity as error:
            raise FeedbackRefused(401, str(error)) from None
        except TooMany as error:
            raise FeedbackRefused(429, OFTEN.format(seconds=error.seconds)) from None
        return visitor

    async def _stored(self, keeping: Awaitable[Any]) -> Any:
        try:
            return await keeping
        except NotStored as error:
            raise FeedbackRefused(404 if str(error) == GONE else 503, str(error)) from None

    async def _for_everybody(self, id: str) -> tuple[NewQuestion, str]:
        """A question with its answer, for the public. Omits what is not public: the answer, or the
        page on which it was asked and the text selected there."""
        if (ask := self._pending.get(id)) is not None:
            # The model also received the earlier turns.
            goes_on = bool(ask.groups) and ask.conversation != ask.id
            asked, answered = ask.asked, ask.answered("answered")
            may = not goes_on
        else:
            stored: StoredQuestion = await self._stored(self._journal.get(id))
            asked, answered, may = stored.asked, stored.answered, True
        may = may and await self._gateway.may_open(answered, frozenset())
        if not await self._gateway.may_read([asked.page], frozenset(), may):
            asked = replace(asked, page="", quote="")
        return asked, answered.answer if may else ""

    async def _reply(
        self,
        request: Request,
        sent: Mapping[str, list[str]],
        id: str,
        fragment: str,
        status: int,
        root: str = "",
        ballot: Ballot | None = None,
    ) -> Response:
        """The fragment, or without JavaScript the whole page, which shows `ballot` in its place."""
        if "hx-request" in request.headers:
            return HTMLResponse(fragment, status)
        form = {field: values[0] for field, values in sent.items()}
        groups = self._visitors.groups(request, form.get("identity", ""))
        known = await self._opening.find(name(id), groups) if id else None
        article = ""
        if known and isinstance(known.end, Done):
            article = self._views.finished(known, known.end, _first(sent, "token"), root, ballot)
        if not (article and ballot):
            article += fragment
        page = await self._box.render(request, form, article=article, root=root)
        return HTMLResponse(page, status)


def _first(sent: Mapping[str, list[str]], field: str) -> str:
    return sent.get(field, [""])[0]


def _vote(vote: str, reasons: tuple[Reason, ...], text: str) -> Vote:
    if len(text) > MAX_TEXT:
        raise FeedbackRefused(422, LONG)
    for direction in get_args(Direction):
        if direction == vote:
            return Vote(direction, reasons, without(text).strip())
    raise FeedbackRefused(422, "This vote was not understood. Please load the page again.")
