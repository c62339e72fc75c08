"""A Notion over HTTP, in the wire format of the vendor's reference, version 2026-03-11.

https://developers.notion.com/reference
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.speaking import Handler, serving

DATABASE, SOURCE = "d" * 32, "e" * 32
EARLIER = "2026-05-01T10:00:00.000Z"


def at(number: int) -> str:
    """The id of a page, as addresses have it."""
    return f"{number:032x}"


def dashed(plain: str) -> str:
    """As the API writes ids."""
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def text(shown: str, href: str | None = None, **marks: bool) -> dict[str, Any]:
    """An item of rich text."""
    link = {"url": href} if href else None
    plain = {"bold": False, "italic": False, "strikethrough": False, "underline": False}
    return {
        "type": "text", "text": {"content": shown, "link": link}, "plain_text": shown,
        "href": href, "annotations": {**plain, "code": False, "color": "default", **marks},
    }  # fmt: skip


def block(kind: str, number: int, below: list[dict[str, Any]] | None = None, **about: Any) -> Any:
    """A block; what it holds is served on its own."""
    return {
        "object": "block", "id": dashed(at(number)), "type": kind, kind: about,
        "has_children": below is not None, "in_trash": False, "below": below or [],
    }  # fmt: skip


def paragraph(shown: str, number: int = 9_000) -> Any:
    return block("paragraph", number, rich_text=[text(shown)], color="default")


@dataclass
class Written:
    """A page."""

    title: str
    blocks: list[Any] = field(default_factory=lambda: [paragraph("Turn it on.")])
    parent: dict[str, Any] = field(default_factory=lambda: {"type": "workspace", "workspace": True})
    edited: str = EARLIER
    properties: dict[str, Any] = field(default_factory=dict)
    in_trash: bool = False
    refused: int = 0
    """A status in place of its blocks."""

    @property
    def is_row(self) -> bool:
        return "data_source_id" in self.parent


def row(title: str, blocks: list[Any] | None = None, **properties: Any) -> Written:
    """A row of the database."""
    parent = {"type": "data_source_id", "data_source_id": SOURCE, "database_id": DATABASE}
    return Written(title, blocks or [], parent, properties=properties)


@dataclass
class Workspace:
    """Its pages, one database, and what was asked."""

    url: str = ""
    pages: dict[str, Written] = field(default_factory=dict)
    database: str = ""
    """The title of the database; without one there is none."""
    held: str = ""
    """The page that holds it."""
    hidden: set[str] = field(default_factory=set)
    """What search does not find."""
    part: int = 2
    capped: int = 10_000
    """Rows that one query gives."""
    endless: bool = False
    """Lists name another cursor for ever."""
    fail: list[Any] = field(default_factory=list)
    """What the next requests get: None, a status, (status, headers), or "truncated"."""
    failing: dict[str, Any] = field(default_factory=dict)
    """The same, for ever, by path."""
    until: int | None = None
    """Requests until the token expires."""
    damage: Callable[[Any], Any] = lambda answer: answer
    """Done to each answer."""
    asked: list[str] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Of each request, the token and the version."""

    def answer(self, path: str, body: dict[str, Any], cursor: str) -> tuple[int, Any]:
        parts = path.split("/")[2:]
        match parts:
            case ["search"]:
                return 200, self._search(body)
            case ["data_sources", source, "query"]:
                assert source == SOURCE
                return 200, self._query(body)
            case ["pages", name] if name in self.pages:
                return 200, self._page(name)
            case ["pages", name] if name == DATABASE and self.database:
                return 400, self._error(400, "validation_error")
            case ["databases", name] if name == DATABASE and self.database:
                return 200, self._database()
            case ["blocks", name, "children"]:
                return self._below(name, cursor)
            case ["blocks", name]:
                for holder, page in self.pages.items():
                    if any(one["id"] == dashed(name) for one in page.blocks):
                        return 200, {"object": "block", "parent": _of_page(holder)}
        return 404, self._error(404, "object_not_found")

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["sort"] == {"timestamp": "last_edited_time", "direction": "descending"}
        if body["filter"]["value"] == "page":
            names = sorted(self.pages, key=lambda one: self.pages[one].edited, reverse=True)
            found = [
                self._page(name)
                for name in names
                if name not in self.hidden and not self.pages[name].in_trash
            ]
        else:
            assert body["filter"]["value"] == "data_source"
            found = [] if not self.database or DATABASE in self.hidden else [self._source()]
        return self._list(found, body.get("start_cursor") or "")

    def _query(self, body: dict[str, Any]) -> dict[str, Any]:
        since = body.get("filter", {}).get("created_time", {}).get("on_or_after", "")
        rows = [self._page(name) for name, page in self.pages.items() if page.is_row]
        rows = [one for one in rows if one["created_time"] >= since and not one["in_trash"]]
        answer = self._list(rows[: self.capped], body.get("start_cursor") or "")
        if len(rows) > self.capped:
            answer["request_status"] = {
                "type": "incomplete",
                "incomplete_reason": "query_result_limit_reached",
            }
        return answer

    def _below(self, name: str, cursor: str) -> tuple[int, Any]:
        if name in self.pages:
            if self.pages[name].refused:
                return self.pages[name].refused, self._error(self.pages[name].refused, "no")
            return 200, self._list(self.pages[name].blocks, cursor)
        todo = [one for page in self.pages.values() for one in page.blocks]
        while todo:
            one = todo.pop()
            if one["id"] == dashed(name):
                return 200, self._list(one["below"], cursor)
            todo += one["below"]
        return 404, self._error(404, "object_not_found")

    def _list(self, found: list[Any], cursor: str) -> dict[str, Any]:
        start = int(cursor or 0)
        end = start + self.part
        is_more = end < len(found) or self.endless
        results = [{key: one[key] for key in one if key != "below"} for one in found[start:end]]
        return {
            "object": "list", "results": results, "has_more": is_more,
            "next_cursor": str(end) if is_more else None,
        }  # fmt: skip

    def _page(self, name: str) -> dict[str, Any]:
        page = self.pages[name]
        title = {"id": "title", "type": "title", "title": [text(page.title)]}
        number = int(name, 16)
        return {
            "object": "page", "id": dashed(name), "parent": page.parent, "in_trash": page.in_trash,
            "is_archived": False, "archived": page.in_trash, "last_edited_time": page.edited,
            "created_time": f"2026-01-01T{number // 60 % 24:02}:{number % 60:02}:00.000Z",
            "url": f"https://www.notion.so/{page.title.replace(' ', '-')}-{name}",
            "properties": {"Name": title, **page.properties},
        }  # fmt: skip

    def _source(self) -> dict[str, Any]:
        parent = {"type": "database_id", "database_id": dashed(DATABASE)}
        return {
            "object": "data_source", "id": dashed(SOURCE), "parent": parent, "in_trash": False,
            "database_parent": _of_page(self.held), "title": [text(self.database)],
            "properties": {},
        }  # fmt: skip

    def _database(self) -> dict[str, Any]:
        return {
            "object": "database", "id": dashed(DATABASE), "title": [text(self.database)],
            "description": [text("All that runs.")], "parent": _of_page(self.held),
            "in_trash": False, "last_edited_time": EARLIER, "created_time": EARLIER,
            "url": f"https://www.notion.so/{DATABASE}",
            "data_sources": [{"id": dashed(SOURCE), "name": self.database}],
        }  # fmt: skip

    def _error(self, status: int, code: str) -> dict[str, Any]:
        return {"object": "error", "status": status, "code": code, "message": "no"}


