"""A real site over HTTP: it says ETag and 304, redirects, errs, and notes what it is asked."""

import gzip
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.speaking import Handler, serving


@dataclass
class Reply:
    """What the site says at one address."""

    body: bytes = b""
    status: int = 200
    type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    etag: bool = True
    wait: float = 0.0
    """Seconds before it says anything."""
    drop: bool = False
    """Close the connection instead of answering."""


@dataclass(frozen=True)
class Asked:
    """A request that the site got."""

    path: str
    headers: dict[str, str]
    when: float
    status: int


class LiveSite:
    """The site's pages by path, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.replies: dict[str, Reply | list[Reply]] = {}
        """A list is said one after the other; its last one stays."""
        self.asked: list[Asked] = []

    def put(self, path: str, body: str | bytes = "", **how: Any) -> None:
        """Say this at `path` from now on."""
        data = body.encode() if isinstance(body, str) else body
        self.replies[path] = Reply(data.replace(b"SITE", self.url.encode()), **how)

    def page(self, path: str, title: str, body: str = "", head: str = "") -> None:
        """A page with a heading and two sections."""
        self.put(
            path,
            f"<title>{title} | Live</title>{head}<nav><a href='/'>Home</a></nav><main>"
            f"<h1 id=top>{title}</h1><p>About {title}.</p><h2 id=more>More</h2>{body}</main>",
        )

    def sitemap(self, *paths: str, dates: dict[str, str] | None = None) -> None:
        """List these pages in `/sitemap.xml`."""
        entries = "".join(
            f"<url><loc>SITE{path}</loc>"
            + (f"<lastmod>{dates[path]}</lastmod>" if dates and path in dates else "")
            + "</url>"
            for path in paths
        )
        self.put("/sitemap.xml", sitemap_xml(entries), type="application/xml")

    def paths(self) -> list[str]:
        """What was asked for, in order, since the last call."""
        paths = [one.path for one in self.asked]
        self.asked.clear()
        return paths

    def reply(self, path: str) -> Reply:
        found = self.replies.get(path, Reply(b"<main>Not found</main>", 404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


def sitemap_xml(entries: str, kind: str = "urlset") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<{kind} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</{kind}>'
    )


@contextmanager
def live_site() -> Iterator[LiveSite]:
    """A site that is served while the block runs."""
    site = LiveSite()

    class Served(Handler):
        wbufsize = 0  # who has left is noticed where it is written to

        def do_GET(self) -> None:
            reply = site.reply(self.path)
            data, status, headers = reply.body, reply.status, dict(reply.headers)
            if reply.etag and status == 200:
                tag = f'"{hashlib.sha256(data).hexdigest()[:12]}"'
                headers["ETag"] = tag
                if self.headers.get("If-None-Match") == tag:
                    status, data = 304, b""
            elif headers.get("Last-Modified", "-") == self.headers.get("If-Modified-Since"):
                status, data = 304, b""
            packed = "Content-Encoding" in headers
            if data and not packed and "gzip" in self.headers.get("Accept-Encoding", ""):
                data = gzip.compress(data)
                headers["Content-Encoding"] = "gzip"
            site.asked.append(Asked(self.path, dict(self.headers), time.monotonic(), status))
            time.sleep(reply.wait)
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value.replace("SITE", site.url))
            if status != 304:
                self.send_header("Content-Type", reply.type)
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    with serving(server):
        yield site
