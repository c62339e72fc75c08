"""MediaWiki through its API: every public page, rendered by the wiki itself, and its documents.

A sync lists all pages, some hundreds in a request, and reads those whose last revision, or last
change of a template that they include, is not in the index. Uploaded files are an option.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.rights import EVERYBODY, Groups, foreign, simplified
from wiki.sources import html
from wiki.sources.documents import attached, reading
from wiki.sources.services.api import Api, ServiceRefused, listed, mapping
from wiki.sources.services.items import SyncState
from wiki.sources.services.mediawiki_api import MediaWikiApi
from wiki.sources.services.service import Service
from wiki.sources.services.stamps import Stamp
from wiki.sources.source import Broken, Expected, Item, LeftOut
from wiki.sources.tokens import Token

_SCRIPTS = ("/api.php", "/index.php")
# The end of an uploaded file's path, after the number of its page.
_FILE = "/file"


class MediaWiki(Service):
    """A MediaWiki."""

    def __init__(
        self, place: str, token: Token | None, rate: float, rights: bool, files: bool = False
    ) -> None:
        """
        Args:
            place: the address of `api.php` or `index.php`.
            token: the access token, of an owner-only OAuth consumer.
            rate: maximum requests per second.
            rights: import the wiki's readers from its groups.
            files: read uploaded documents, too.
        """
        split = urlsplit(place)
        folder = split.path
        for script in _SCRIPTS:
            folder = folder.removesuffix(script)
        base = f"{split.scheme}://{split.netloc}{folder.rstrip('/')}"
        super().__init__(place, base, token, rate)
        self._rights = rights
        self._files = files

    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]:
        wiki = MediaWikiApi(api, self.name)
        about = wiki.about()
        groups = _readers(about) if self._rights else None
        rows = dict(wiki.pages(_namespaces(about)))
        if not rows and not memory.known:
            raise AskdocsError(f"{self.name} has no page that may be read")
        files = dict(wiki.files()) if self._files else {}
        yield Expected(len(rows) + len(files))
        for path, row in rows.items():
            stamp = _stamp(row, groups)
            yield memory.unread(path, groups, stamp) or self._page(
                wiki, memory, path, row, stamp, groups
            )
        for path, row in files.items():
            yield self._file(wiki, memory, path + _FILE, row, groups)
        yield memory.state()

    def _page(
        self,
        wiki: MediaWikiApi,
        memory: SyncState,
        path: str,
        row: Mapping[str, Any],
        stamp: str,
        groups: Groups | None,
    ) -> Item:
        title = str(row.get("title"))
        try:
            text = wiki.text(path)
        except ServiceRefused as error:
            return Broken(path, str(error), groups)
        url = str(row["canonicalurl"])
        whole = (
            '<!doctype html><meta name="generator" content="MediaWiki"><body>'
            f'<div id="content" role="main"><div id="mw-content-text">{text}</div></div>'
        )
        return memory.read(
            path, groups, stamp, lambda: replace(html.page(whole, path, url), title=title)
        )

    def _file(
        self,
        wiki: MediaWikiApi,
        memory: SyncState,
        path: str,
        row: Mapping[str, Any],
        groups: Groups | None,
    ) -> Item:
        _, _, name = str(row.get("title")).partition(":")
        [about] = [mapping(info) for info in listed(row.get("imageinfo"))[:1]] or [{}]
        url, size = str(about.get("url") or ""), about.get("size")
        if not url or not about.get("sha1"):
            return Broken(path, "the service does not report its address", groups)
        media_type = str(about.get("mime"))
        if why := attached.why_not(name, media_type, size if isinstance(size, int) else 0):
            return LeftOut(path, why)
        stamp = str(Stamp.of(f"{reading.VERSION} {about['sha1']} {url}", groups))
        if item := memory.unread(path, groups, stamp):
            return item
        try:
            data = wiki.file(url)
        except ServiceRefused as error:
            return Broken(path, str(error), groups)

        def page() -> Page:
            return attached.page(data, name, path, url)

        return memory.read(path, groups, stamp, page)


def _stamp(row: Mapping[str, Any], groups: Groups | None) -> str:
    return str(Stamp.of(f"{row.get('lastrevid')} {row.get('touched')}", groups))


def _namespaces(about: Mapping[str, Any]) -> list[str]:
    """The numbers of the namespaces with the wiki's content, from its `siteinfo`."""
    spaces = map(mapping, mapping(about.get("namespaces")).values())
    return [str(space.get("id")) for space in spaces if space.get("content") is True] or ["0"]


def _readers(about: Mapping[str, Any]) -> Groups:
    """The groups that may read; in MediaWiki this is a right for the whole wiki."""
    names = [
        mapping(group).get("name")
        for group in listed(about.get("usergroups"))
        if "read" in listed(mapping(group).get("rights"))
    ]
    return simplified(
        [[EVERYBODY if name == "*" else foreign(name, "mediawiki") for name in names]]
    )
