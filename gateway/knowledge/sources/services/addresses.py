"""What the address of a page in a browser names, where a service's API is somewhere else."""

import re
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from gateway.core.errors import AskdocsError

APIS = ("confluence", "mediawiki", "notion")
"""Kinds of sources that are read through the API of a service."""
_ID = re.compile("[0-9a-f]{32}")
_ENDS_IN_ID = re.compile(r"(?:.*-)?([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def is_notion(host: str) -> bool:
    """Is it where people see their pages? Other hosts of Notion have its documentation."""
    return host in ("notion.so", "www.notion.so", "app.notion.com") or host.endswith(".notion.site")


class NotionAddress(NamedTuple):
    """A page or database of Notion, or all of it."""

    api: str
    """The API's host; where the address is not Notion's, it has the API itself."""
    root: str
    """The id of the page or database; empty for all that the token may read."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises AskdocsError: it should name a page, and has no id."""
        split = urlsplit(url)
        parts = [part for part in split.path.split("/") if part]
        beside = parse_qs(split.query).get("p", [])  # a row, shown beside its database
        named = _ENDS_IN_ID.fullmatch((beside or parts or [""])[-1].lower())
        if not named and (beside or len(parts) > 1):
            raise AskdocsError(
                f"{url} names no page or database of Notion: take its address from"
                " Share > Copy link"
            )
        host = f"{split.scheme}://{split.netloc}"
        api = "https://api.notion.com" if is_notion(split.netloc) else host
        return cls(api, plain_id(named[1]) if named else "")


def plain_id(value: object) -> str:
    """An id of Notion as its addresses have it; empty for what is none."""
    text = str(value or "").replace("-", "").lower()
    return text if _ID.fullmatch(text) else ""
