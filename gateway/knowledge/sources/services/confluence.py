"""Confluence, Cloud and Data Center: the pages of a space, or all that the token can see.

A sync lists every page with its version, labels and restrictions by CQL, and reads the bodies of
those that changed: by REST v2 where the service has it (Cloud), else by v1 (Data Center). A
restriction does not change a page's version, so the list is read whole each time; it also tells
which pages are gone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from gateway.access.rights import EVERYBODY, NOBODY, Groups, foreign, person, simplified
from gateway.core.errors import AskdocsError
from gateway.knowledge.sources import html
from gateway.knowledge.sources.services import items
from gateway.knowledge.sources.services.api import Api, Refused, listed, mapping
from gateway.knowledge.sources.services.stamps import Stamp
from gateway.knowledge.sources.services.storage import document
from gateway.knowledge.sources.source import Broken, Expected, Item
from gateway.knowledge.sources.tokens import Token
from gateway.knowledge.wiki.page import Page

_SPACE = re.compile(r"(?P<base>.*?)/(?:spaces|display)/(?P<key>[^/]+)")
# What Data Center takes for an id as it is.
_PLAIN = re.compile(r"[A-Za-z][\w:.-]*", re.ASCII)
_PART = 50
_EXPAND = (
    "version,space,ancestors,metadata.labels,restrictions.read.restrictions.user,"
    "restrictions.read.restrictions.group"
)


class Place(NamedTuple):
    """Where a Confluence is, and the key of the space; empty for all spaces."""

    base: str
    space: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        split = urlsplit(url)
        found = _SPACE.match(split.path)
        path = found["base"] if found else split.path.rstrip("/")
        if split.netloc.endswith(".atlassian.net") and not path:
            path = "/wiki"
        key = unquote(found["key"]) if found else ""
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


@dataclass
class _Spaces:
    """Who may read each space, as far as it was asked."""

    known: dict[str, Groups | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Of Cloud's groups and people, by their ids."""
    restricted: dict[str, frozenset[str] | None] = field(default_factory=dict)
    """Who may read a page by its own restriction, by its id; None where it has none."""


