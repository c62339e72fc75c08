"""GitLab's issues with a label, on gitlab.com or a self-hosted server.

https://docs.gitlab.com/api/issues/ and https://docs.gitlab.com/api/notes/
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from wiki.sources.services.addresses import GitLabAddress
from wiki.sources.services.api import Api, ServiceRefused, mapping
from wiki.sources.services.threads import Thread, ThreadAnswer, thread

CONFIDENTIAL = "confidential"
# Developers and above: https://docs.gitlab.com/api/access_requests/.
_DEVELOPER = 30
_PART = 100
# Rows of a part of the feed.
_NEWEST = 50
# The user names of access tokens of projects and groups.
_BOT = re.compile(r"(?:project|group)_\d+_bot", re.ASCII)


class GitLabIssues:
    """Implements `wiki.sources.services.threads.Host`."""

    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, at: GitLabAddress) -> None:
        self.base = at.api
        self._at = at
        self._project = ""
        self._members: frozenset[str] = frozenset()

    def threads(self, api: Api) -> Iterator[Thread]:
        for part in self._parts(api, order_by="created_at", sort="asc", per_page=_PART):
            yield from part

    def updated(self, api: Api) -> Iterator[list[Thread]]:
        return self._parts(api, order_by="updated_at", sort="desc", per_page=_NEWEST)

    def _parts(self, api: Api, **how: Any) -> Iterator[list[Thread]]:
        self._project, members = self._locate(api)
        self._members = frozenset(
            str(member.get("id")) for member in members if _is_developer(member)
        )
        # A new or former member may change which comment answers any thread.
        digest = hashlib.sha256(repr(sorted(self._members)).encode()).hexdigest()
        wanted = {"labels": ",".join(self._at.labels), "state": self._at.state}
        for part in api.parts(f"{self._project}/issues", **wanted, **how):
            yield [_issue(row, digest) for row in part]

    def _locate(self, api: Api) -> tuple[str, list[Mapping[str, Any]]]:
        """The API's address of the project, and its members.

        The first parts of the address are groups, or the path of the GitLab installation.
        """
        host = self.base.removesuffix("/api")
        parts = self._at.project.split("/")
        problem = ServiceRefused("names no project", 404)
        for depth in range(max(len(parts) - 1, 1)):
            root, name = "/".join(["", *parts[:depth]]), "/".join(parts[depth:])
            project = f"{host}{root}/api/v4/projects/{quote(name, safe='')}"
            try:
                return project, list(api.rows(f"{project}/members/all", per_page=_PART))
            except ServiceRefused as error:
                problem = problem if depth else error
                if not error.is_gone:
                    break
        raise problem

    def answer(self, api: Api, question: Thread) -> ThreadAnswer | None:
        """The last comment by a member: the last commenter may be anyone."""
        last = None
        path = f"{self._project}/issues/{question.path.rpartition('/')[2]}/notes"
        for note in api.rows(path, sort="asc", order_by="created_at", per_page=_PART):
            is_said = note.get("system") is False and note.get("body")
            is_internal = note.get("internal") is True or note.get("confidential") is True
            author = mapping(note.get("author"))
            if is_said and not is_internal and str(author.get("id")) in self._members:
                last = ThreadAnswer(str(note["body"]), f"note_{note.get('id')}")
        return last


def _issue(row: Mapping[str, Any], members: str) -> Thread:
    version = f"{row.get('updated_at')} {row.get('user_notes_count')} {members}"
    hidden = "" if row.get("confidential") is False else CONFIDENTIAL
    return thread("issues", row, ("iid", "title", "web_url", "description"), version, hidden)


def _is_developer(member: Mapping[str, Any]) -> bool:
    level = member.get("access_level")
    is_bot = _BOT.match(str(member.get("username")))
    return isinstance(level, int) and level >= _DEVELOPER and not is_bot
