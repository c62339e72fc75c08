"""May a reader read the pages that a kept answer stands on? Asked whenever it is shown."""

from collections.abc import Mapping
from typing import Any

from gateway.http import ApiError
from gateway.search.index import Index

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


def readable(view: Index, is_open: bool, urls: list[str]) -> list[bool]:
    """Of each page. One that is not there (any more) only where nothing has rights: `is_open`."""
    with view.snapshot():
        return [is_open or view.by_url(url) is not None for url in urls]
