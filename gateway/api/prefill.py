"""`POST /askdocs/warm`: prefill pages and report on each. `askdocs docs warm` uses it."""

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from gateway.core.errors import AskdocsError
from gateway.core.http import ApiError, engine_away, event
from gateway.knowledge.wiki.page import Page
from gateway.upstream.prefill.warmer import Warmer

PATH = "/askdocs/warm"


async def chosen(warmer: Warmer, request: dict[str, Any]) -> list[Page]:
    """Returns the pages that a request selects by `pages` (paths or addresses) or `top`; else all.

    Raises ApiError: a page is not in the index, or `top` is not a number.
    """
    names = request.get("pages")
    if names is not None and not (isinstance(names, list) and set(map(type, names)) <= {str}):
        raise ApiError(400, "pages must be a list of paths", param="pages")
    if names:
        by_name = {name: warmer.find(name) for name in names}
        for name, page in by_name.items():
            if page is None:
                text = f"there is no page {name[:200]!r}: `askdocs docs list` shows the paths"
                raise ApiError(404, text, param="pages", code="no_such_page")
        return [page for page in by_name.values() if page]
    top = request.get("top")
    if top is not None and not (type(top) is int and top > 0):
        raise ApiError(400, f"top must be a number above 0 (it is {top!r})", param="top")
    return (await warmer.order())[:top]


async def events(warmer: Warmer, pages: Sequence[Page]) -> AsyncGenerator[bytes, None]:
    """Sends an event per page, then the totals. Raises ApiError: the engine is unavailable."""
    began = time.monotonic()
    tokens = warm = 0
    yield event({"total": len(pages)})
    try:
        async for page, cost, seconds, how in warmer.warm(pages):
            if how != "too large":
                warm += 1
                tokens += cost
            progress = {"page": page.path, "tokens": cost, "seconds": round(seconds, 3), "how": how}
            yield event(progress)
    except httpx.HTTPError:
        raise engine_away() from None
    except AskdocsError as error:
        raise ApiError(409, str(error), code="cannot_warm") from None
    seconds = round(time.monotonic() - began, 3)
    yield event({"done": True, "pages": warm, "tokens": tokens, "seconds": seconds})
