"""Checks that a reader may read the pages of a stored answer, each time it is shown.

Readers with access to everything also get each page's access requirements, so that the widget can
hide stored answers when a page has since been restricted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.http.asgi import ApiError
from wiki.index.view import Rights
from wiki.rights import NOBODY, Reader, shown

PATH = "/askdocs/readable"
MOST = 500


def urls(request: Mapping[str, Any]) -> list[str]:
    """Raises ApiError 400, with `param`: the field is missing or wrong."""
    addresses = request.get("urls")
    if not isinstance(addresses, list) or not all(isinstance(url, str) for url in addresses):
        raise ApiError(400, "urls must be a list of addresses of pages", param="urls")
    if len(addresses) > MOST:
        raise ApiError(
            400, f"urls has {len(addresses):,} addresses; {MOST} are allowed", param="urls"
        )
    return addresses


def answer(
    rights: Rights, reader: Reader, sources: Sequence[str], urls: list[str]
) -> dict[str, Any]:
    """Reports which pages the reader may read. Missing pages are readable only without rights.

    `sources`: the wikis that the key reaches, or empty for all. Pages of other wikis are missing.
    """
    view = rights.seen_by(reader)
    with view.snapshot():
        is_open = rights.access() is None
        pages = [view.by_url(url) for url in urls]
        if sources:
            inside = view.of(sources)
            pages = [page if page and view.number(page) in inside else None for page in pages]
        reply: dict[str, Any] = {"readable": [is_open or page is not None for page in pages]}
        if reader.groups is None:
            closed = shown(() if is_open else NOBODY)
            reply["readers"] = [shown(view.readers([page])) if page else closed for page in pages]
            reply["known"] = [page is not None for page in pages]
            reply["revision"] = rights.revision()
        return reply
