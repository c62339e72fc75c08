"""A Confluence over HTTP, in the wire format of the vendor's reference: Cloud or Data Center.

Cloud: https://developer.atlassian.com/cloud/confluence/rest/v2/ and .../v1/
Data Center: https://developer.atlassian.com/server/confluence/rest/
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.speaking import Handler, serving


@dataclass
class Written:
    """A page of the wiki."""

    title: str
    body: str
    version: int = 1
    above: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    """Names of groups that it is restricted to; e-mail addresses are people."""
    refused: int = 0
    """A status in place of the body."""
    edited: int = 0
    """Pages with a larger number were edited later; with 0, more than a day ago."""


@dataclass
class Attached:
    """A file of a page, by its id."""

    page: str
    name: str
    data: bytes
    media_type: str
    version: int = 1
    size: int | None = None
    """As the list says it; None: as it is."""
    elsewhere: str = ""
    """Where the download redirects to, as Cloud does."""


@dataclass
class Wiki:
    """One space, ENG, and what was asked."""

    is_cloud: bool
    url: str = ""
    pages: dict[str, Written] = field(default_factory=dict)
    files: dict[str, Attached] = field(default_factory=dict)
    space: tuple[str, ...] = ("staff",)
    permissions: int = 200
    """The status of the space's permissions."""
    unlisted: bool = False
    """The list of spaces lacks it."""
    endless: bool = False
    """The list of its permissions names itself as its next part."""
    unending: bool = False
    """The list of its pages names ever another part."""
    hidden: set[str] = field(default_factory=set)
    """Pages that the list lacks."""
    part: int = 2
    """Rows of a list at most."""
    fail: list[Any] = field(default_factory=list)
    """What the next requests get: a status, (status, headers), or "truncated"."""
    failing: dict[str, Any] = field(default_factory=dict)
    """The same, for ever, by path."""
    failing_once: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    hold: int | None = None
    """Requests for bodies until one gets no answer."""
    held: threading.Event = field(default_factory=threading.Event)
    until: int | None = None
    """Requests until the token expires."""
    lacking: str = ""
    """What rows of the list do not have."""
    listed: Callable[[], None] = lambda: None
    """Called behind the last row of a list."""

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/api/v2/spaces":
            if not self.is_cloud:
                return 404, {"message": "null for uri"}
            spaces = [] if self.unlisted else [{"id": "98306", "key": "ENG"}]
            return 200, {"results": spaces, "_links": {}}
        if path == "/api/v2/spaces/98306/permissions":
            rows = [
                {"id": "1", "principal": {"type": "group", "id": f"id-{name}"},
                 "operation": {"key": "read", "targetType": "space"}}
                for name in self.space
            ]  # fmt: skip
            rows.append({"id": "2", "principal": {"type": "group", "id": "id-writers"},
                         "operation": {"key": "create", "targetType": "page"}})  # fmt: skip
            links = {"next": f"{path}?cursor=x"} if self.endless else {}
            return self.permissions, {"results": rows, "_links": links}
        if path == "/rest/api/group/by-id":
            name = query["id"].removeprefix("id-")
            return 200, {"type": "group", "name": name, "id": query["id"]}
        if path == "/rest/api/space/ENG/permissions":
            return self.permissions, [
                {"operation": {"targetType": "space", "operationKey": "read"},
                 "subject": {"type": "group", "displayName": name}, "spaceKey": "ENG"}
                for name in self.space
            ]  # fmt: skip
        if path == "/rest/api/content/search":
            return 200, self._list(query)
        if path == "/api/v2/pages":
            rows = [self._v2(at) for at in query["id"].split(",") if not self.pages[at].refused]
            return 200, {"results": rows, "_links": {"base": self.url}}
        at = path.rpartition("/")[2]
        if at in self.files:
            return 200, {"id": at, "type": "attachment", "status": "current"}
        if path.startswith(("/api/v2/pages/", "/rest/api/content/")):
            if at not in self.pages:
                return 404, {"statusCode": 404, "message": "No content found"}
            if self.pages[at].refused:
                return self.pages[at].refused, {"message": "no"}
            if path.startswith("/api"):
                return 200, self._v2(at)
            body = {"storage": {"value": self.pages[at].body, "representation": "storage"}}
            version = {"number": self.pages[at].version}
            return 200, {"id": at, "type": "page", "status": "current", "body": body,
                         "version": version}  # fmt: skip
        return 404, {}

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        kind, _, rest = query["cql"].partition(' and space="ENG" ')
        kind = kind.removeprefix("type=")
        row = {"page": self._row, "attachment": self._file}[kind]
        start = int(query.get("start", 0))
        every = {"page": self.pages, "attachment": self.files}[kind]
        ids = [at for at in every if at not in self.hidden]
        if rest == 'and lastmodified >= now("-1d") order by lastmodified desc':
            ids = [at for at in ids if self.pages[at].edited]
            ids.sort(key=lambda at: self.pages[at].edited, reverse=True)
        else:
            assert rest == "order by created"
        links: dict[str, str] = {"base": self.url, "context": "/wiki"}
        if self.unending or start + self.part < len(ids):
            cql = query["cql"].replace(" ", "%20").replace('"', "%22")
            links["next"] = (
                f"/rest/api/content/search?cql={cql}&expand={query['expand']}"
                f"&start={start + self.part}"
            )
        rows = [row(at) for at in ids[start : start + self.part]]
        if "next" not in links:
            self.listed()
        return {"results": rows, "start": start, "size": len(rows), "_links": links}

    def _row(self, at: str) -> dict[str, Any]:
        page = self.pages[at]
        row = self._whole_row(at, page)
        row.pop(self.lacking, None)
        return row

    def _whole_row(self, at: str, page: Written) -> dict[str, Any]:
        people = [{"type": "known", "email": one} for one in page.readers if "@" in one]
        groups = [{"type": "group", "name": one} for one in page.readers if "@" not in one]
        return {
            "id": at,
            "type": "page",
            "status": "current",
            "title": page.title,
            "space": {"id": 98306, "key": "ENG", "name": "Engineering"},
            "version": {"number": page.version},
            "ancestors": [{"id": one, "type": "page"} for one in page.above],
            "metadata": {"labels": {"results": [{"prefix": "global", "name": "howto"}]}},
            "restrictions": {
                "read": {
                    "operation": "read",
                    "restrictions": {
                        "user": {"results": people, "start": 0, "limit": 200, "size": len(people)},
                        "group": {"results": groups, "start": 0, "limit": 200, "size": len(groups)},
                    },
                }
            },
            "_links": {"webui": f"/spaces/ENG/pages/{at}/{page.title.replace(' ', '+')}"},
        }

    def _file(self, at: str) -> dict[str, Any]:
        file = self.files[at]
        size = len(file.data) if file.size is None else file.size
        page = self.pages.get(file.page)
        download = f"/download/attachments/{file.page}/{quote(file.name)}"
        preview = quote(f"/{file.page}/{at}/{file.name}", safe="")
        return {
            "id": at,
            "type": "attachment",
            "status": "current",
            "title": file.name,
            "version": {"number": file.version},
            "container": {"id": file.page, "type": "page" if page else "blogpost"},
            "metadata": {"mediaType": file.media_type},
            "extensions": {"mediaType": file.media_type, "fileSize": size},
            "_links": {
                "webui": f"/pages/viewpage.action?pageId={file.page}&preview={preview}",
                "download": f"{download}?version={file.version}&modificationDate=1&api=v2",
            },
        }

    def _v2(self, at: str) -> dict[str, Any]:
        page = self.pages[at]
        storage = {"representation": "storage", "value": page.body}
        return {"id": at, "status": "current", "title": page.title, "spaceId": "98306",
                "version": {"number": page.version}, "body": {"storage": storage}}  # fmt: skip


