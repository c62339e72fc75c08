"""One crawl of a live site: the pages to request, and the meaning of each response."""

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.sources import bounded, html, sitemap
from wiki.sources.addresses import AMBIGUOUS, is_ambiguous, normal
from wiki.sources.document import decode, head, links, parse
from wiki.sources.fetch import AGENT, Fetcher, FetchFailed, SiteResponse
from wiki.sources.source import (
    COPY,
    NO_TEXT,
    Broken,
    Changed,
    Item,
    LeftOut,
    Unchanged,
)
from wiki.sources.visit import Visit

_FILE = re.compile(
    r"\.(?:7z|avi|bmp|bz2|css|csv|deb|dmg|docx?|eot|epub|exe|gif|gz|ico|iso|jar|jpe?g|js|json|map"
    r"|mov|mp[34]|ods|odt|ogg|otf|pdf|png|pptx?|rpm|rss|svg|tar|tgz|tiff?|ttf|txt|wav|webm|webp"
    r"|whl|woff2?|xlsx?|xml|xz|zip)$",
    re.IGNORECASE,
)
_HTML = ("text/html", "application/xhtml+xml")
_LOGIN = re.compile(
    r"(?:^|[/._-])(?:log-?in|log-?on|sign-?in|sso|saml2?|oauth2?|auth|authorize)(?:$|[/._-])",
    re.IGNORECASE,
)
# After this many consecutive failures, the site is down, rather than the page.
DOWN = 8


