"""GitHub (Enterprise Server) and GitLab over HTTP, in the wire formats of the vendors' references.

https://docs.github.com/en/enterprise-server/rest/issues, https://docs.github.com/graphql and
https://docs.gitlab.com/api/issues/
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from tests.speaking import Handler, serving

EARLIER = "2026-05-01T10:00:00Z"


@dataclass
class Said:
    """A comment."""

    body: str
    by_member: bool = True
    is_bot: bool = False
    is_system: bool = False
    is_internal: bool = False


@dataclass
class Asked:
    """An issue or a discussion."""

    title: str
    body: str = "How do I reset it?"
    comments: list[Said] = field(default_factory=lambda: [Said("Hold the button.")])
    labels: tuple[str, ...] = ("answered",)
    is_closed: bool = True
    updated: str = EARLIER
    is_pull: bool = False
    is_confidential: bool = False
    is_answered: bool = True
    category: str = "q-a"
    refused: int = 0
    """A status in place of its comments, or an error of GraphQL."""


@dataclass
class Project:
    """The project team/app, and what was asked."""

    is_github: bool
    url: str = ""
    threads: dict[int, Asked] = field(default_factory=dict)
    levels: dict[int, int] = field(default_factory=lambda: {1: 30, 2: 20, 3: 40})
    """The access of members of GitLab: ada, who answers, a reporter and a bot."""
    part: int = 2
    endless: bool = False
    root: str = ""
    """The path that a GitLab is below."""
    elsewhere: str = ""
    """The host that lists name for their next part."""
    fail: list[Any] = field(default_factory=list)
    """What the next requests get: None, a status, (status, headers), or "truncated"."""
    failing: dict[str, Any] = field(default_factory=dict)
    """The same, for ever, by path."""
    errors: str = ""
    """The type of error that GraphQL answers."""
    until: int | None = None
    """Requests until the token expires."""
    damage: Callable[[Any], Any] = lambda answer: answer
    """Done to each answer."""
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        """A status, and the rows of a list."""
        if not path.startswith(f"{self.root}/api/"):
            return 404, {"message": "Not Found"}
        parts = path.removeprefix(self.root).split("/")[2:]
        if self.is_github:
            match parts:
                case ["v3", "repos", "team", "app", "issues"]:
                    states = {"open": (False,), "closed": (True,), "all": (True, False)}
                    rows = self._github(query["labels"], states[query["state"]])
                    return 200, _in_order(rows, query["sort"], query["direction"])
                case ["v3", "repos", "team", "app", "issues", number, "comments"]:
                    return self._comments(self.threads[int(number)])
        match parts:
            case ["v4", "projects", "team%2Fapp", "issues"]:
                states = {"opened": (False,), "closed": (True,), "all": (True, False)}
                rows = self._gitlab(query["labels"], states[query["state"]])
                return 200, _in_order(rows, query["order_by"].removesuffix("_at"), query["sort"])
            case ["v4", "projects", "team%2Fapp", "issues", number, "notes"]:
                return self._notes(self.threads[int(number)])
            case ["v4", "projects", "team%2Fapp", "members", "all"]:
                names = {1: "ada", 2: "reporter", 3: "project_7_bot_x"}
                return 200, [
                    {"id": at, "username": names[at], "access_level": level, "state": "active"}
                    for at, level in self.levels.items()
                ]
        return 404, {"message": "Not Found"}

    def _wanted(self, labels: str, states: tuple[bool, ...]) -> Iterator[tuple[int, Asked]]:
        for number, one in sorted(self.threads.items()):
            if set(labels.split(",")) <= set(one.labels) and one.is_closed in states:
                yield number, one

    def _github(self, labels: str, states: tuple[bool, ...]) -> list[Any]:
        rows = []
        for number, one in self._wanted(labels, states):
            row = {
                "number": number, "title": one.title, "body": one.body,
                "html_url": f"{self.url}/team/app/issues/{number}", "updated_at": one.updated,
                "comments": len(one.comments), "state": "closed" if one.is_closed else "open",
                "labels": [{"name": name} for name in one.labels],
                "user": {"login": "eve", "type": "User"}, "author_association": "NONE",
            }  # fmt: skip
            rows.append(row | ({"pull_request": {"url": "x"}} if one.is_pull else {}))
        return rows

    def _comments(self, one: Asked) -> tuple[int, Any]:
        if one.refused:
            return one.refused, {"message": "no"}
        return 200, [
            {"id": 500 + at, "body": said.body, "created_at": EARLIER,
             "user": {"login": "x", "type": "Bot" if said.is_bot else "User"},
             "author_association": "MEMBER" if said.by_member else "NONE"}
            for at, said in enumerate(one.comments)
        ]  # fmt: skip

    def _gitlab(self, labels: str, states: tuple[bool, ...]) -> list[Any]:
        return [
            {"id": 9_000 + number, "iid": number, "title": one.title, "description": one.body,
             "web_url": f"{self.url}{self.root}/team/app/-/issues/{number}",
             "updated_at": one.updated, "user_notes_count": len(one.comments),
             "confidential": one.is_confidential,
             "state": "closed" if one.is_closed else "opened", "labels": list(one.labels),
             "author": {"id": 4, "username": "eve"}}
            for number, one in self._wanted(labels, states)
        ]  # fmt: skip

    def _notes(self, one: Asked) -> tuple[int, Any]:
        if one.refused:
            return one.refused, {"message": "no"}
        return 200, [
            {"id": 500 + at, "body": said.body, "system": said.is_system,
             "internal": said.is_internal, "confidential": said.is_internal,
             "author": {"id": 3 if said.is_bot else 1 if said.by_member else 2, "username": "x"}}
            for at, said in enumerate(one.comments)
        ]  # fmt: skip

    def graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        about = body["variables"]
        assert (about["owner"], about["name"]) == ("team", "app")
        if self.errors:
            return {"data": {"repository": None}, "errors": [{"type": self.errors, "path": []}]}
        if "number" in about:
            one = self.threads[about["number"]]
            if one.refused:
                return {"data": None, "errors": [{"type": "FORBIDDEN"}]}
            answer = {"databaseId": 500, "body": one.comments[0].body}
            return {"data": {"repository": {"discussion": {"answer": answer}}}}
        assert "answered: true" in body["query"]
        start = int(about["after"] or 0)
        found = [(at, one) for at, one in sorted(self.threads.items()) if one.is_answered]
        if about["order"] == {"field": "UPDATED_AT", "direction": "DESC"}:
            found.sort(key=lambda pair: pair[1].updated, reverse=True)
        else:
            assert about["order"] == {"field": "CREATED_AT", "direction": "ASC"}
        end = start + min(self.part, about["first"])
        nodes = [
            {"number": at, "title": one.title, "body": one.body, "updatedAt": one.updated,
             "lastEditedAt": None, "url": f"{self.url}/team/app/discussions/{at}",
             "category": {"slug": one.category}, "answer": {"id": "x", "updatedAt": EARLIER}}
            for at, one in found[start:end]
        ]  # fmt: skip
        is_more = end < len(found) or self.endless
        about = {"hasNextPage": is_more, "endCursor": str(end)}
        return {"data": {"repository": {"discussions": {"pageInfo": about, "nodes": nodes}}}}


def _in_order(rows: list[Any], field: str, direction: str) -> list[Any]:
    """Rows by creation, or the last updated first."""
    if (field, direction) == ("updated", "desc"):
        return sorted(rows, key=lambda row: str(row["updated_at"]), reverse=True)
    assert (field, direction) == ("created", "asc")
    return rows


@contextmanager
def project(is_github: bool) -> Iterator[Project]:
    """Serve an empty project."""
    served = Project(is_github)

    class Serve(Handler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            if self._refused(split.path):
                return
            query = {key: values[0] for key, values in parse_qs(split.query).items()}
            status, rows = served.answer(split.path, query)
            links = ""
            if isinstance(rows, list):
                start = int(query.get("page", 1)) - 1
                whole, rows = len(rows), rows[start * served.part : (start + 1) * served.part]
                if (start + 1) * served.part < whole or served.endless:
                    more = urlencode({**query, "page": start + 2})
                    base = served.elsewhere or served.url
                    links = f'<{base}{split.path}?{more}>; rel="next", <{base}/x>; rel="last"'
            self._send(status, rows, links)

        def do_POST(self) -> None:
            assert self.path == "/api/graphql"
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self._refused(self.path):
                self._send(200, served.graphql(body), "")

        def _refused(self, path: str) -> bool:
            served.asked.append(unquote(path))
            served.tokens.append(self.headers.get("authorization", ""))
            if served.until is not None:
                served.until -= 1
                if served.until < 0:
                    self.json(401, {"message": "Bad credentials"})
                    return True
            said = served.fail.pop(0) if served.fail else served.failing.get(path)
            self.is_cut = said == "truncated"
            if isinstance(said, int):
                said = (said, {})
            if not isinstance(said, tuple):
                return False
            self.bare(*said)
            return True

        def _send(self, status: int, answer: Any, links: str) -> None:
            data = json.dumps(served.damage(answer)).encode()
            data = data[: len(data) // 2] if self.is_cut else data
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if links:
                self.send_header("link", links)
            self.end_headers()
            self.wfile.write(data)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Serve)) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield served