def _of_page(name: str) -> dict[str, Any]:
    if not name:
        return {"type": "workspace", "workspace": True}
    return {"type": "page_id", "page_id": dashed(name)}


@contextmanager
def notion() -> Iterator[Workspace]:
    """Serve an empty workspace."""
    workspace = Workspace()

    class Serve(Handler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["content-type"] == "application/json"
            self._serve(json.loads(data))

        def _serve(self, body: dict[str, Any]) -> None:
            split = urlsplit(self.path)
            workspace.asked.append(split.path)
            token, version = self.headers["authorization"], self.headers["notion-version"]
            workspace.headers.append((token, version))
            if workspace.until is not None:
                workspace.until -= 1
                if workspace.until < 0:
                    self.json(401, {"object": "error", "code": "unauthorized"})
                    return
            said = workspace.fail.pop(0) if workspace.fail else workspace.failing.get(split.path)
            if isinstance(said, tuple):
                self.bare(*said)
                return
            if isinstance(said, int):
                self.json(said, {"object": "error", "code": "no"})
                return
            query = parse_qs(split.query)
            cursor = query.get("start_cursor", [""])[0]
            status, answer = workspace.answer(split.path, body, cursor)
            data = json.dumps(workspace.damage(answer)).encode()
            if said == "truncated":
                data = data[: len(data) // 2]
            self.send(status, data, "application/json")

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        workspace.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield workspace
