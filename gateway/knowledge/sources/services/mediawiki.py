"""MediaWiki through its API: every public page, rendered by the wiki itself.

A sync lists all pages with their last revision, and reads those that changed. What recent changes
say is in that list, and deletions are, too, however long ago the last sync was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from gateway.access.rights import EVERYBODY, Groups, foreign, simplified
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources import html
from gateway.knowledge.sources.services import items
from gateway.knowledge.sources.services.api import Api, Refused, listed, mapping
from gateway.knowledge.sources.services.stamps import Stamp
from gateway.knowledge.sources.source import Broken, Expected, Item
from gateway.knowledge.sources.tokens import Token

_SCRIPTS = ("/api.php", "/index.php")
# Titles that one request may ask about.
_PART = 50
_MOST = 1_000_000


class MediaWiki:
    """Implements `gateway.knowledge.sources.source.Source`."""

    def __init__(self, place: str, token: Token | None, rate: float, rights: bool) -> None:
        """
        Args:
            place: the address of `api.php` or `index.php`.
            token: what lets us in: of OAuth, as its owner alone has it.
            rate: requests a second at most.
            rights: take who may read the wiki from its groups.
        """
        self.name = place
        split = urlsplit(place)
        folder = split.path
        for script in _SCRIPTS:
            folder = folder.removesuffix(script)
        self._base = f"{split.scheme}://{split.netloc}{folder.rstrip('/')}"
        self._token = token
        self._rate = rate
        self._rights = rights

    def read(self, known: Mapping[str, str]) -> Iterator[Item]:
        """See `gateway.knowledge.sources.source.Source.read`.

        Raises:
            AskdocsError: it cannot be reached, does not let us in, or has no page.
        """
        api = Api(self._base, self._token, self._rate)
        try:
            yield from self._read(api, known)
        finally:
            api.close()

    def _read(self, api: Api, known: Mapping[str, str]) -> Iterator[Item]:
        about = self._query(api, meta="siteinfo", siprop="general|namespaces|usergroups|statistics")
        groups = _readers(about) if self._rights else None
        spaces = mapping(about.get("namespaces")).values()
        content = [
            str(mapping(one).get("id")) for one in spaces if mapping(one).get("content") is True
        ]
        rows: dict[str, Mapping[str, Any]] = {}
        for space in content or ["0"]:
            rows.update(self._list(api, space))
        if not rows and not known:
            raise AskdocsError(f"{self.name} has no page that may be read")
        yield Expected(len(rows))
        for path, row in rows.items():
            stamp = str(Stamp.of(f"{row.get('lastrevid')} {row.get('touched')}", groups))
            item = items.unread(path, groups, stamp, known)
            yield item or self._page(api, path, row, stamp, groups)

    def _list(self, api: Api, space: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The pages of a namespace, without redirects, by their paths."""
        parameters = {
            "generator": "allpages", "gapnamespace": space, "gapfilterredir": "nonredirects",
            "gaplimit": _PART, "prop": "info", "inprop": "url",
        }  # fmt: skip
        more: dict[str, Any] = {}
        for _ in range(_MOST):
            answer = self._answer(api, **parameters, **more)
            for one in listed(mapping(answer.get("query")).get("pages")):
                if not mapping(one).get("pageid") or not mapping(one).get("canonicalurl"):
                    raise AskdocsError(f"{self.name}: the list of pages breaks off: try later")
                yield str(one["pageid"]), one
            more = dict(mapping(answer.get("continue")))
            if not more:
                return
        raise AskdocsError(f"{self.name}: the list of pages has no end")

    def _page(
        self, api: Api, path: str, row: Mapping[str, Any], stamp: str, groups: Groups | None
    ) -> Item:
        title = str(row.get("title"))
        try:
            answer = mapping(
                api.get(
                    "/api.php", action="parse", pageid=path, prop="text|displaytitle",
                    disableeditsection=1, disablelimitreport=1, format="json", formatversion=2,
                )
            )  # fmt: skip
        except Refused as error:
            return Broken(path, str(error), groups)
        if "error" in answer:
            return Broken(path, self._error(answer), groups)
        text = mapping(answer.get("parse")).get("text")
        if not isinstance(text, str):
            return Broken(path, "the service sent no text for it", groups)
        url = str(row["canonicalurl"])
        whole = (
            '<!doctype html><meta name="generator" content="MediaWiki"><body>'
            f'<div id="content" role="main"><div id="mw-content-text">{text}</div></div>'
        )
        return items.read(
            path, groups, stamp, lambda: replace(html.page(whole, path, url), title=title)
        )

    def _query(self, api: Api, **parameters: Any) -> Mapping[str, Any]:
        return mapping(self._answer(api, **parameters).get("query"))

    def _answer(self, api: Api, **parameters: Any) -> Mapping[str, Any]:
        try:
            answer = mapping(
                api.get("/api.php", action="query", format="json", formatversion=2, **parameters)
            )
        except Refused as error:
            raise AskdocsError(
                f"{self.name} {error}: name the address of the wiki's api.php"
            ) from None
        if "error" in answer or ("query" not in answer and "batchcomplete" not in answer):
            raise AskdocsError(f"{self.name}: {self._error(answer)}")
        return answer

    def _error(self, answer: Mapping[str, Any]) -> str:
        said = mapping(answer.get("error"))
        code = str(said.get("code") or "an answer that is not from MediaWiki's API")[:100]
        if code in ("readapidenied", "permissiondenied"):
            return f"{code}: set ASKDOCS_SITES_TOKENS='{urlsplit(self._base).netloc} TOKEN'"
        return code


def _readers(about: Mapping[str, Any]) -> Groups:
    """The groups that may read; MediaWiki gives or refuses the right for the wiki as a whole."""
    names = [
        mapping(one).get("name")
        for one in listed(about.get("usergroups"))
        if "read" in listed(mapping(one).get("rights"))
    ]
    return simplified(
        [[EVERYBODY if name == "*" else foreign(name, "mediawiki") for name in names]]
    )
