"""Confluence, Cloud and Data Center: the pages of a space, or all that the token can see.

A sync lists every page with its version, labels and restrictions by CQL, and reads the bodies of
changed pages: by REST v2 if available (Cloud), else by v1 (Data Center). It always lists all pages:
restrictions, moves below a restricted page, labels and deletions do not change `lastmodified`, so a
query by modification would miss them. Attachments are listed in the same way, and have the readers
of their page.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.rights import NOBODY, Groups
from wiki.sources import html
from wiki.sources.documents import attached, reading
from wiki.sources.services.api import PARTS, Api, ServiceRefused, listed, mapping
from wiki.sources.services.confluence_rights import Readers
from wiki.sources.services.items import SyncState
from wiki.sources.services.service import Service
from wiki.sources.services.stamps import Stamp
from wiki.sources.services.storage import document
from wiki.sources.source import Broken, Expected, Item, LeftOut
from wiki.sources.tokens import Token

_SPACE = re.compile(r"(?P<base>.*?)/(?:spaces|display)/(?P<key>[^/]+)")
# Data Center accepts these as IDs without quoting.
_PLAIN = re.compile(r"[A-Za-z][\w:.-]*", re.ASCII)
# Pages that Cloud returns together with their text.
_PART = 50
# Rows to request per part of a list; a service may return fewer.
_ROWS = 200
NEWER = "was changed after the list of pages was read: the next sync reads it"
# Slashes in the path of an attachment: space/page/attachment.
_DEPTH = 2
_EXPAND = (
    "version,space,ancestors,metadata.labels,restrictions.read.restrictions.user,"
    "restrictions.read.restrictions.group"
)


class SpaceAddress(NamedTuple):
    """The address of a Confluence, and the key of the space; empty for all spaces."""

    base: str
    space: str

    @classmethod
    def parse(cls, url: str) -> "SpaceAddress":
        split = urlsplit(url)
        match = _SPACE.match(split.path)
        path = match["base"] if match else split.path.rstrip("/")
        if split.netloc.endswith(".atlassian.net") and not path:
            path = "/wiki"
        key = unquote(match["key"]) if match else ""
        return cls(f"{split.scheme}://{split.netloc}{path}", key)


@dataclass(frozen=True)
class _Row:
    """A page in the list."""

    id: str
    title: str
    space: str
    url: str
    version: str
    labels: tuple[str, ...]
    groups: Groups | None

    @property
    def path(self) -> str:
        return f"{self.space}/{self.id}"

    @property
    def stamp(self) -> str:
        made = repr((self.version, self.title, self.url, self.labels))
        return str(Stamp.of(made, self.groups))


@dataclass(frozen=True)
class _File:
    """An attachment in the list."""

    id: str
    page: _Row
    name: str
    download: str
    """The path of its current version, below the base."""
    version: str
    why_not: str
    """The reason why it is not downloaded; empty if it is."""

    @property
    def path(self) -> str:
        return f"{self.page.path}/{self.id}"

    @property
    def stamp(self) -> str:
        made = repr((self.version, self.name, self.page.title, reading.VERSION))
        return str(Stamp.of(made, self.page.groups))


class Confluence(Service):
    """A space, or a whole Confluence."""

    def __init__(
        self,
        place: str,
        token: Token | None,
        rate: float,
        rights: bool,
        attachments: bool = False,
    ) -> None:
        """
        Args:
            place: the address of a space, or of the whole Confluence.
            token: the access token.
            rate: maximum requests per second.
            rights: import page permissions from spaces and restrictions.
            attachments: read files attached to pages, too.
        """
        self._place = SpaceAddress.parse(place)
        super().__init__(place, self._place.base, token, rate)
        self._rights = rights
        self._attachments = attachments
        self._is_cloud = False
        self._titles: dict[tuple[str, str], str] = {}

    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]:
        known = memory.known
        self._is_cloud = self._has_v2(api)
        readers = Readers(api, self._is_cloud, self.name) if self._rights else None
        rows = {row.path: row for row in self._list(api, readers)}
        if not rows and not known:
            where = f"the space {self._place.space!r}" if self._place.space else "this Confluence"
            raise AskdocsError(f"{self.name}: {where} has no page that the token may read")
        files = list(self._files(api, rows)) if self._attachments else []
        yield Expected(len(rows) + len(files))
        if readers:
            yield from (Broken(f"{key}/", why) for key, why in readers.problems.items())
        self._titles = {(row.space, row.title): row.url for row in rows.values()}
        changed = []
        for path, row in rows.items():
            if item := memory.unread(path, row.groups, row.stamp):
                yield item
            else:
                changed.append(row)
        for start in range(0, len(changed), _PART):
            yield from self._pages(api, memory, changed[start : start + _PART])
        for file in files:
            yield self._file(api, memory, file)
        ids = {row.id for row in rows.values()} | {file.id for file in files}
        paths = rows.keys() | {file.path for file in files}
        for path in known:
            is_file, is_space = path.count("/") == _DEPTH, path.endswith("/")
            if path not in paths and not is_space and (self._attachments or not is_file):
                yield from self._missing(api, path, ids)
        yield memory.state()

    def _has_v2(self, api: Api) -> bool:
        try:
            api.get("/api/v2/spaces", limit=1)
        except ServiceRefused as error:
            error.stop_if_away(self._place.base)
            return False
        return True

    def _list(self, api: Api, readers: Readers | None) -> Iterator[_Row]:
        for page in self._search(api, "page", _EXPAND):
            yield self._row(page, readers)

    def _search(self, api: Api, kind: str, expand: str) -> Iterator[Mapping[str, Any]]:
        """Yields all content of a kind, as the service lists it."""
        # In an order that edits do not change.
        for part in self._parts(api, kind, expand, "order by created", _ROWS):
            yield from part

    def _parts(
        self, api: Api, kind: str, expand: str, rest: str, limit: int
    ) -> Iterator[list[Mapping[str, Any]]]:
        """Yields the parts of the list of content of a kind; `rest` is the end of the query."""
        space = self._place.space.replace("\\", "\\\\").replace('"', '\\"')
        query = f'type={kind} and space="{space}"' if space else f"type={kind}"
        path = "/rest/api/content/search"
        parameters: dict[str, Any] = {
            "cql": f"{query} {rest}",
            "limit": limit,
            "expand": expand,
        }
        seen: set[str] = set()
        while path:
            try:
                answer = mapping(api.get(path, **parameters))
            except ServiceRefused as error:
                if parameters.get("limit") == _ROWS:  # too many rows at once
                    parameters["limit"] = _PART
                    continue
                raise AskdocsError(f"{self.name}: the list of {kind}s {error}: try later") from None
            if not isinstance(answer.get("results"), list):
                raise AskdocsError(f"{self.name}: the list of {kind}s is not valid: try later")
            yield [mapping(row) for row in answer["results"]]
            path, parameters = str(mapping(answer.get("_links")).get("next") or ""), {}
            if path in seen or len(seen) == PARTS:
                raise AskdocsError(f"{self.name}: the list of {kind}s has no end")
            seen.add(path)

    def _row(self, page: Mapping[str, Any], readers: Readers | None) -> _Row:
        webui = str(mapping(page.get("_links")).get("webui") or "")
        key = str(mapping(page.get("space")).get("key") or self._place.space)
        labels = mapping(mapping(page.get("metadata")).get("labels")).get("results")
        if not page.get("id") or not webui:
            raise AskdocsError(f"{self.name}: the list of pages has a row without id or address")
        return _Row(
            id=str(page["id"]),
            title=str(page.get("title") or "Untitled"),
            space=key,
            url=self._place.base + webui,
            version=str(mapping(page.get("version")).get("number")),
            labels=tuple(sorted(str(mapping(label).get("name")) for label in listed(labels))),
            groups=readers.of_page(page, key) if readers else None,
        )

    def _files(self, api: Api, rows: Mapping[str, _Row]) -> Iterator[_File]:
        """Yields the attachments of listed pages; others have no page here."""
        pages = {row.id: row for row in rows.values()}
        for attachment in self._search(api, "attachment", "version,container"):
            page = pages.get(str(mapping(attachment.get("container")).get("id")))
            about, links = mapping(attachment.get("extensions")), mapping(attachment.get("_links"))
            name, size = str(attachment.get("title") or ""), about.get("fileSize")
            download = str(links.get("download") or "")
            if not attachment.get("id") or not download:
                raise AskdocsError(
                    f"{self.name}: the list of attachments has a row without id or address"
                )
            if page is None:
                continue
            yield _File(
                id=str(attachment["id"]),
                page=page,
                name=name,
                download=download,
                version=str(mapping(attachment.get("version")).get("number")),
                why_not=attached.why_not(
                    name,
                    str(
                        about.get("mediaType")
                        or mapping(attachment.get("metadata")).get("mediaType")
                    ),
                    size if isinstance(size, int) else 0,
                ),
            )

    def _pages(self, api: Api, memory: SyncState, rows: Sequence[_Row]) -> Iterator[Item]:
        """Reads the pages of rows, together if the service supports it."""
        bodies: dict[str, Mapping[str, Any]] = {}
        if self._is_cloud:
            ids = ",".join(row.id for row in rows)
            try:
                answer = mapping(
                    api.get("/api/v2/pages", id=ids, limit=_PART, **{"body-format": "storage"})
                )
                bodies = {
                    str(mapping(page).get("id")): page for page in listed(answer.get("results"))
                }
            except ServiceRefused:
                pass  # read them one by one instead
        for row in rows:
            try:
                body = bodies.get(row.id) or self._body(api, row.id)
            except ServiceRefused as error:
                yield Broken(row.path, str(error), row.groups)
                continue
            # The list states the readers of its version's text, not of a newer one.
            version = str(mapping(body.get("version")).get("number", row.version))
            if self._rights and version != row.version:
                yield Broken(row.path, NEWER, row.groups)
            else:
                yield self._page(memory, row, body)

    def _body(self, api: Api, at: str) -> Mapping[str, Any]:
        at = quote(at, safe="")
        if self._is_cloud:
            return mapping(api.get(f"/api/v2/pages/{at}", **{"body-format": "storage"}))
        return mapping(api.get(f"/rest/api/content/{at}", expand="body.storage,version"))

    def _page(self, memory: SyncState, row: _Row, answer: Mapping[str, Any]) -> Item:
        storage = mapping(mapping(answer.get("body")).get("storage")).get("value")
        if not isinstance(storage, str):
            return Broken(row.path, "the service sent no text for it", row.groups)

        def link(space: str, title: str) -> str:
            return self._titles.get((space or row.space, title), "")

        def page() -> Page:
            whole = document(
                storage, row.title, link, lambda heading: self._anchor(row.title, heading)
            )
            read = replace(html.page(whole, row.path, row.url), title=row.title)
            return _with_line(read, f"Labels: {', '.join(row.labels)}") if row.labels else read

        return memory.read(row.path, row.groups, row.stamp, page)

    def _file(self, api: Api, memory: SyncState, file: _File) -> Item:
        if file.why_not:
            return LeftOut(file.path, file.why_not)
        if item := memory.unread(file.path, file.page.groups, file.stamp):
            return item
        try:
            data = api.file(file.download, reading.LARGEST)
        except ServiceRefused as error:
            return Broken(file.path, str(error), file.page.groups)
        # Without the version, which a newer one replaces.
        url = self._place.base + file.download.partition("?")[0]

        def page() -> Page:
            read = attached.page(data, file.name, file.path, url)
            return _with_line(read, f"Attached to: {file.page.title}")

        return memory.read(file.path, file.page.groups, file.stamp, page)

    def _anchor(self, title: str, heading: str) -> str:
        if self._is_cloud:
            return heading.replace(" ", "-")
        name = "".join(title.split()) + "-" + "".join(heading.split())
        return name if _PLAIN.fullmatch(name) else f"id-{name}"

    def _missing(self, api: Api, path: str, ids: Set[str]) -> Iterator[Item]:
        """Check a known page that is not in the list, whose index may lag: request the page.

        Outside the list the page's readers are unknown (it may be in another space now), so nobody
        may read it. A page whose ID is in the list has moved, and is removed here.
        """
        _, *all_ids = path.split("/")
        if all_ids[-1] in ids:
            return
        groups = NOBODY if self._rights else None
        try:
            answers = [(at, self._about(api, at)) for at in all_ids]  # for a page, and for its file
        except ServiceRefused as error:
            if not error.is_gone:
                yield Broken(path, str(error), groups)
            return
        if all(
            answer.get("status", "current") == "current" and str(answer.get("id")) == at
            for at, answer in answers
        ):
            why = "is missing in the service's list of pages, but still exists"
            yield Broken(path, why, groups)

    def _about(self, api: Api, at: str) -> Mapping[str, Any]:
        if self._is_cloud and at.startswith("att"):
            return mapping(api.get(f"/api/v2/attachments/{quote(at, safe='')}"))
        return self._body(api, at)


def _with_line(read: Page, line: str) -> Page:
    """Adds a line at the end of a page."""
    if not read.has_text:
        return read
    *above, last = read.sections
    return replace(read, sections=(*above, replace(last, text=f"{last.text}\n\n{line}")))
