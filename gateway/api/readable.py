"""Checks that a reader may read the pages of a stored answer, each time it is shown.

Who may read everything is also told what it takes to read each page: so the box closes what it has
stored to whom a page has been closed since.
"""

from collections.abc import Mapping
from typing import Any

from gateway.access.rights import NOBODY, Reader, shown
from gateway.core.http import ApiError
from gateway.knowledge.search.view import Rights

PATH = "/askdocs/readable"
MOST = 500


def urls(request: Mapping[str, Any]) -> list[str]:
    """Raises ApiError 400, with `param`: the field is missing or wrong."""
    found = request.get("urls")
    if not isinstance(found, list) or not all(isinstance(url, str) for url in found):
        raise ApiError(400, "urls must be a list of addresses of pages", param="urls")
    if len(found) > MOST:
        raise ApiError(400, f"urls has {len(found):,} addresses; {MOST} are allowed", param="urls")
    return found


def answer(rights: Rights, reader: Reader, urls: list[str]) -> dict[str, Any]:
    """May the reader read each page? One that is gone only where nothing has rights."""
    view = rights.seen_by(reader)
    with view.snapshot():
        is_open = rights.access() is None
        found = [view.by_url(url) for url in urls]
        told: dict[str, Any] = {"readable": [is_open or page is not None for page in found]}
        if reader.groups is None:
            closed = shown(() if is_open else NOBODY)
            told["readers"] = [shown(view.readers([page])) if page else closed for page in found]
            told["revision"] = rights.revision()
        return told
