"""Requests to the API of a MediaWiki.

https://www.mediawiki.org/wiki/API:Query
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from gateway.core.errors import AskdocsError
from gateway.knowledge.sources.documents import reading
from gateway.knowledge.sources.services.api import Api, ServiceRefused, listed, mapping

Row = Mapping[str, Any]

# Titles per request, and their bytes in its address.
_PART = 50
_LONGEST = 4_000
_MOST = 100_000
# Error codes with status 200: the token is rejected for all pages.
_NO_ENTRY = ("mwoauth-", "readapidenied")


class MediaWikiApi:
    """A client for one wiki."""

    def __init__(self, api: Api, name: str) -> None:
        """`name` is the source's name, for errors."""
        self._api = api
        self._name = name

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

    def users_of(self, titles: Collection[str], namespaces: Collection[str]) -> dict[str, Row]:
        """The pages of namespaces that include any of `titles`, such as templates."""
        users: dict[str, Row] = {}
        for part in _parts(titles):
            users.update(
                self._rows(
                    "pages", generator="transcludedin", titles=part, gtishow="!redirect",
                    gtinamespace="|".join(namespaces), gtilimit="max", prop="info", inprop="url",
                )
            )  # fmt: skip
        return users

    def info(self, key: str, values: Collection[str]) -> Iterator[Row]:
        """Yields information on pages by `titles` or `pageids`, including whether they are gone."""
        for part in _parts(values):
            answer = self.query(prop="info", inprop="url", **{key: part})
            yield from map(mapping, listed(mapping(answer.get("query")).get("pages")))

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

    def parts(self, **parameters: Any) -> Iterator[Mapping[str, Any]]:
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
        raise AskdocsError(f"{self._name}: the list of changes or pages has no end")

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
        for part in self.parts(**parameters):
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


def _parts(values: Collection[str]) -> Iterator[str]:
    """Splits values into the parts that one request accepts."""
    part: list[str] = []
    length = 0
    for value in values:
        length += len(quote(value)) + 3
        if part and (len(part) == _PART or length > _LONGEST):
            yield "|".join(part)
            part, length = [], len(quote(value)) + 3
        part.append(value)
    if part:
        yield "|".join(part)
