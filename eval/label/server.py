"""The page on which people label answers, on this machine's loopback address alone.

Its address has a secret, and requests from other pages are refused: a run's answers and the wiki's
pages are not for every program of the machine.
"""

import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from eval.label import sample
from eval.label.sample import Item
from eval.running import lines

PAGE = Path(__file__).with_name("label.html")
MOST = 10_000  # bytes of a request


class Labelling:
    """Items to label, and where the labels go."""

    def __init__(
        self, items: Sequence[Item], file: Path, by: str, pages: Mapping[str, str]
    ) -> None:
        """`pages`: the wiki's texts by path; may be empty."""
        self._items, self._file, self._by, self._pages = items, file, by, pages
        self._lock = Lock()
        known = sample.by_person(sample.read(file)).get(by, {})
        self._open = [item for item in items if _place(item) not in known]

    def next(self) -> dict[str, Any]:
        """The next answer without a label, or none."""
        with self._lock:
            done, item = len(self._items) - len(self._open), next(iter(self._open), None)
        facts: dict[str, Any] = {"done": done, "total": len(self._items)}
        if item is None:
            return facts
        mark = item.mark
        read = dict.fromkeys((*mark.question.pages, *mark.answer.prompt_pages))
        return facts | {
            "number": item.number,
            "question": mark.question.text,
            "reference": mark.question.answer,
            "answer": mark.answer.text,
            "pages": [[path, self._pages[path]] for path in read if path in self._pages],
        }

    def label(self, number: int, correct: bool | None) -> None:
        """Store a label; None: skip the answer for now."""
        with self._lock:
            item = next((item for item in self._open if item.number == number), None)
            if item is None:  # labelled in another tab
                return
            self._open.remove(item)
            if correct is None:
                self._open.append(item)
                return
            system, question = _place(item)
            row = {"question": question, "system": system, "correct": correct, "by": self._by}
            row["at"] = datetime.now(UTC).isoformat(timespec="seconds")
            with lines.appending(self._file) as file:
                file.write(json.dumps(row).encode() + b"\n")


def _place(item: Item) -> tuple[str, str]:
    return item.mark.answer.system, item.mark.question.id


def bound(labelling: Labelling, port: int) -> tuple[ThreadingHTTPServer, str]:
    """A server of the page that listens, and the page's address."""
    secret = secrets.token_urlsafe(24)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self._path()
            if path == "/":
                nonce = secrets.token_urlsafe(12)
                text = PAGE.read_text(encoding="utf-8").replace("NONCE", nonce)
                self._send(text.encode(), "text/html; charset=utf-8", nonce)
            elif path == "/next":
                self._send(json.dumps(labelling.next()).encode())
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self._path() != "/label":
                self.send_error(404)
                return
            try:
                row: Any = json.loads(self.rfile.read(length) if length <= MOST else b"")
                number, correct = row["number"], row["correct"]
                if correct not in (True, False, None):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                self.send_error(400)
                return
            labelling.label(number, correct)
            self._send(json.dumps(labelling.next()).encode())

        def _path(self) -> str:
            """The path after the secret; "" if it is missing, or another page asks."""
            here = f"127.0.0.1:{server.server_address[1]}"
            if self.headers.get("Host") != here:  # a name that was rebound to this address
                return ""
            if self.headers.get("Origin") not in (None, f"http://{here}"):
                return ""
            given, slash, path = self.path.removeprefix("/").partition("/")
            is_ours = hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
            return slash + path if is_ours else ""

        def _send(self, body: bytes, kind: str = "application/json", nonce: str = "") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            allowed = f"default-src 'none'; connect-src 'self'; style-src 'nonce-{nonce}';"
            allowed += f" script-src 'nonce-{nonce}'; frame-ancestors 'none'; base-uri 'none'"
            self.send_header("Content-Security-Policy", allowed)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """No log: the address has the secret."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    return server, f"http://127.0.0.1:{server.server_address[1]}/{secret}/"
