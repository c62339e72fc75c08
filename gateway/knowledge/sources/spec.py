"""The specification of a wiki, as a user types it and as the index stores it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args
from urllib.parse import urlsplit, urlunsplit

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.addresses import refuse_password
from gateway.knowledge.sources.apart import Apart
from gateway.knowledge.sources.flavour import Generator
from gateway.knowledge.sources.git_address import Address
from gateway.knowledge.sources.services.addresses import (
    ADDRESSES,
    APIS,
    is_github,
    is_gitlab,
    is_notion,
)
from gateway.knowledge.sources.source import Source

SERVICES = ("site", "git", *APIS)
"""Kinds that are read at an address."""
KINDS = (*get_args(Generator), "html", *SERVICES, "preview")


@dataclass(frozen=True)
class Spec:
    """A wiki's place, and how it is read."""

    place: str
    """An absolute folder, or the address of a site. It is the source's name in the index."""
    kind: str | None
    """One of KINDS; None for a folder that is looked at to find out. A preview is Markdown of any
    generator as the site of `askdocs up` shows it."""
    site_url: str
    """What the addresses of a folder's pages begin with; empty: the generator's settings say it."""

    @classmethod
    def named(cls, text: str, kind: str | None = None, site_url: str = "") -> Self:
        """The wiki that a person means.

        Args:
            text: a folder, or an address that begins with http:// or https://.
            kind: one of KINDS, where it shall not be found out.
            site_url: see `site_url`; a site has none but its own address.

        Raises:
            AskdocsError: no such kind, or one that does not fit.
        """
        if kind is not None and kind not in KINDS:
            raise AskdocsError(f"the kind {kind!r} is none of {', '.join(KINDS)}")
        refuse_password(site_url)
        if site_url and not is_address(site_url):
            raise AskdocsError(f"the site's address {site_url!r} does not begin with https://")
        if is_address(text):
            refuse_password(text)
            if kind not in (None, *SERVICES):
                raise AskdocsError(f"{text} is the address of a site, and no folder of {kind}")
            return cls(*_service(text, kind, site_url))
        if kind in SERVICES:
            raise AskdocsError(f"{text} is not the address of a {kind}: write it with https://")
        # Without `..`, so that a folder has one name; links stay as they are written.
        return cls(os.path.abspath(text), kind, site_url)

    @classmethod
    def remembered(cls, name: str, stored: Mapping[str, Any]) -> Self:
        """The wiki that was synced before. The inverse of `stored`."""
        return cls(name, stored.get("kind"), stored.get("site_url") or "")

    @property
    def stored(self) -> dict[str, Any]:
        """What the index keeps with the pages."""
        return {"kind": self.kind, "site_url": self.site_url}

    @property
    def folder(self) -> Path | None:
        """None for a site or a service."""
        return None if self.kind in SERVICES else Path(self.place)

    def open(self) -> Source:
        """What the wiki is read with, in a process of its own."""
        return Apart(self.place, self.kind, self.site_url)


def _service(text: str, kind: str | None, site_url: str) -> tuple[str, str, str]:
    """Place, kind and site of an address."""
    path = urlsplit(text.strip()).path
    if kind == "git" or (kind is None and path.rstrip("/").endswith(".git")):
        url, mark, part = text.strip().partition("#")
        place = _address(url) + mark + part
        Address.parse(place)
        return place, "git", site_url
    if kind is None and (page := _WIKI_PAGE.match(text.strip())):
        raise AskdocsError(f"{text} is a page of a Git wiki: sync {page[1]}.wiki.git")
    if kind is None:
        kind, host = "site", urlsplit(text).netloc.lower()
        if host.endswith(".atlassian.net"):
            kind = "confluence"
        elif is_notion(host):
            kind = "notion"
        elif is_github(host, path):
            kind = "github"
        elif is_gitlab(path):
            kind = "gitlab"
        elif path.endswith(("/api.php", "/index.php")):
            kind = "mediawiki"
    if parsed := ADDRESSES.get(kind):
        parsed.parse(text.strip())
    return _address(text), kind, ""


_WIKI_PAGE = re.compile(
    r"(https?://github\.com/[^/]+/[^/]+(?=/wiki(?:/|$))|https?://[^?#]+?(?=/-/wikis(?:/|$)))",
    re.IGNORECASE,
)


def _address(text: str) -> str:
    """As all ways to write it, so that a site has one name."""
    parts = urlsplit(text.strip())
    scheme, host = parts.scheme.lower(), parts.netloc.lower()
    return urlunsplit((scheme, host, parts.path or "/", parts.query, ""))


def is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))