@contextmanager
def confluence(is_cloud: bool) -> Iterator[Wiki]:
    """Serve an empty wiki; Cloud below /wiki."""
    wiki = Wiki(is_cloud)
    base = "/wiki" if is_cloud else "/confluence"

    class Serve(Handler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            path = split.path.removeprefix(base)
            wiki.asked.append(path)
            wiki.tokens.append(self.headers.get("authorization", ""))
            if wiki.until is not None:
                wiki.until -= 1
                if wiki.until < 0:
                    self.json(401, {"message": "expired"})
                    return
            if path == "/api/v2/pages" and wiki.hold is not None:
                wiki.hold -= 1
                if wiki.hold < 0:
                    wiki.held.set()
                    self.close_connection = True
                    self.rfile.read(1)  # until who asked is gone
                    return
            said = wiki.fail.pop(0) if wiki.fail else wiki.failing.get(path)
            said = wiki.failing_once.pop(path, said)
            if isinstance(said, tuple):
                self.bare(*said)
                return
            if isinstance(said, int):
                self.json(said, {"message": "no"})
                return
            if path.startswith("/download/attachments/"):
                page, name = path.removeprefix("/download/attachments/").split("/")
                [file] = [
                    one
                    for one in wiki.files.values()
                    if (one.page, one.name) == (page, unquote(name))
                ]
                if file.elsewhere:
                    self.send_response(302)
                    self.send_header("location", file.elsewhere)
                    self.send_header("content-length", "0")
                    self.end_headers()
                elif said == "truncated":
                    self.send_response(200)
                    self.send_header("content-length", str(len(file.data)))
                    self.end_headers()
                    self.wfile.write(file.data[: len(file.data) // 2])
                    self.close_connection = True
                else:
                    self.send(200, file.data, file.media_type)
                return
            query = {key: values[0] for key, values in parse_qs(split.query).items()}
            status, answer = wiki.answer(path, query)
            data = json.dumps(answer).encode()
            if said == "truncated":
                data = data[: len(data) // 2]
            self.send(status, data, "application/json")

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        wiki.url = f"http://127.0.0.1:{server.server_address[1]}{base}"
        yield wiki
