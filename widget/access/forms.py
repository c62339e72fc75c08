"""Parses the widget's forms: small, URL-encoded, and accepted only from our own pages."""

import re
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Path
from starlette.requests import Request

from widget.access.security import is_own_post
from widget.service.pending import MAX_QUESTION, BadQuestion

MAX_FORM = 65_536  # bytes; 2,000 percent-encoded characters and a URL need half of it
NAME = "[A-Za-z0-9_-]{8,64}"
ELSEWHERE = "This form was not sent from the box itself, so it was not taken."

AskId = Annotated[str, Path(pattern=f"^{NAME}$")]


class Elsewhere(Exception):
    """The form was not sent from one of our pages."""


async def form(request: Request) -> dict[str, str]:
    """The fields of a form, with one value each. Raises as `fields`."""
    return {field: values[0] for field, values in (await fields(request)).items()}


async def fields(request: Request) -> dict[str, list[str]]:
    """The fields with all their values.

    Raises:
        BadQuestion: the body is too long, or not a form.
        Elsewhere: not from our pages. The body is read first: a proxy may lose the response to a
            request that was not read completely.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise BadQuestion(f"The question is too long; {MAX_QUESTION:,} characters is the most.")
    try:
        values = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=30)
    except ValueError:
        raise BadQuestion("The question could not be read. Please type it again.") from None
    if not is_own_post(request):
        raise Elsewhere
    return values


def name(text: str) -> str:
    """The text if it can be one of our ids, else an empty string."""
    return text if re.fullmatch(NAME, text) else ""
