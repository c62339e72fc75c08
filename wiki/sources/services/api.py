"""Requests JSON from a service's API, and translates error responses for a sync.

A refusal of one page leaves that page unchanged. A rejected token, even in the middle, or a service
that stops answering ends the sync: unread pages do not count as deleted, and pages read before are
in the index already (see `wiki.sources.sync`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from core.errors import AskdocsError
from wiki.sources.fetch import Fetcher, FetchFailed, SiteResponse, TooLarge
from wiki.sources.tokens import Token

# Maximum total seconds to wait for one answer of a busy service.
PATIENCE = 900.0
_TRIES = 3
# Maximum retries at the service's request, within PATIENCE.
_BUSY = 1_000
# Maximum parts of a list.
PARTS = 10_000
_NEXT = re.compile(r"""<([^<>]*)>\s*;[^<>,]*\brel=["']?next\b""", re.IGNORECASE)
# After this many consecutive failures, the service is down, rather than the page.
DOWN = 8
# Atlassian's cloud storage for files. Its addresses contain their own, expiring token.
MEDIA = ("https://api.media.atlassian.com",)

T = TypeVar("T")


class ServiceRefused(Exception):
    """The service refuses the request; the message states the reason."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status

    def stop_if_away(self, name: str) -> None:
        """Raises AskdocsError if it is a failure rather than a refusal: retry later."""
        if not self.status:
            raise AskdocsError(f"{name}: {self}: try later; pages read so far are kept") from None

    @property
    def is_gone(self) -> bool:
        return self.status in (404, 410)


class Api:
    """A client for one service."""

    def __init__(
        self,
        base: str,
        token: Token | None,
        rate: float,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            base: the prefix of all API addresses.
            token: the access token.
            rate: maximum requests per second.
            headers: additional headers for every request.
        """
        split = urlsplit(base)
        self.base = base.rstrip("/")
        self.host = split.netloc
        self._has_token = token is not None
        sent = {"Accept": "application/json", **headers}
        if token:
            sent["Authorization"] = token.header
        origin = f"{split.scheme}://{split.netloc}".lower()
        self._fetcher = Fetcher(origin, rate, sent, PATIENCE, _BUSY)
        self._media: dict[str, Fetcher] = {}
        self._rate = rate
        self._failures = 0

    def close(self) -> None:
        """Close the connections."""
        for fetcher in (self._fetcher, *self._media.values()):
            fetcher.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at a path below the base, or at the next address from an answer.

        Raises:
            ServiceRefused: the service refuses it.
            AskdocsError: it rejects the token, or does not answer any more.
        """
        url = self._address(path)
        if parameters:
            url += ("&" if "?" in url else "?") + urlencode(parameters)
        return self._read(lambda: self._fetcher.get(url), _json)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Like `get`, for a query that is sent as JSON and changes nothing."""
        url, data = self._address(path), json.dumps(body).encode()
        return self._read(lambda: self._fetcher.post(url, data), _json)

    def rows(self, path: str, **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """Yields the rows of a list. Raises as `get`. The list is complete only at its end."""
        for part in self.parts(path, **parameters):
            yield from part

    def parts(self, path: str, **parameters: Any) -> Iterator[list[Mapping[str, Any]]]:
        """Yields the parts of a list that are linked by the header `Link`. Raises as `get`."""
        url = f"{self._address(path)}?{urlencode(parameters)}"
        seen: set[str] = set()
        while url not in seen and len(seen) < PARTS:
            seen.add(url)
            rows, following = self._read(partial(self._fetcher.get, url), _part)
            yield rows
            if not following:
                return
            url = self._address(following)
        raise ServiceRefused("has no end", 200)

    def file(self, path: str, largest: int) -> bytes:
        """The bytes of a file at a path below the base, wherever the service stores its files.

        Raises as `get`.
        """
        url = self._address(path)
        return self._read(lambda: self._file(url, largest), lambda answer: answer.data)

    def _file(self, url: str, largest: int) -> SiteResponse:
        answer = self._fetcher.get(url, {"Accept": "*/*"}, largest)
        if 300 <= answer.status < 400:
            at = urlsplit(answer.url)
            origin = f"{at.scheme}://{at.netloc}"
            if origin not in MEDIA:
                raise ServiceRefused(
                    f"its file is at another host, {at.netloc[:100]}", answer.status
                )
            if origin not in self._media:  # without our token
                self._media[origin] = Fetcher(origin, self._rate, {}, PATIENCE, _BUSY)
            answer = self._media[origin].get(answer.url, largest=largest)
            if answer.status == 401:
                raise ServiceRefused("the address that it gives for its file has expired", 401)
        return answer

    def _read(self, ask: Callable[[], SiteResponse], read: Callable[[SiteResponse], T]) -> T:
        """Applies `read` to an answer with status 200. If it raises ValueError, the request is
        repeated."""
        why = ""
        for _ in range(_TRIES):
            try:
                answer = ask()
            except TooLarge as error:
                raise ServiceRefused(str(error), 413) from None
            except FetchFailed as error:
                why = str(error)
                break
            if answer.status == 401:
                raise self._no_entry()
            if answer.is_busy and answer.status != 503:
                raise AskdocsError(
                    f"{self.host} answers {answer.status} and requests a wait of more than"
                    f" {PATIENCE / 60:.0f} minutes: pages read so far are kept; sync again later, "
                    "or"
                    " with a lower ASKDOCS_SITES_RATE"
                )
            if 400 <= answer.status < 500 or 300 <= answer.status < 400:
                self._failures = 0
                raise ServiceRefused(f"answers {answer.status}", answer.status)
            if answer.status >= 500:
                why = f"answers {answer.status}"
                continue
            try:
                result = read(answer)
            except ValueError as error:
                why = str(error)
                continue
            self._failures = 0
            return result
        self._failures += 1
        if self._failures >= DOWN:
            raise AskdocsError(
                f"{self.host} stopped answering ({why}): pages read so far are kept; sync again"
                " later"
            )
        raise ServiceRefused(why)

    def _address(self, path: str) -> str:
        url = urljoin(self.base + "/", path) if "://" not in path else path
        if path.startswith("/"):
            # Below the base; services return the next part's path with or without the base's own
            # path.
            own = urlsplit(self.base).path
            inside = path if own and path.startswith(own + "/") else own + path
            split = urlsplit(self.base)
            url = f"{split.scheme}://{split.netloc}{inside}"
        if not self._fetcher.is_inside(url):
            raise AskdocsError(f"{self.host} returned an address of another host: {url[:200]}")
        return url

    def _no_entry(self) -> AskdocsError:
        have = "it refuses the token" if self._has_token else "it needs a token"
        return AskdocsError(
            f"{self.host}: {have} (status 401): set ASKDOCS_SITES_TOKENS='{self.host} TOKEN', or"
            f" '{self.host} USER:TOKEN'; pages read so far are kept"
        )


def _json(answer: SiteResponse) -> Any:
    try:
        return json.loads(answer.data)
    except (ValueError, RecursionError):
        why = "sends an answer that is not JSON: it is truncated, or a web page"
        raise ValueError(why) from None


def _part(answer: SiteResponse) -> tuple[list[Mapping[str, Any]], str]:
    rows = _json(answer)
    if not isinstance(rows, list):
        raise ValueError("does not send a list")
    following = _NEXT.search(answer.headers.get("link", ""))
    return [mapping(row) for row in rows], following[1] if following else ""


def mapping(value: Any) -> Mapping[str, Any]:
    """Returns part of an answer that should be an object."""
    return value if isinstance(value, dict) else {}


def word(value: Any) -> str:
    """A service's identifier, safe to show in a message."""
    return re.sub(r"[^\w. -]", "?", str(value)[:100], flags=re.ASCII)


def listed(value: Any) -> list[Any]:
    """Returns part of an answer that should be a list."""
    return value if isinstance(value, list) else []
