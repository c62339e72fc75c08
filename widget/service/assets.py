"""Static files, compressed once and held in memory."""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parents[1] / "static"
SERVED = (
    "box.css",
    "box.js",
    "embed.js",
    "index.css",
    "review.css",
    "vendor/htmx.min.js",
    "vendor/htmx-ext-sse.min.js",
)
# Strip comments and indentation from our scripts: a quarter of what embed.js would add to a page.
_UNSERVED = re.compile(rb"^[ \t]*(//.*\n)?", re.M)
FOREVER = "public, max-age=31536000, immutable"  # for addresses with the content's hash
SHORTLY = "public, max-age=300"


@dataclass(frozen=True)
class Asset:
    """A file, uncompressed and compressed."""

    name: str
    body: bytes
    packed: bytes
    media: str
    etag: str

    @property
    def address(self) -> str:
        """Relative, so that the widget can be served under any path prefix of a reverse proxy."""
        return f"static/{self.name}?v={self.etag}"

    def response(self, request: Request) -> Response:
        """The file, or 304 if the browser has it."""
        current = request.query_params.get("v") == self.etag
        headers = {
            "etag": f'"{self.etag}"',
            "cache-control": FOREVER if current else SHORTLY,
            "vary": "accept-encoding",
        }
        if request.headers.get("if-none-match", "").removeprefix("W/") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        body = self.body
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            body = self.packed
        return Response(body, headers=headers, media_type=self.media)


def load() -> dict[str, Asset]:
    """Load every served file, by name."""
    return {name: _read(name) for name in SERVED}


def _read(name: str) -> Asset:
    body = (FOLDER / name).read_bytes()
    if name.endswith(".js") and not name.startswith("vendor/"):
        body = _UNSERVED.sub(b"", body)
    return Asset(
        name=name,
        body=body,
        packed=gzip.compress(body, 9, mtime=0),
        media=mimetypes.guess_type(name)[0] or "application/octet-stream",
        etag=hashlib.sha256(body).hexdigest()[:16],
    )
