"""MediaWiki through its API: every public page, rendered by the wiki itself, and its documents.

A sync reads the pages that `mediawiki_feed` reports, or lists all pages if the feed is incomplete.
Uploaded files are listed at each sync, as an option. A look between two syncs reads the pages of
the newest edits, until it meets only versions that are in the index.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from gateway.access.rights import EVERYBODY, Groups, foreign, simplified
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources import html
from gateway.knowledge.sources.documents import attached, reading
from gateway.knowledge.sources.services.api import Api, ServiceRefused, listed, mapping
from gateway.knowledge.sources.services.items import SyncState
from gateway.knowledge.sources.services.mediawiki_api import MediaWikiApi
from gateway.knowledge.sources.services.mediawiki_feed import Feed
from gateway.knowledge.sources.services.service import Service
from gateway.knowledge.sources.services.stamps import Stamp
from gateway.knowledge.sources.source import Broken, Expected, Item, LeftOut
from gateway.knowledge.sources.tokens import Token
from gateway.knowledge.wiki.page import Page

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
        feed = Feed(wiki)
        groups = _readers(feed.about) if self._rights else None
        changes = feed.since(memory)
        if changes is None:
            rows, gone = dict(wiki.pages(feed.namespaces)), memory.known.keys() | memory.empty
            if not rows and not memory.known:
                raise AskdocsError(f"{self.name} has no page that may be read")
        else:
            rows, gone = changes
        files = dict(wiki.files()) if self._files else {}
        same = [
            path
            for path in sorted(memory.known.keys() | memory.empty)
            if not path.endswith(_FILE) and path not in rows and path not in gone
        ]
        yield Expected(len(rows) + len(same) + len(files))
        for path in same:
            is_empty = path in memory.empty
            yield memory.left_out(path) if is_empty else memory.unchanged(path, groups)
        for path, row in rows.items():
            stamp = _stamp(row, groups)
            yield memory.unread(path, groups, stamp) or self._page(
                wiki, memory, path, row, stamp, groups
            )
        for path, row in files.items():
            yield self._file(wiki, memory, path + _FILE, row, groups)
        yield memory.state(feed.state(None if changes is None else memory))

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
