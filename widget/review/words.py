"""The review's page of words: pairs to decide about, and those in use."""

from typing import Annotated, get_args

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from gateway.core.settings import load
from gateway.knowledge.search import decided_words
from gateway.knowledge.search.config import SearchSettings
from gateway.knowledge.search.decided_words import BadPair, Decision
from widget.review.access import Access, Reviewer
from widget.review.forms import Posted
from widget.review.proposals import proposals
from widget.review.views import Views
from widget.review.wiki import ReviewIndex


def add_routes(
    routes: APIRouter, views: Views, access: Access, engine: sa.Engine, wiki: ReviewIndex
) -> None:
    """Add the page and its form."""
    Who = Annotated[Reviewer, Depends(access.reviewer)]

    @routes.get("/words")
    def show(request: Request, who: Who) -> Response:
        return page(request, who)

    @routes.post("/words")
    def decide(request: Request, who: Who, sent: Posted) -> Response:
        decisions: tuple[Decision, ...] = get_args(Decision)
        decision = next((known for known in decisions if known == sent.get("action")), None)
        word, other = sent.get("word", ""), sent.get("other", "")
        try:
            if decision is None:
                raise BadPair("Choose what to do with the pair.")
            pair = decided_words.pair_of(word, other)
            changed = decided_words.decide(engine, pair, decision, who.name, _configured())
        except BadPair as error:
            return page(request, who, str(error), (word[:200], other[:200]))
        return RedirectResponse(f"words?did={decision if changed else 'nothing'}", 303)

    def page(
        request: Request, who: Reviewer, problem: str = "", typed: tuple[str, str] = ("", "")
    ) -> Response:
        return views.page(
            request,
            "words.html",
            status=422 if problem else 200,
            who=who.name,
            proposals=proposals(engine, who.reader, wiki),
            has_wiki=wiki.is_there,
            added=decided_words.added(engine),
            configured=_configured(),
            typed=typed,
            problem=problem,
            did="" if problem else request.query_params.get("did", ""),
        )


def _configured() -> dict[str, list[str]]:
    return load(SearchSettings).glossary
