"""An OpenAPI description of the widget, which Schemathesis reads.

Paths come from the app's routes; form fields and responses are described here.
"""

from typing import Any, NamedTuple, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from widget.service.pending import MAX_QUESTION
from widget.service.store import Direction

Schema = dict[str, Any]
JSON, HTML, FORM = "application/json", "text/html", "application/x-www-form-urlencoded"
_TEXT: Schema = {"type": "string"}
_ANYTHING: Schema = {}


class Route(NamedTuple):
    """A method of a path."""

    summary: str
    answers: dict[int, tuple[str, ...]]
    """Media types by status; none for responses without a body."""
    fields: dict[str, Schema] | None = None
    """Form fields. All are optional here: the routes report missing ones in words."""
    asked: tuple[str, ...] = ()
    """Query parameters."""


_PAGE = {"page": _TEXT, "lang": _TEXT, "token": _TEXT, "identity": _TEXT}
_ASK = {
    "question": {"type": "string", "maxLength": MAX_QUESTION},
    "quote": _TEXT,
    **_PAGE,
}
_VOTE = {"ask": _TEXT, "vote": {"type": "string", "enum": list(get_args(Direction))}}
_DRAFT = dict.fromkeys(("question", "answer", "page", "section", "unanswerable"), _TEXT)
_CHANGE = {**_DRAFT, "action": _TEXT, "version": _TEXT, "to": _TEXT}
_BOX = ("page", "lang", "title", "placeholder", "examples", "mode", "scheme", "accent", "shortcut")
_REFUSED: dict[int, tuple[str, ...]] = dict.fromkeys((401, 403, 404, 422, 429, 503), (HTML,))
_REVIEW: dict[int, tuple[str, ...]] = dict.fromkeys((200, 401, 403, 404, 503), (HTML,))
_FORM: dict[int, tuple[str, ...]] = {**_REVIEW, 422: (HTML,)}
# The routes themselves report invalid numbers and ids.
_ONE: dict[int, tuple[str, ...]] = {**_REVIEW, 404: (HTML, JSON)}
_ID: dict[int, tuple[str, ...]] = {422: (JSON, HTML)}

ROUTES: dict[tuple[str, str], Route] = {
    ("get", "/health"): Route("Is the widget alive?", {200: (JSON,)}),
    ("get", "/metrics"): Route("Metrics for Prometheus", {200: ("text/plain",), 404: (JSON, HTML)}),
    ("get", "/"): Route("The page that shows the box", {200: (HTML,)}),
    ("get", "/embed.js"): Route(
        "The script for wikis", {200: ("text/javascript", "application/javascript"), 304: ()}
    ),
    ("get", "/static/{name}"): Route(
        "Scripts and styles of the box", {200: ("*/*",), 304: (), 404: (JSON,)}
    ),
    ("get", "/box"): Route("The box, for a frame", {200: (HTML,)}, asked=(*_BOX, "ask", "quote")),
    ("post", "/token"): Route(
        "A fresh token for the box", {200: (JSON,), 403: (JSON,), 422: (JSON,)}, _PAGE
    ),
    ("post", "/asks"): Route("Ask a question", {200: (HTML,), **_REFUSED}, _ASK),
    ("get", "/asks/{id}/events"): Route("Stream an answer", {200: ("text/event-stream",), **_ID}),
    ("post", "/asks/{id}/stop"): Route("Stop an answer", {204: (), 403: (HTML,), **_ID}, {}),
    ("post", "/asks/{id}/share"): Route(
        "Create a link to an answer", {200: (HTML,), 303: (), **_REFUSED, **_ID}, _PAGE
    ),
    ("post", "/asks/{id}/handoff"): Route(
        "Hand a question on to people", {200: (HTML,), **_REFUSED, **_ID, 502: (HTML,)}, _PAGE
    ),
    ("post", "/votes"): Route(
        "Vote on an answer",
        {200: (HTML,), **_REFUSED},
        {**_VOTE, "reason": {"type": "array", "items": _TEXT}, "text": _TEXT, **_PAGE},
    ),
    ("get", "/shared/{token}"): Route("A shared answer", {200: (HTML,), 404: (HTML,)}),
    ("get", "/review"): Route(
        "Questions to review",
        {**_REVIEW, 303: ()},
        asked=("state", "kind", "channel", "alias", "words", "start"),
    ),
    ("post", "/review"): Route("Sign in to the review", {**_FORM, 303: ()}, {"key": _TEXT}),
    ("post", "/review/sign-out"): Route("Sign out of the review", {**_FORM, 303: ()}, {}),
    ("get", "/review/gaps"): Route("Gaps in the wiki", _REVIEW),
    ("get", "/review/gaps.csv"): Route("The same as CSV", {**_REVIEW, 200: ("text/csv",)}),
    ("get", "/review/analytics"): Route("Answer statistics", _REVIEW, asked=("days",)),
    ("get", "/review/analytics.json"): Route(
        "The same as JSON", {**_REVIEW, 200: (JSON,)}, asked=("days",)
    ),
    ("get", "/review/words"): Route("Words of readers", _REVIEW, asked=("did",)),
    ("post", "/review/words"): Route(
        "Decide about a pair of words",
        {**_FORM, 303: ()},
        {"word": _TEXT, "other": _TEXT, "action": _TEXT},
    ),
    ("get", "/review/pages"): Route("Pages to choose from", _REVIEW, asked=("page",)),
    ("post", "/review/preview"): Route("Preview an answer", _FORM, _DRAFT),
    ("get", "/review/{cluster}"): Route("One question", _ONE),
    ("post", "/review/{cluster}"): Route(
        "Save, approve or undo an answer", {**_FORM, **_ONE, 303: (), 409: (HTML,)}, _CHANGE
    ),
    ("get", "/review/{cluster}/why"): Route(
        "Why the pages of a question were found", _ONE, asked=("question",)
    ),
    ("post", "/review/{cluster}/apart"): Route(
        "Remove a question from its cluster", {**_FORM, **_ONE, 303: ()}, {"question": _TEXT}
    ),
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Describe all routes. Raises KeyError: a route is missing from `ROUTES`."""
    described = get_openapi(
        title="askdocs widget",
        version="1",
        openapi_version="3.1.0",
        routes=app.routes,
    )
    described.pop("components", None)
    for path, item in described["paths"].items():
        for method, operation in item.items():
            route = ROUTES[method, path]
            operation["summary"] = route.summary
            operation.pop("operationId", None)
            operation["responses"] = {
                str(status): {
                    "description": "",
                    "content": {kind: {"schema": _ANYTHING} for kind in kinds},
                }
                for status, kinds in route.answers.items()
            }
            if route.asked:
                operation.setdefault("parameters", []).extend(
                    {"name": name, "in": "query", "schema": _TEXT} for name in route.asked
                )
            if route.fields is not None:
                form = {"type": "object", "properties": route.fields}
                operation["requestBody"] = {"content": {FORM: {"schema": form}}}
    return described
