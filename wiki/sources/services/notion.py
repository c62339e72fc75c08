"""Notion: the pages and databases that a connection may read, or those below one of them.

A sync lists pages by search and the rows of each database by a query, and reads the blocks of
changed pages. As search may omit pages, child pages are followed, and a known page that is in no
list is requested before it counts as deleted.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.sources import html
from wiki.sources.services import items
from wiki.sources.services.addresses import NotionAddress, plain_id
from wiki.sources.services.api import Api, ServiceRefused, listed, mapping
from wiki.sources.services.items import SyncState
from wiki.sources.services.notion_blocks import (
    HOME,
    Block,
    Document,
    plain,
    relations,
    rich,
    value,
)
from wiki.sources.services.service import Service
from wiki.sources.services.stamps import Stamp
from wiki.sources.source import Broken, Changed, Expected, Item, LeftOut
from wiki.sources.tokens import Token

VERSION = "2026-03-11"
_PART = 100
# Maximum parts of a list, and ancestors of a page.
_MOST, _DEEPEST = 10_000, 50
# `last_edited_time` has a resolution of minutes: a page read this soon may change again unnoticed.
_SETTLED = timedelta(minutes=2)
# Maximum properties of a row, and characters of each.
_FIELDS, _LONG = 50, 2_000
# Maximum parts of the list of a page's blocks.
_MOST_OF_PAGE = 1_000
# Maximum rows in the table of a database.
_ROWS = 1_000
_NOWHERE = ("", "")
_UNTOLD = ("last_edited_time", "last_edited_by", "button", "verification", "title")


@dataclass(frozen=True)
class _Row:
    """A page or database in a list."""

    id: str
    title: str
    url: str
    parent: tuple[str, str]
    """Its type, such as `page_id`, and its ID."""
    edited: str
    fields: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """The name, text and related pages of each non-empty property."""
    tables: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """For a database: the name and the row IDs of each data source."""
    about: str = ""
    """The description of a database."""


class Notion(Service):
    """A page or database of Notion, or the whole workspace."""

    def __init__(self, place: str, token: Token | None, rate: float) -> None:
        """
        Args:
            place: the address of a page or database, or of Notion.
            token: the token of a connection (an internal integration).
            rate: maximum requests per second.
        """
        self._at = NotionAddress.parse(place)
        super().__init__(place, self._at.api, token, rate, {"Notion-Version": VERSION})
        self._rows: dict[str, _Row] = {}
        self._above: dict[str, tuple[str, str]] = {}
        """The parents of requested pages, databases and blocks."""

    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]:
        known = memory.known
        before = _by_id(known)
        yield from self._list(api, before)
        root = self._at.root
        if root and root not in self._rows:
            try:
                page = self._ask(api, root)
            except ServiceRefused as error:
                raise AskdocsError(f"{self.name}: the page {error}: try later") from None
            if not page and not known:
                raise AskdocsError(
                    f"{self.name}: the token may not read this page: in Notion, add the connection"
                    " in the page's menu, Connections"
                )
        if not self._rows and not known:
            raise AskdocsError(
                f"{self.name}: no page is shared with the token's connection: in Notion, add it"
                " in a page's menu, Connections"
            )
        places = {at: self._place(api, at, before.get(at, "")) for at in list(self._rows)}
        todo = deque(at for at, place in places.items() if self._is_within(place))
        yield Expected(len(todo))
        waiting = dict(before)
        seen: set[str] = set()
        while todo or waiting:
            if todo:
                at = todo.popleft()
            else:  # it is in no list
                at, path = waiting.popitem()
                if at not in self._rows:
                    try:
                        if not self._ask(api, at):
                            continue  # deleted, or no longer shared
                    except ServiceRefused as error:
                        yield Broken(path, str(error))
                        continue
            if at in seen:
                continue
            seen.add(at)
            row = self._rows[at]
            place = places.get(at) or self._place(api, at, before.get(at, ""))
            if not self._is_within(place):
                continue
            if isinstance(place, Broken):
                yield place
                continue
            path = place
            stamp = self._stamp(row)
            if item := items.unread(path, None, stamp, known):
                yield item
                continue
            document = Document(row.title, lambda held: self._children(api, held))
            made = list(self._page(path, row, stamp, document, memory))
            todo.extend(at for _, ids in row.tables or () for at in ids)
            for below in document.below:
                if below in self._rows or below in waiting:
                    continue
                try:
                    if self._ask(api, below):
                        todo.append(below)
                except ServiceRefused as error:
                    made.append(Broken(f"{path}{below}/", str(error)))
                    # Without a stamp, the next sync reads the page again, and requests the child
                    # again.
                    made = [
                        replace(item, stamp="") if isinstance(item, Changed) else item
                        for item in made
                    ]
            yield from made
        yield memory.state()

    def _is_within(self, place: str | Broken) -> bool:
        path = place.path if isinstance(place, Broken) else place
        return not self._at.root or self._at.root in path.split("/")

    def _list(self, api: Api, before: Mapping[str, str]) -> Iterator[Item]:
        """Yields all search results, and the rows of the databases among them."""
        above: dict[str, tuple[str, str]] = {}
        for kind in ("page", "data_source"):
            try:
                for answer in self._parts(api, "/v1/search", _search(kind)):
                    for page in map(mapping, answer["results"]):
                        if _is_gone(page):
                            continue
                        if page.get("object") == "page":
                            self._note(page)
                        elif at := plain_id(mapping(page.get("parent")).get("database_id")):
                            above[at] = _parent(page.get("database_parent"))
            except ServiceRefused as error:
                raise AskdocsError(f"{self.name}: the list of pages {error}: try later") from None
        self._above.update(above)
        for at, parent in above.items():
            path = f"{at}/"
            try:
                path = self._path(api, parent, at)
                if self._is_within(path):
                    self._database(api, at)
            except ServiceRefused as error:
                if at not in before:  # otherwise it is requested again
                    yield Broken(path, str(error))

    def _parts(self, api: Api, path: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yields the parts of a list.

        Raises:
            ServiceRefused: the service refuses it.
            AskdocsError: it cannot be read completely.
        """
        cursor: Any = None
        seen: set[str] = set()
        for _ in range(_MOST):
            body = {**query, "page_size": _PART}
            if cursor:
                body["start_cursor"] = cursor
            answer = mapping(api.post(path, body))
            if not isinstance(answer.get("results"), list):
                raise AskdocsError(f"{self.name}: the list of pages is not valid: try later")
            yield answer
            cursor = answer.get("next_cursor")
            if answer.get("has_more") is not True:
                return
            if not isinstance(cursor, str) or cursor in seen:
                break
            seen.add(cursor)
        raise AskdocsError(f"{self.name}: the list of pages has no end")

    def _note(self, page: Mapping[str, Any]) -> str:
        """Record a listed page; returns its ID, or an empty string if it is deleted or not a
        page."""
        at = plain_id(page.get("id"))
        if not at or _is_gone(page) or "properties" not in page:
            return ""
        title, fields = "", []
        for name, about in mapping(page.get("properties")).items():
            about = mapping(about)
            if about.get("type") == "title":
                title = plain(about.get("title"))
            if about.get("type") in _UNTOLD:
                continue
            text, related = value(about)[:_LONG], tuple(relations(about)[:_FIELDS])
            if text or related:
                fields.append((name[:200], text, related))
        self._put(page, at, title, fields=tuple(fields[:_FIELDS]))
        return at

    def _put(self, entry: Mapping[str, Any], at: str, title: str, **more: Any) -> None:
        address = str(entry.get("url"))
        self._rows[at] = _Row(
            id=at,
            title=" ".join(title.split())[:500] or "Untitled",
            url=address if address.startswith("https://") else f"{HOME}/{at}",
            parent=_parent(entry.get("parent")),
            edited=str(entry.get("last_edited_time")),
            **more,
        )

    def _ask(self, api: Api, at: str) -> bool:
        """Request a page or database that is in no list. Does it exist?

        Raises ServiceRefused: this is unknown.
        """
        try:
            return bool(self._note(mapping(api.get(f"/v1/pages/{at}"))))
        except ServiceRefused as error:
            error.stop_if_away(self.name)
            if error.status not in (400, 404):  # the service answers 400 for a database
                raise
        try:
            return self._database(api, at)
        except ServiceRefused as error:
            if error.is_gone:
                return False
            raise

    def _database(self, api: Api, at: str) -> bool:
        """Read a database with its rows. Does it exist?"""
        try:
            database = mapping(api.get(f"/v1/databases/{at}"))
        except ServiceRefused as error:
            error.stop_if_away(self.name)
            raise
        if _is_gone(database) or plain_id(database.get("id")) != at:
            return False
        tables = []
        for source in listed(database.get("data_sources")):
            about = mapping(source)
            if named := plain_id(about.get("id")):
                try:
                    rows = tuple(dict.fromkeys(self._query(api, named)))
                except ServiceRefused as error:
                    error.stop_if_away(self.name)
                    # The database exists, whatever the status of the request for its rows.
                    raise ServiceRefused(f"the list of its rows {error}", 200) from None
                tables.append((str(about.get("name") or ""), rows))
        described = rich(database.get("description"))
        self._put(database, at, plain(database.get("title")), tables=tuple(tables), about=described)
        return True

    def _query(self, api: Api, source: str) -> Iterator[str]:
        """Yields the rows of a data source. A query returns at most 10,000; the next one continues
        after them: https://developers.notion.com/guides/data-apis/query-large-data-sources."""
        body: dict[str, Any] = {
            "sorts": [{"timestamp": "created_time", "direction": "ascending"}],
            "result_type": "page",
        }
        last, is_cut = "", True
        while is_cut:
            since, is_cut = last, False
            if since:
                body["filter"] = {
                    "timestamp": "created_time",
                    "created_time": {"on_or_after": since},
                }
            for answer in self._parts(api, f"/v1/data_sources/{source}/query", body):
                is_cut |= mapping(answer.get("request_status")).get("type") == "incomplete"
                for entry in answer["results"]:
                    last = str(mapping(entry).get("created_time") or last)
                    if at := self._note(mapping(entry)):
                        yield at
            if is_cut and last == since:
                raise ServiceRefused("returns only part of the rows created in one minute", 200)

    def _chain(self, api: Api, parent: tuple[str, str]) -> list[str]:
        """The IDs of the parent pages and databases, outermost first.

        Raises ServiceRefused: the service refuses one of them, or there are too many.
        """
        chain: list[str] = []
        for _ in range(_DEEPEST + 1):
            kind, at = parent
            if not at or at in chain:
                return chain[::-1]
            if kind != "block_id":
                chain.append(at)
            if at in self._rows:
                parent = self._rows[at].parent
                continue
            if at not in self._above:
                self._above[at] = self._parent_of(api, kind, at)
            parent = self._above[at]
        raise ServiceRefused(
            "is nested too deeply", 200
        )  # a partial chain would let the page escape its rules

    def _parent_of(self, api: Api, kind: str, at: str) -> tuple[str, str]:
        what = {"block_id": "blocks", "database_id": "databases"}.get(kind, "pages")
        try:
            return _parent(mapping(api.get(f"/v1/{what}/{at}")).get("parent"))
        except ServiceRefused as error:
            error.stop_if_away(self.name)
            if not error.is_gone:
                raise
            return _NOWHERE  # not shared with the token: the path starts below it

    def _path(self, api: Api, parent: tuple[str, str], at: str) -> str:
        """A folder, so that a rule for a page also closes all pages below it."""
        return "/".join([*self._chain(api, parent), at, ""])

    def _place(self, api: Api, at: str, before: str) -> str | Broken:
        """The path of a page. If its parents are unknown, it keeps its path, or it would escape
        their rules."""
        parent = self._rows[at].parent
        try:
            path = self._path(api, parent, at)
        except ServiceRefused as error:
            return Broken(before or f"{at}/", f"the page above it {error}")
        is_told = parent[0] != "block_id" or self._above.get(parent[1]) != _NOWHERE
        return path if is_told else before or path

    def _stamp(self, row: _Row) -> str:
        held = [(name, [self._rows[at] for at in ids]) for name, ids in row.tables or ()]
        text = repr((replace(row, tables=None), row.tables is None, held))
        try:
            age = datetime.now(UTC) - datetime.fromisoformat(row.edited)
        except (ValueError, TypeError):
            age = _SETTLED
        return str(Stamp.of(text if age >= _SETTLED else f"{text} may change", None))

    def _page(
        self, path: str, row: _Row, stamp: str, document: Document, memory: SyncState
    ) -> Iterator[Item]:
        try:
            self._write(row, document)
            if row.tables is None:
                document.hold(row.id)
        except (ServiceRefused, ValueError) as error:
            yield Broken(path, str(error))
            return

        def page() -> Page:
            return replace(html.page(document.html, path, row.url), title=row.title)

        item = items.read(path, None, stamp, page)
        yield item
        for kind in document.unread:
            yield LeftOut(f"{path}#{kind}", f"blocks that Notion's API does not return: {kind}")

    def _children(self, api: Api, at: str) -> Iterator[Block]:
        """Yields child blocks. Raises ValueError: the list is invalid."""
        path, cursor = f"/v1/blocks/{at}/children", ""
        seen: set[str] = set()
        while True:
            more = {"start_cursor": cursor} if cursor else {}
            answer = mapping(api.get(path, page_size=_PART, **more))
            if not isinstance(answer.get("results"), list):
                raise ValueError("the service sent no list of its blocks")
            yield from map(mapping, answer["results"])
            if answer.get("has_more") is not True:
                return
            cursor = str(answer.get("next_cursor") or "")
            if not cursor or cursor in seen or len(seen) > _MOST_OF_PAGE:
                raise ValueError("the list of its blocks has no end")
            seen.add(cursor)

    def _write(self, row: _Row, document: Document) -> None:
        """Write the properties of a row, or the tables of a database."""
        if row.fields:
            shown = ((name, self._shown(text, related)) for name, text, related in row.fields)
            parts = (f"<li><strong>{escape(name)}</strong>: {text}</li>" for name, text in shown)
            document.put(f"<ul>{''.join(parts)}</ul>")
        if row.about:
            document.put(f"<p>{row.about}</p>")
        for name, ids in row.tables or ():
            if len(row.tables or ()) > 1:
                document.put(f"<h2>{escape(name)}</h2>")
            rows = [self._rows[at] for at in ids[:_ROWS]]
            names = list(dict.fromkeys(field[0] for entry in rows for field in entry.fields))
            heads = "".join(f"<th>{escape(head)}</th>" for head in ("Name", *names[:_FIELDS]))
            document.put(f"<table><tr>{heads}</tr>")
            for entry in rows:
                cells = {head: self._shown(text, ids) for head, text, ids in entry.fields}
                document.put(
                    f'<tr><td><a href="{escape(entry.url)}">{escape(entry.title)}</a></td>'
                    + "".join(f"<td>{cells.get(head, '')}</td>" for head in names[:_FIELDS])
                    + "</tr>"
                )
            document.put("</table>")
            if len(ids) > _ROWS:
                document.put(f"<p>{len(ids) - _ROWS:,} more rows are separate pages.</p>")

    def _shown(self, text: str, related: tuple[str, ...]) -> str:
        titles = [self._rows[at].title for at in related if at in self._rows]
        return escape(", ".join(filter(None, [text, *titles]))).replace("\n", "<br>")


def _by_id(paths: Collection[str]) -> dict[str, str]:
    """Paths of pages by their IDs, without those of another kind of source."""
    named = {plain_id(path.rstrip("/").rpartition("/")[2]): path for path in paths}
    named.pop("", None)
    return named


def _search(kind: str) -> Mapping[str, Any]:
    """The request for all objects of a kind. It lists at most 10,000: the last edited first."""
    return {
        "filter": {"property": "object", "value": kind},
        "sort": {"timestamp": "last_edited_time", "direction": "descending"},
    }


def _is_gone(entry: Mapping[str, Any]) -> bool:
    return any(entry.get(key) is True for key in ("in_trash", "archived", "is_archived"))


def _parent(about: Any) -> tuple[str, str]:
    """The type and ID of a parent; for a data source, those of its database."""
    parent = mapping(about)
    for kind in ("database_id", "page_id", "block_id"):
        if at := plain_id(parent.get(kind)):
            return kind, at
    return _NOWHERE
