"""Requests to the API of a MediaWiki.

https://www.mediawiki.org/wiki/API:Query
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from core.errors import AskdocsError
from wiki.sources.documents import reading
from wiki.sources.services.api import Api, ServiceRefused, listed, mapping

Row = Mapping[str, Any]

_MOST = 100_000
# Error codes with status 200: the token is rejected for all pages.
_NO_ENTRY = ("mwoauth-", "readapidenied")


class MediaWikiApi:
    """A client for one wiki."""

    def __init__(self, api: Api, name: str) -> None:
        """`name` is the source's name, for errors."""
        self._api = api
        self._name = name

    def about(self) -> Mapping[str, Any]:
        """The wiki's `siteinfo`: its namespaces and groups."""
        answer = self.query(meta="siteinfo", siprop="general|namespaces|usergroups")
        return mapping(answer.get("query"))

    def pages(self, namespaces: Collection[str]) -> Iterator[tuple[str, Row]]:
        """Yields all pages of namespaces, without redirects, by their numbers."""
        for namespace in namespaces:
            yield from self._rows(
                "pages", generator="allpages", gapnamespace=namespace,
                gapfilterredir="nonredirects", gaplimit="max", prop="info", inprop="url",
            )  # fmt: skip

    def files(self) -> Iterator[tuple[str, Row]]:
        """Yields all uploaded files, by the numbers of their pages."""
        yield from self._rows(
            "files", generator="allimages", gailimit="max", prop="imageinfo|info", inprop="url",
            iiprop="url|size|mime|sha1",
        )  # fmt: skip

    def text(self, number: str) -> str:
        """A page as HTML. Raises ServiceRefused; AskdocsError: the token has expired."""
        answer = mapping(
            self._api.get(
                "/api.php", action="parse", pageid=number, prop="text|displaytitle",
                disableeditsection=1, disablelimitreport=1, format="json", formatversion=2,
            )
        )  # fmt: skip
        if "error" in answer:
            if _code(answer).startswith(_NO_ENTRY):
                raise AskdocsError(
                    f"{self._name}: {self._error(answer)}; pages read so far are kept"
                )
            raise ServiceRefused(self._error(answer))
        text = mapping(answer.get("parse")).get("text")
        if not isinstance(text, str):
            raise ServiceRefused("the service sent no text for it")
        return text

    def file(self, url: str) -> bytes:
        """Downloads an uploaded file. Raises ServiceRefused, also for a file on another host."""
        base, at = urlsplit(self._api.base), urlsplit(urljoin(self._api.base, url))
        if at.netloc.lower() != base.netloc.lower():
            raise ServiceRefused(f"its file is at another host, {at.netloc[:100]}")
        return self._api.file(at._replace(scheme=base.scheme).geturl(), reading.LARGEST)

    def _parts(self, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """Yields the `query` of each part of a list. It is complete only at its end."""
        more: dict[str, Any] = {}
        for _ in range(_MOST):
            answer = self.query(**parameters, **more)
            yield mapping(answer.get("query"))
            following = dict(mapping(answer.get("continue")))
            if not following:
                return
            if following == more:
                break
            more = following
        raise AskdocsError(f"{self._name}: the list of pages has no end")

    def query(self, **parameters: Any) -> Mapping[str, Any]:
        """The answer to a query. Raises AskdocsError if it is invalid."""
        try:
            answer = mapping(
                self._api.get(
                    "/api.php", action="query", format="json", formatversion=2, **parameters
                )
            )
        except ServiceRefused as error:
            raise AskdocsError(
                f"{self._name} {error}: name the address of the wiki's api.php"
            ) from None
        if "error" in answer or ("query" not in answer and "batchcomplete" not in answer):
            raise AskdocsError(f"{self._name}: {self._error(answer)}")
        return answer

    def _rows(self, what: str, **parameters: Any) -> Iterator[tuple[str, Row]]:
        for part in self._parts(**parameters):
            for page in map(mapping, listed(part.get("pages"))):
                if not page.get("pageid") or not page.get("canonicalurl"):
                    raise AskdocsError(f"{self._name}: the list of {what} breaks off: try later")
                yield str(page["pageid"]), page

    def _error(self, answer: Mapping[str, Any]) -> str:
        code = _code(answer) or "an answer that is not from MediaWiki's API"
        if code.startswith((*_NO_ENTRY, "permissiondenied")):
            return f"{code}: set ASKDOCS_SITES_TOKENS='{self._api.host} TOKEN'"
        return code


def _code(answer: Mapping[str, Any]) -> str:
    return str(mapping(answer.get("error")).get("code") or "")[:100]
