"""Fetches documents from one site, and obeys its robots.txt."""

import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from protego import Protego

from core.errors import AskdocsError

# Sites use the first word in their robots.txt, and people see it in their logs.
AGENT = "askdocs"
USER_AGENT = f"{AGENT}/{version('askdocs')} (reads documentation; obeys robots.txt)"
LARGEST = 16 * 2**20
# Seconds for a response to start, or to continue.
TIMEOUT = 30.0
# Maximum total seconds for one document, including waits for a busy or slow site.
PATIENCE = 120.0
_TRIES = 3
_HOPS = 5
_BUSY = (429, 503, 529)
# Seconds to wait if a busy service does not specify a time: doubled each time, up to the maximum.
_WAIT, _LONGEST_WAIT = 5.0, 60.0
# The accepted encodings of a body, with zlib's window for each. zlib can stop at a number of bytes;
# the brotli and zstd decoders of HTTP clients unpack all data of one part.
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class FetchFailed(Exception):
    """The site did not return the document; the message states the reason."""


class TooLarge(FetchFailed):
    """The document is larger than the requested maximum."""


@dataclass(frozen=True)
class SiteResponse:
    """The response of a site."""

    status: int
    url: str
    """The document's final address; an address outside the site has not been requested."""
    headers: Mapping[str, str]
    """Header values by lower-case name."""
    data: bytes
    charset: str
    """The encoding from the server; empty if it names none."""

    @property
    def type(self) -> str:
        """The media type, for example `text/html`."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_busy(self) -> bool:
        """Does it ask to retry later? GitHub also uses 403 for that:
        https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api."""
        is_limited = "retry-after" in self.headers or self._is_used_up
        return self.status in _BUSY or (self.status == 403 and is_limited)

    @property
    def _is_used_up(self) -> bool:
        return self.headers.get("x-ratelimit-remaining") == "0"

    def wait(self, tried: int) -> float:
        """The seconds to wait for a busy service after `tried` attempts."""
        retry_after = self.headers.get("retry-after", "").strip()
        reset = self.headers.get("x-ratelimit-reset", "").strip()
        if not retry_after and self._is_used_up and reset.isascii() and reset.isdecimal():
            return max(1.0, float(reset[:12]) - time.time())
        if retry_after.isascii() and retry_after.isdecimal():
            return float(retry_after[:9])
        try:
            then = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):
            return min(_WAIT * 2.0 ** min(tried, 10), _LONGEST_WAIT)
        return max(1.0, (then - datetime.now(then.tzinfo)).total_seconds())


class Fetcher:
    """Sends one request at a time to one origin, with a minimum interval."""

    def __init__(
        self,
        origin: str,
        rate: float,
        headers: Mapping[str, str],
        patience: float = PATIENCE,
        tries: int = _TRIES,
    ) -> None:
        """
        Args:
            origin: scheme and host, for example `https://wiki.example.com`.
            rate: maximum requests per second.
            headers: sent with every request, but never outside the origin.
            patience: maximum total seconds to wait for one document of a busy site.
            tries: maximum requests for one document.
        """
        self.origin = origin
        self._pause = 1 / rate
        self._next = 0.0
        self._patience = patience
        self._tries = tries
        self._client = httpx.Client(
            headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.1", **headers}
            | {"User-Agent": USER_AGENT, "Accept-Encoding": ", ".join(_WINDOWS)},
            timeout=TIMEOUT,
            follow_redirects=False,
        )
        self._robots = Protego.parse("")
        self._socket: socket.socket | None = None
        self._is_late = False

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read_robots(self) -> list[str]:
        """Obey the site's robots.txt from now on. Returns the sitemaps that it names.

        Raises:
            AskdocsError: the site does not answer, or with an error, so that no page may be
                requested (RFC 9309, 2.3.1.4); or its crawl delay is longer than PATIENCE.
        """
        address = self.origin + "/robots.txt"
        try:
            answer = self.get(address)
        except FetchFailed as error:
            raise AskdocsError(f"{self.origin} cannot be read: {error}") from None
        if answer.status >= 500 or answer.status == 429:
            raise AskdocsError(
                f"{address} answers {answer.status}, so the permitted pages are unknown: try later"
            )
        if answer.status == 200:
            self._robots = Protego.parse(answer.data.decode("utf-8", "replace"))
        delay = self._robots.crawl_delay(AGENT) or 0.0
        if rate := self._robots.request_rate(AGENT):
            delay = max(delay, rate.seconds / max(rate.requests, 1))
        if delay > PATIENCE:
            raise AskdocsError(
                f"{address} asks for {delay:,.0f} s between two requests; at most"
                f" {PATIENCE:.0f} s are supported: ask the site's owner for a shorter delay"
            )
        self._pause = max(self._pause, delay)
        return [urljoin(address, sitemap) for sitemap in self._robots.sitemaps]

    def may(self, url: str) -> bool:
        """Does robots.txt allow this address?"""
        return bool(self._robots.can_fetch(url, AGENT))

    def get(
        self, url: str, headers: Mapping[str, str] | None = None, largest: int | None = None
    ) -> SiteResponse:
        """Request a document. Follows redirects within the origin.

        Args:
            url: its address.
            headers: for this request only, such as conditions.
            largest: maximum bytes of the document (default: LARGEST).

        Raises:
            FetchFailed: no answer, a broken one, one that is too large, or endless redirects.
        """
        for _ in range(_HOPS + 1):
            answer = self._patiently(url, headers or {}, largest or LARGEST)
            target = answer.headers.get("location", "")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            try:
                url = urljoin(url, target)
                inside = self.is_inside(url)
            except ValueError:
                raise FetchFailed(f"redirects to {target!r}, which is not an address") from None
            if not inside or not self.may(url):
                return SiteResponse(answer.status, url, answer.headers, b"", "")
        raise FetchFailed(f"redirects more than {_HOPS} times")

    def post(self, url: str, data: bytes) -> SiteResponse:
        """Send JSON. Does not follow redirects.

        Raises:
            FetchFailed: no answer, a broken one, or one that is too large.
        """
        return self._patiently(url, {"Content-Type": "application/json"}, LARGEST, data)

    def is_inside(self, url: str) -> bool:
        """Does the address belong to this origin? Raises ValueError if it is invalid."""
        split = urlsplit(url)
        return f"{split.scheme}://{split.netloc}".lower() == self.origin

    def _patiently(
        self, url: str, headers: Mapping[str, str], largest: int, data: bytes | None = None
    ) -> SiteResponse:
        waited = 0.0
        for tried in range(self._tries):
            left = self._tries - tried - 1
            try:
                answer = self._once(url, headers, largest, data)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                is_kept = isinstance(error, httpx.TransportError) and not _is_slow(error)
                if left and tried < _TRIES - 1 and is_kept:
                    continue  # a kept connection was closed meanwhile
                raise FetchFailed(_why(error)) from None
            if not answer.is_busy or not left:
                return answer
            wait = answer.wait(tried)
            if waited + wait > self._patience:
                return answer
            waited += wait
            self._next = max(self._next, time.monotonic() + wait)
        raise AssertionError("the last try returns or raises")

    def _once(
        self, url: str, sent: Mapping[str, str], largest: int, data: bytes | None
    ) -> SiteResponse:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pause
        # httpx's timeouts apply to each read, and a read may return one byte.
        self._is_late = False
        watch = threading.Timer(PATIENCE, self._cut)
        watch.daemon = True
        watch.start()
        try:
            with self._client.stream(
                "GET" if data is None else "POST",
                url,
                headers=dict(sent),
                content=data,
                extensions={"trace": self._trace},
            ) as response:
                body = bytearray()
                for part in _unpacked(response, largest):
                    body += part
                    if len(body) > largest:
                        raise TooLarge(f"larger than {largest // 2**20} MiB")
                headers = {name.lower(): value for name, value in response.headers.items()}
                charset = response.charset_encoding or ""
        except httpx.HTTPError:
            if self._is_late:
                raise FetchFailed(f"took longer than {PATIENCE:.0f} s") from None
            raise
        finally:
            watch.cancel()
        return SiteResponse(response.status_code, url, headers, bytes(body), charset)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Records the connection: https://www.encode.io/httpcore/extensions/#trace."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def _cut(self) -> None:
        """The request has taken too long: shut the connection down, so that its reader ends."""
        self._is_late = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _unpacked(response: httpx.Response, largest: int) -> Iterator[bytes]:
    """Unpacks the body in parts, the last of which may slightly exceed `largest` bytes.

    Raises FetchFailed: its encoding was not requested, or is wrong.
    """
    names = response.headers.get("content-encoding", "").lower().split(",")
    encodings = [name.strip() for name in names if name.strip() not in ("", "identity")]
    parts: Iterable[bytes] = response.iter_raw()
    for encoding in reversed(encodings):
        window = _WINDOWS.get(encoding.removeprefix("x-"))
        if window is None or len(encodings) > 1:
            raise FetchFailed(f"packed as {', '.join(encodings)}, which was not asked for")
        parts = _inflated(parts, window, largest)
    yield from parts


def _inflated(parts: Iterable[bytes], window: int, largest: int) -> Iterator[bytes]:
    unpacker = None
    left = largest + 1
    for packed in parts:
        while packed and left > 0:
            if unpacker is None:
                # "deflate" with and without the header of zlib: servers send both (RFC 9110,
                # 8.4.1.2). A header's first byte ends in 8, which begins no other stream.
                raw = window == zlib.MAX_WBITS and packed[0] & 15 != 8
                unpacker = zlib.decompressobj(-window if raw else window)
            try:
                data = unpacker.decompress(packed, left)
            except zlib.error as error:
                raise FetchFailed(f"cannot be unpacked: {error}") from None
            left -= len(data)
            yield data
            packed = unpacker.unconsumed_tail
            if unpacker.eof:
                packed, unpacker = unpacker.unused_data, None
                if window != zlib.MAX_WBITS | 16:
                    packed = b""  # only gzip has several members
        if left <= 0:
            return
    if unpacker is not None:
        raise FetchFailed("breaks off in the middle")


def _is_slow(error: httpx.HTTPError | httpx.InvalidURL) -> bool:
    return isinstance(error, httpx.TimeoutException)


def _why(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    if _is_slow(error):
        return "no answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its host name cannot be resolved: check the address, or connect this machine"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing answers at its port: check the address, or start the server"
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