class SiteReading:
    """One sync of a site."""

    def __init__(self, fetcher: Fetcher, start: str, known: Mapping[str, str], most: int) -> None:
        self._fetcher = fetcher
        self._start = normal(start)
        self._known = known
        self._most = most
        self._root = ""
        self._listed: dict[str, str] = {}
        """The dates in the sitemap, by address."""
        self._pending: deque[str] = deque()
        self._seen: set[str] = set()
        self._done: set[str] = set()
        """The paths of pages that have been yielded."""
        self._texts: set[str] = set()
        self._crawls = False
        self._failures = 0
        self._read = 1  # the start page

    def run(self) -> Iterator[Item]:
        named = self._fetcher.read_robots()
        first = self._first()
        self._seen = {self._start, normal(first.url)}
        for page in self._sitemap(named):
            self._want(page.url, listed=True)
            self._listed[normal(page.url, query=True)] = page.changed
        self._crawls = not self._listed
        yield from self._take(first, self._listed.get(normal(first.url), ""))
        if self._crawls:
            # An unchanged page has no new links, so its links need not be read again.
            for path in self._known:
                self._want(self._root + path if path != "./" else self._root, listed=True)
        while self._pending:
            url = self._pending.popleft()
            if self._read >= self._most:
                yield from self._stopped(url)
                return
            yield from self._page(url)
        if not self._done:
            raise AskdocsError(f"{self._start} has no page with text that may be read")

    def _first(self) -> SiteResponse:
        """The start page, which determines the site's address, and whether it may be read."""
        if is_ambiguous(self._start):
            raise AskdocsError(f"{self._start} cannot be read: {AMBIGUOUS}")
        if not self._fetcher.may(self._start):
            raise AskdocsError(
                f"{self._start} may not be read: the site's robots.txt disallows it for {AGENT}; "
                "ask the site's owner to allow it"
            )
        try:
            answer = self._fetcher.get(self._start)
        except FetchFailed as error:
            raise AskdocsError(f"{self._start} cannot be read: {error}") from None
        if answer.status in (401, 403, 407) or _asks_to_log_in(answer):
            raise AskdocsError(
                f"{self._start} requires authentication (status {answer.status}): set "
                "ASKDOCS_SITES_HEADERS to the header that grants access, for example"
                f" '{urlsplit(self._start).netloc} Authorization: Bearer ...'"
            )
        if 300 <= answer.status < 400:
            raise AskdocsError(
                f"{self._start} redirects to {answer.url}: name that address instead"
            )
        if answer.status != 200:
            raise AskdocsError(f"{self._start} answers {answer.status}: is the address right?")
        if answer.type not in _HTML:
            raise AskdocsError(
                f"{self._start} is {answer.type or 'nothing known'}, and no page: name the wiki's "
                "start page"
            )
        try:
            with bounded.page("./"):
                self._root = _root(answer)
        except ValueError as error:
            raise AskdocsError(f"{self._start} {error}") from None
        return answer

    def _sitemap(self, named: list[str]) -> list[sitemap.Listed]:
        starts = named or [f"{self._fetcher.origin}/sitemap.xml", f"{self._root}sitemap.xml"]

        def get(address: str) -> bytes | None:
            try:
                if not self._fetcher.is_inside(address):
                    return None
                answer = self._fetcher.get(address)
            except (FetchFailed, ValueError) as error:
                raise AskdocsError(f"the sitemap {address} cannot be read: {error}") from None
            if answer.status == 200:
                return answer.data
            if answer.status >= 500 or answer.status == 429 or address not in starts:
                raise AskdocsError(f"the sitemap {address} answers {answer.status}: try later")
            return None

        try:
            listed = sitemap.every_page(starts, get)
        except ValueError as error:
            raise AskdocsError(f"the sitemap {error}") from None
        return [page for page in listed if self._is_wanted(normal(page.url, query=True))]

    def _want(self, url: str, listed: bool = False) -> None:
        url = normal(url, query=listed)
        if url not in self._seen and self._is_wanted(url):
            self._seen.add(url)
            self._pending.append(url)

    def _is_wanted(self, url: str) -> bool:
        return (
            (url.startswith(self._root) or self._is_root(url))
            and not _FILE.search(urlsplit(url).path)
            and self._fetcher.may(url)
        )

    def _is_root(self, url: str) -> bool:
        return url in (self._root, self._root.removesuffix("/"))

    def _path(self, url: str) -> str:
        return url.removeprefix(self._root) if not self._is_root(url) else "./"

    def _page(self, url: str) -> Iterator[Item]:
        path = self._path(url)
        if is_ambiguous(url):
            yield LeftOut(path, AMBIGUOUS)
            return
        visit = Visit.parse(self._known.get(path, ""))
        if visit and visit.is_listed_as(self._listed.get(url, "")):
            yield self._unchanged(path, visit)
            return
        try:
            answer = self._fetcher.get(url, visit.unless if visit else None)
        except FetchFailed as error:
            self._failures += 1
            if self._failures >= DOWN:
                raise AskdocsError(
                    f"{self._root} stopped answering after {self._read:,} pages"
                    f" ({error}): nothing was changed, try later"
                ) from None
            yield from self._fail(path, str(error))
            return
        self._failures = 0
        self._read += 1
        if answer.status == 304 and visit:
            yield self._unchanged(path, visit)
        elif answer.status == 200 and _asks_to_log_in(answer):
            yield from self._fail(path, f"requires a login, at {answer.url}")
        elif answer.status == 200:
            yield from self._take(answer, self._listed.get(url, ""))
        elif answer.status >= 400 and answer.status not in (404, 410):
            yield from self._fail(path, f"answers {answer.status}")

    def _unchanged(self, path: str, visit: Visit) -> Unchanged:
        self._done.add(path)
        self._texts.add(visit.text)
        return Unchanged(path)

    def _fail(self, path: str, why: str) -> Iterator[Broken]:
        if path not in self._done:
            self._done.add(path)
            yield Broken(path, why)

    def _take(self, answer: SiteResponse, changed: str) -> Iterator[Item]:
        """Process a document from the site: yield its page, and follow its links."""
        if answer.type not in _HTML:
            return
        url = normal(answer.url, query=True)
        path = self._path(url)
        robots = answer.headers.get("x-robots-tag", "").lower()
        try:
            with bounded.page(path):
                text = decode(answer.data, answer.charset)
                tree = parse(text)
                about = head(tree, answer.url)
                if self._crawls and not about.nofollow and "nofollow" not in robots:
                    for link in links(tree, about.base):
                        self._want(link)
        except ValueError as error:
            yield from self._fail(path, str(error))
            return
        if not self._is_wanted(url):
            return
        if is_ambiguous(url):  # after a redirect
            yield LeftOut(path, AMBIGUOUS)
            return
        if why := about.no_page or ("marked noindex" if "noindex" in robots else ""):
            yield LeftOut(path, why)
            return
        canonical = normal(about.canonical, query=True)
        if canonical in self._seen and canonical != url and self._is_copy(canonical):
            # That page has been read, or will be. A page never takes another one's address: whoever
            # writes it may not be allowed to write, or to read, the other one.
            yield LeftOut(path, COPY)
            return
        if path in self._done:
            return
        try:
            with bounded.page(path):
                page = html.page(text, path, url, served=answer.url)
        except ValueError as error:
            yield from self._fail(path, str(error))
            return
        digest = _digest(page)
        if not page.has_text or digest in self._texts:
            yield LeftOut(path, COPY if page.has_text else NO_TEXT)
            return
        self._texts.add(digest)
        self._done.add(path)
        before = Visit.parse(self._known.get(path, ""))
        if before and before.text == digest:
            yield Unchanged(path)
            return
        visit = Visit(
            text=digest,
            etag=answer.headers.get("etag", ""),
            modified=answer.headers.get("last-modified", ""),
            listed=changed,
            read=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        yield Changed(page, visit.stamp)

    def _is_copy(self, canonical: str) -> bool:
        """Is it the address of a page of this site, other than the start page as a fallback?"""
        return bool(canonical) and canonical != self._root and self._is_wanted(canonical)

    def _stopped(self, url: str) -> Iterator[Unchanged | Changed | Broken]:
        """Pages that were not reached remain unchanged."""
        left = len(self._pending) + 1
        why = (
            f"not read, nor were {left - 1:,} others: a site is read up to {self._most:,} pages;"
            " set ASKDOCS_SITES_PAGES, or name a part of the site"
        )
        yield from self._fail(self._path(url), why)
        for path in self._known:
            if path not in self._done:
                yield Unchanged(path)


def _root(answer: SiteResponse) -> str:
    """The prefix of the site's addresses, from the address of the start page."""
    url = normal(answer.url)
    if url.endswith("/"):
        return url
    last = url.rpartition("/")[2]
    if "." not in last:
        below = LexborHTMLParser(decode(answer.data, answer.charset))
        if any(normal(link).startswith(url + "/") for link in links(below, answer.url)):
            return url + "/"
    return url.removesuffix(last)


def _asks_to_log_in(answer: SiteResponse) -> bool:
    """Is the document, or its redirect target, a login form?"""
    if not _LOGIN.search(urlsplit(answer.url).path):
        return False
    return 300 <= answer.status < 400 or b'type="password"' in answer.data


def _digest(page: Page) -> str:
    content = replace(page, path="", url="")
    return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()[:32]
