"""The specification of a wiki, as a user types it and as the index stores it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args
from urllib.parse import urlsplit, urlunsplit

from core.errors import AskdocsError
from wiki.sources.addresses import refuse_password
from wiki.sources.apart import Apart
from wiki.sources.flavour import Generator
from wiki.sources.git_address import Address
from wiki.sources.services.addresses import (
    ADDRESSES,
    APIS,
    is_github,
    is_gitlab,
    is_notion,
)

FOLLOWED = ("git", "github", "gitlab")
"""Kinds with a feed of edited pages, see `wiki.sources.source.Followed`."""
SERVICES = ("site", "git", *APIS)
"""Kinds that are read from an address."""
KINDS = (*get_args(Generator), "html", *SERVICES, "preview")


@dataclass(frozen=True)
class Spec:
    """The location of a wiki, and how to read it."""

    place: str
    """An absolute folder, or the address of a site. It is the source's name in the index."""
    kind: str | None
    """One of KINDS; None detects a folder's kind. A preview is Markdown of any generator, as shown
    on the site of `askdocs up`."""
    site_url: str
    """The prefix of a folder's page addresses; empty: use the generator's settings."""

    @classmethod
    def named(cls, text: str, kind: str | None = None, site_url: str = "") -> Self:
        """Parses a wiki as a user specifies it.

        Args:
            text: a folder, or an address that starts with http:// or https://.
            kind: one of KINDS, instead of detecting it.
            site_url: see `site_url`; a site has only its own address.

        Raises:
            AskdocsError: the kind is unknown or does not fit.
        """
        if kind is not None and kind not in KINDS:
            raise AskdocsError(f"the kind {kind!r} is unknown: use one of {', '.join(KINDS)}")
        refuse_password(site_url)
        if site_url and not is_address(site_url):
            raise AskdocsError(f"the site's address {site_url!r} does not begin with https://")
        if is_address(text):
            refuse_password(text)
            if kind not in (None, *SERVICES):
                raise AskdocsError(f"{text} is the address of a site, not a folder of {kind}")
            return cls(*_service(text, kind, site_url))
        if kind in SERVICES:
            raise AskdocsError(f"{text} is not the address of a {kind}: write it with https://")
        # Resolve `..`, so that a folder has one name; keep links as written.
        return cls(os.path.abspath(text), kind, site_url)

    @classmethod
    def remembered(cls, name: str, stored: Mapping[str, Any]) -> Self:
        """Restores a previously synced wiki. The inverse of `stored`."""
        return cls(name, stored.get("kind"), stored.get("site_url") or "")

    @property
    def stored(self) -> dict[str, Any]:
        """The data that the index stores with the pages."""
        return {"kind": self.kind, "site_url": self.site_url}

    @property
    def folder(self) -> Path | None:
        """The wiki's folder; None for a site or a service."""
        return None if self.kind in SERVICES else Path(self.place)

    @property
    def is_followed(self) -> bool:
        """Does the service have a feed of edited pages?"""
        return self.kind in FOLLOWED

    def open(self) -> Apart:
        """Opens the reader of the wiki, in a separate process."""
        return Apart(self.place, self.kind, self.site_url)


def _service(text: str, kind: str | None, site_url: str) -> tuple[str, str, str]:
    """The place, kind and site URL of an address."""
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
    """Normalises an address, so that a site has one name."""
    parts = urlsplit(text.strip())
    scheme, host = parts.scheme.lower(), parts.netloc.lower()
    return urlunsplit((scheme, host, parts.path or "/", parts.query, ""))


def is_address(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))
