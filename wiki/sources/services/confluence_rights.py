"""The readers of Confluence pages: from permissions of spaces and restrictions of pages."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from wiki.rights import EVERYBODY, NOBODY, Groups, foreign, person, simplified
from wiki.sources.services.api import PARTS, Api, ServiceRefused, listed, mapping


class Readers:
    """Looks up each space, and each parent page, only once."""

    def __init__(self, api: Api, is_cloud: bool, name: str) -> None:
        """
        Args:
            api: the service.
            is_cloud: it supports the permissions of REST v2.
            name: the source's name, for errors.
        """
        self._api = api
        self._is_cloud = is_cloud
        self._name = name
        self.problems: dict[str, str] = {}
        """Spaces whose permissions the service does not reveal, with the reason."""
        self._spaces: dict[str, Groups] = {}
        # Names of Cloud's groups and people, by ID.
        self._names: dict[str, str] = {}
        # The readers of a page by its own restriction, by ID; None without a restriction.
        self._restricted: dict[str, frozenset[str] | None] = {}

    def of_page(self, page: Mapping[str, Any], key: str) -> Groups:
        """The access requirements of a listed page in the space `key`: one group or person of the
        space, of the page, and of each parent page with a reading restriction.

        Raises AskdocsError: the service is unavailable.
        """
        if key not in self._spaces:
            self._spaces[key] = self._of_space(key)
        needed = list(self._spaces[key])
        own = _restricted(page.get("restrictions"))
        self._restricted[str(page["id"])] = own
        if not isinstance(ancestors := page.get("ancestors"), list):
            return NOBODY  # the service did not list the parents, which may be restricted
        for above in ancestors:
            at = str(mapping(above).get("id"))
            if at not in self._restricted:
                self._restricted[at] = self._of_ancestor(at)
            if (inherited := self._restricted[at]) is not None:
                needed.append(inherited)
        if own is not None:
            needed.append(own)
        return simplified(needed)

    def _of_ancestor(self, at: str) -> frozenset[str] | None:
        path = f"/rest/api/content/{quote(at, safe='')}/restriction/byOperation/read"
        try:
            answer = mapping(self._api.get(path, expand="restrictions.user,restrictions.group"))
        except ServiceRefused as error:
            error.stop_if_away(self._name)
            return frozenset()  # its readers are unknown: nobody
        return _restricted({"read": answer})

    def _of_space(self, key: str) -> Groups:
        try:
            return (frozenset(self._readers(key)),)
        except ServiceRefused as error:
            error.stop_if_away(self._name)
            self.problems[key] = (
                f"the rights of the space: {error}; so nobody may read it. Let the token read its "
                "permissions, or set ASKDOCS_SITES_RIGHTS=false and your own rules"
            )
            return NOBODY

    def _readers(self, key: str) -> Iterator[str]:
        """Yields the groups and people that may view a space."""
        if not self._is_cloud:
            for permission in listed(
                self._api.get(f"/rest/api/space/{quote(key, safe='')}/permissions")
            ):
                operation, subject = (
                    mapping(mapping(permission).get("operation")),
                    mapping(permission).get("subject"),
                )
                if (operation.get("operationKey"), operation.get("targetType")) == (
                    "read",
                    "space",
                ):
                    yield self._subject(mapping(subject))
            return
        spaces = mapping(self._api.get("/api/v2/spaces", keys=key)).get("results")
        ids = [mapping(space).get("id") for space in listed(spaces)]
        if not ids:
            raise ServiceRefused("the service does not show the space", 404)
        path = f"/api/v2/spaces/{ids[0]}/permissions?limit=250"
        seen: set[str] = set()
        while path:
            if path in seen or len(seen) == PARTS:
                raise ServiceRefused("the list of permissions has no end", 404)
            seen.add(path)
            answer = mapping(self._api.get(path))
            for permission in listed(answer.get("results")):
                operation = mapping(mapping(permission).get("operation"))
                if (operation.get("key"), operation.get("targetType")) == ("read", "space"):
                    yield self._principal(mapping(mapping(permission).get("principal")))
            path = str(mapping(answer.get("_links")).get("next") or "")

    def _subject(self, subject: Mapping[str, Any]) -> str:
        kind = str(subject.get("type"))
        if kind == "anonymous":
            return EVERYBODY
        if kind == "group":
            return _group(subject.get("name") or subject.get("displayName"))
        return _person(subject)

    def _principal(self, principal: Mapping[str, Any]) -> str:
        kind, at = str(principal.get("type")), str(principal.get("id") or "")
        if kind == "user":
            if at not in self._names:
                try:
                    about = self._api.get("/rest/api/user", accountId=at)
                except ServiceRefused as error:
                    error.stop_if_away(self._name)
                    about = {"accountId": at}
                self._names[at] = _person({"accountId": at, **mapping(about)})
            return self._names[at]
        if kind == "group":
            if at not in self._names:
                try:
                    about = mapping(self._api.get("/rest/api/group/by-id", id=at))
                except ServiceRefused as error:
                    error.stop_if_away(self._name)
                    about = {}
                self._names[at] = _group(about.get("name")) or (at and f"confluence:{at}")
            return self._names[at]
        return EVERYBODY if kind == "anonymous" else ""


def _restricted(restrictions: Any) -> frozenset[str] | None:
    """The readers of a page by its restriction; None without one."""
    inner = mapping(mapping(mapping(restrictions).get("read")).get("restrictions"))
    users, groups = inner.get("user"), inner.get("group")
    if not isinstance(users, dict) or not isinstance(groups, dict):
        return frozenset()  # the service did not list them: nobody
    people, named = listed(users.get("results")), listed(groups.get("results"))
    if not people and not named:
        return None if not users.get("size") and not groups.get("size") else frozenset()
    names = {_person(user) for user in people} | {
        _group(mapping(named_group).get("name")) for named_group in named
    }
    return frozenset(filter(None, names))


def _group(name: Any) -> str:
    return foreign(name, "confluence")


def _person(user: Any) -> str:
    about = mapping(user)
    named = about.get("email") or about.get("username") or about.get("accountId")
    if not named:
        return ""
    try:
        return person(str(named))
    except ValueError:
        return ""