class Confluence:
    """Implements `gateway.knowledge.sources.source.Source`."""

    def __init__(self, place: str, token: Token | None, rate: float, rights: bool) -> None:
        """
        Args:
            place: the address of a space, or of the whole Confluence.
            token: what lets us in.
            rate: requests a second at most.
            rights: take who may read a page from spaces and restrictions.
        """
        self.name = place
        self._place = Place.parse(place)
        self._token = token
        self._rate = rate
        self._rights = rights
        self._is_cloud = False
        self._titles: dict[tuple[str, str], str] = {}
        self._spaces = _Spaces()

    def read(self, known: Mapping[str, str]) -> Iterator[Item]:
        """See `gateway.knowledge.sources.source.Source.read`.

        Raises:
            AskdocsError: it cannot be reached, does not let us in, or has no page.
        """
        api = Api(self._place.base, self._token, self._rate)
        try:
            yield from self._read(api, known)
        finally:
            api.close()

    def _read(self, api: Api, known: Mapping[str, str]) -> Iterator[Item]:
        self._is_cloud = self._has_v2(api)
        rows = {row.path: row for row in self._list(api)}
        if not rows and not known:
            where = f"the space {self._place.space!r}" if self._place.space else "this Confluence"
            raise AskdocsError(f"{self.name}: {where} has no page that the token may read")
        yield Expected(len(rows))
        yield from (Broken(f"{key}/", why) for key, why in self._spaces.problems.items())
        self._titles = {(row.space, row.title): row.url for row in rows.values()}
        changed = []
        for path, row in rows.items():
            if item := items.unread(path, row.groups, row.stamp, known):
                yield item
            else:
                changed.append(row)
        for start in range(0, len(changed), _PART):
            yield from self._pages(api, changed[start : start + _PART])
        ids = {row.id for row in rows.values()}
        for path in known:
            if path not in rows:
                yield from self._missing(api, path, ids)

    def _has_v2(self, api: Api) -> bool:
        try:
            api.get("/api/v2/spaces", limit=1)
        except Refused as error:
            error.stop_if_away(self._place.base)
            return False
        return True

    def _list(self, api: Api) -> Iterator[_Row]:
        space = self._place.space.replace("\\", "\\\\").replace('"', '\\"')
        query = f'type=page and space="{space}"' if space else "type=page"
        # A page that is edited meanwhile does not change its place.
        path = "/rest/api/content/search"
        parameters: dict[str, Any] = {
            "cql": f"{query} order by created",
            "limit": _PART,
            "expand": _EXPAND,
        }
        seen: set[str] = set()
        while path:
            try:
                answer = mapping(api.get(path, **parameters))
            except Refused as error:
                raise AskdocsError(f"{self.name}: the list of pages {error}: try later") from None
            if not isinstance(answer.get("results"), list):
                raise AskdocsError(f"{self.name}: the list of pages is not valid: try later")
            for one in answer["results"]:
                yield self._row(api, mapping(one))
            path, parameters = str(mapping(answer.get("_links")).get("next") or ""), {}
            if path in seen:
                raise AskdocsError(f"{self.name}: the list of pages has no end")
            seen.add(path)

    def _row(self, api: Api, one: Mapping[str, Any]) -> _Row:
        webui = str(mapping(one.get("_links")).get("webui") or "")
        key = str(mapping(one.get("space")).get("key") or self._place.space)
        labels = mapping(mapping(one.get("metadata")).get("labels")).get("results")
        if not one.get("id") or not webui:
            raise AskdocsError(f"{self.name}: the list of pages has a row without id or address")
        return _Row(
            id=str(one["id"]),
            title=str(one.get("title") or "Untitled"),
            space=key,
            url=self._place.base + webui,
            version=str(mapping(one.get("version")).get("number")),
            labels=tuple(sorted(str(mapping(label).get("name")) for label in listed(labels))),
            groups=self._groups(api, one, key) if self._rights else None,
        )

    def _groups(self, api: Api, one: Mapping[str, Any], key: str) -> Groups:
        """Of the space, of the page, and of each page above it that restricts its readers."""
        if key not in self._spaces.known:
            self._spaces.known[key] = self._of_space(api, key)
        found = list(self._spaces.known[key] or ())
        own = _restricted(one.get("restrictions"))
        self._spaces.restricted[str(one["id"])] = own
        for above in listed(one.get("ancestors")):
            at = str(mapping(above).get("id"))
            if at not in self._spaces.restricted:
                self._spaces.restricted[at] = self._of_ancestor(api, at)
            if (inherited := self._spaces.restricted[at]) is not None:
                found.append(inherited)
        if own is not None:
            found.append(own)
        return simplified(found)

    def _of_ancestor(self, api: Api, at: str) -> frozenset[str] | None:
        path = f"/rest/api/content/{quote(at, safe='')}/restriction/byOperation/read"
        try:
            answer = mapping(api.get(path, expand="restrictions.user,restrictions.group"))
        except Refused as error:
            error.stop_if_away(self.name)
            return frozenset()  # who may read it is not known: nobody
        return _restricted({"read": answer})

    def _of_space(self, api: Api, key: str) -> Groups:
        try:
            return (frozenset(self._readers(api, key)),)
        except Refused as error:
            error.stop_if_away(self.name)
            self._spaces.problems[key] = (
                f"the rights of the space: {error}; so nobody may read it. Give the token the right"
                " to see its permissions, or set ASKDOCS_SITES_RIGHTS=false and rules of your own"
            )
            return NOBODY

    def _readers(self, api: Api, key: str) -> Iterator[str]:
        """The groups and people that may view a space."""
        if not self._is_cloud:
            for one in listed(api.get(f"/rest/api/space/{quote(key, safe='')}/permissions")):
                operation, subject = (
                    mapping(mapping(one).get("operation")),
                    mapping(one).get("subject"),
                )
                if (operation.get("operationKey"), operation.get("targetType")) == (
                    "read",
                    "space",
                ):
                    yield self._subject(mapping(subject))
            return
        spaces = mapping(api.get("/api/v2/spaces", keys=key)).get("results")
        ids = [mapping(one).get("id") for one in listed(spaces)]
        if not ids:
            raise Refused("the service does not show the space", 404)
        path = f"/api/v2/spaces/{ids[0]}/permissions?limit=250"
        seen: set[str] = set()
        while path:
            if path in seen:
                raise Refused("the list of permissions has no end", 404)
            seen.add(path)
            answer = mapping(api.get(path))
            for one in listed(answer.get("results")):
                operation = mapping(mapping(one).get("operation"))
                if (operation.get("key"), operation.get("targetType")) == ("read", "space"):
                    yield self._principal(api, mapping(mapping(one).get("principal")))
            path = str(mapping(answer.get("_links")).get("next") or "")

    def _subject(self, subject: Mapping[str, Any]) -> str:
        kind = str(subject.get("type"))
        if kind == "anonymous":
            return EVERYBODY
        if kind == "group":
            return _group(subject.get("name") or subject.get("displayName"))
        return _person(subject)

    def _principal(self, api: Api, principal: Mapping[str, Any]) -> str:
        kind, at = str(principal.get("type")), str(principal.get("id") or "")
        if kind == "user":
            if at not in self._spaces.names:
                try:
                    about = api.get("/rest/api/user", accountId=at)
                except Refused as error:
                    error.stop_if_away(self.name)
                    about = {"accountId": at}
                self._spaces.names[at] = _person({"accountId": at, **mapping(about)})
            return self._spaces.names[at]
        if kind == "group":
            if at not in self._spaces.names:
                try:
                    about = mapping(api.get("/rest/api/group/by-id", id=at))
                except Refused as error:
                    error.stop_if_away(self.name)
                    about = {}
                self._spaces.names[at] = _group(about.get("name")) or (at and f"confluence:{at}")
            return self._spaces.names[at]
        return EVERYBODY if kind == "anonymous" else ""

    def _pages(self, api: Api, rows: Sequence[_Row]) -> Iterator[Item]:
        """The pages of rows, read together where the service can."""
        bodies: dict[str, Mapping[str, Any]] = {}
        if self._is_cloud:
            ids = ",".join(row.id for row in rows)
            try:
                answer = mapping(
                    api.get("/api/v2/pages", id=ids, limit=_PART, **{"body-format": "storage"})
                )
                bodies = {str(mapping(one).get("id")): one for one in listed(answer.get("results"))}
            except Refused:
                pass  # one by one, then
        for row in rows:
            try:
                body = bodies.get(row.id) or self._body(api, row.id)
            except Refused as error:
                yield Broken(row.path, str(error), row.groups)
                continue
            yield self._page(row, body)

    def _body(self, api: Api, at: str) -> Mapping[str, Any]:
        at = quote(at, safe="")
        if self._is_cloud:
            return mapping(api.get(f"/api/v2/pages/{at}", **{"body-format": "storage"}))
        return mapping(api.get(f"/rest/api/content/{at}", expand="body.storage,version"))

    def _page(self, row: _Row, answer: Mapping[str, Any]) -> Item:
        storage = mapping(mapping(answer.get("body")).get("storage")).get("value")
        if not isinstance(storage, str):
            return Broken(row.path, "the service sent no text for it", row.groups)

        def page() -> Page:
            whole = document(
                storage,
                row.title,
                lambda space, title: self._titles.get((space or row.space, title), ""),
                lambda heading: self._anchor(row.title, heading),
            )
            read = replace(html.page(whole, row.path, row.url), title=row.title)
            if not (read.has_text and row.labels):
                return read
            *above, last = read.sections
            last = replace(last, text=f"{last.text}\n\nLabels: {', '.join(row.labels)}")
            return replace(read, sections=(*above, last))

        return items.read(row.path, row.groups, row.stamp, page)

    def _anchor(self, title: str, heading: str) -> str:
        if self._is_cloud:
            return heading.replace(" ", "-")
        name = "".join(title.split()) + "-" + "".join(heading.split())
        return name if _PLAIN.fullmatch(name) else f"id-{name}"

    def _missing(self, api: Api, path: str, ids: Set[str]) -> Iterator[Item]:
        """A page that is known and not in the list, whose index may be behind: request the page.

        Without the list the page's readers are unknown (it may be in another space now), so that
        nobody may read it. A page with its id in the list has moved, and is removed here.
        """
        at = path.rpartition("/")[2]
        if at in ids:
            return
        groups = NOBODY if self._rights else None
        try:
            answer = self._body(api, at)
        except Refused as error:
            if not error.is_gone:
                yield Broken(path, str(error), groups)
            return
        if answer.get("status", "current") == "current" and str(answer.get("id")) == at:
            why = "is missing in the service's list of pages, but still exists"
            yield Broken(path, why, groups)


def _restricted(restrictions: Any) -> frozenset[str] | None:
    """Who may read a page by its restriction; None where it has none."""
    inner = mapping(mapping(mapping(restrictions).get("read")).get("restrictions"))
    users, groups = inner.get("user"), inner.get("group")
    if not isinstance(users, dict) or not isinstance(groups, dict):
        return frozenset()  # the service did not say: nobody
    people, named = listed(users.get("results")), listed(groups.get("results"))
    if not people and not named:
        return None if not users.get("size") and not groups.get("size") else frozenset()
    names = {_person(one) for one in people} | {_group(mapping(one).get("name")) for one in named}
    return frozenset(filter(None, names))


def _group(name: Any) -> str:
    return foreign(name, "confluence")


def _person(one: Any) -> str:
    about = mapping(one)
    named = about.get("email") or about.get("username") or about.get("accountId")
    if not named:
        return ""
    try:
        return person(str(named))
    except ValueError:
        return ""
