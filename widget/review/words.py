"""The review's page of words: the pairs in use, and a form to add one."""

from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from core.settings import load
from widget.review.access import Access, Reviewer
from widget.review.forms import Posted
from widget.review.views import Views
from wiki.search import glossary_table
from wiki.search.config import SearchSettings
from wiki.search.glossary_table import BadPair


def add_routes(routes: APIRouter, views: Views, access: Access, engine: sa.Engine) -> None:
    """Add the page and its form."""
    Who = Annotated[Reviewer, Depends(access.reviewer)]

    @routes.get("/words")
    def show(request: Request, who: Who) -> Response:
        return page(request, who)

    @routes.post("/words")
    def decide(request: Request, who: Who, sent: Posted) -> Response:
        word, other, action = (sent.get(name, "") for name in ("word", "other", "action"))
        try:
            pair = glossary_table.pair_of(word, other)
            if action not in ("add", "remove"):
                raise BadPair("Choose what to do with the pair.")
            if action == "remove":
                changed = glossary_table.remove(engine, pair, who.name)
            else:
                changed = glossary_table.add(engine, pair, who.name, _configured())
        except BadPair as error:
            return page(request, who, str(error), (word[:200], other[:200]))
        return RedirectResponse(f"words?did={action if changed else 'nothing'}", 303)

    def page(
        request: Request, who: Reviewer, problem: str = "", typed: tuple[str, str] = ("", "")
    ) -> Response:
        return views.page(
            request,
            "words.html",
            status=422 if problem else 200,
            who=who.name,
            added=glossary_table.added(engine),
            configured=_configured(),
            typed=typed,
            problem=problem,
            did="" if problem else request.query_params.get("did", ""),
        )


def _configured() -> dict[str, list[str]]:
    return load(SearchSettings).glossary
