"""The review's forms, which only its own pages may send."""

from typing import Annotated

from fastapi import Depends, Request

from widget.access.forms import Elsewhere, form
from widget.review.access import AccessRefused
from widget.service.pending import BadQuestion

ELSEWHERE = "This form was not sent from the review itself, so it was not taken."


async def _posted(request: Request) -> dict[str, str]:
    try:
        return await form(request)
    except BadQuestion as error:
        raise AccessRefused(422, str(error)) from error
    except Elsewhere:
        raise AccessRefused(403, ELSEWHERE) from None


Posted = Annotated[dict[str, str], Depends(_posted)]
