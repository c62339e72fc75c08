"""GitHub's issues with a label, and discussions with an accepted answer.

https://docs.github.com/rest/issues and https://docs.github.com/graphql/guides
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from core.errors import AskdocsError
from wiki.sources.services.addresses import GitHubAddress
from wiki.sources.services.api import Api, ServiceRefused, listed, mapping, word
from wiki.sources.services.threads import Thread, ThreadAnswer, thread

_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_MEMBERS = ("OWNER", "MEMBER", "COLLABORATOR")
_PART = 100
# Rows of a part of the feed.
_NEWEST = 50
_MOST = 10_000
_LIST = """
query($owner: String!, $name: String!, $after: String, $first: Int!, $order: DiscussionOrder!) {
  repository(owner: $owner, name: $name) {
    discussions(first: $first, after: $after, answered: true, orderBy: $order) {
      pageInfo { hasNextPage endCursor }
      nodes {
        number title url body updatedAt lastEditedAt
        category { slug }
        answer { id updatedAt }
      }
    }
  }
}
"""
_ANSWER = """
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    discussion(number: $number) { answer { databaseId body } }
  }
}
"""


class GitHubIssues:
    """Implements `wiki.sources.services.threads.Host`."""

    headers: Mapping[str, str] = _HEADERS

    def __init__(self, at: GitHubAddress) -> None:
        self.base = at.api
        self._at = at
        self._issues = f"{at.rest}/repos/{quote(at.owner)}/{quote(at.name)}/issues"

    def threads(self, api: Api) -> Iterator[Thread]:
        # In an order that changes of threads do not affect.
        for part in self._parts(api, sort="created", direction="asc", per_page=_PART):
            yield from part

    def updated(self, api: Api) -> Iterator[list[Thread]]:
        return self._parts(api, sort="updated", direction="desc", per_page=_NEWEST)

    def _parts(self, api: Api, **how: Any) -> Iterator[list[Thread]]:
        wanted = {"labels": ",".join(self._at.labels), "state": self._at.state}
        for part in api.parts(self._issues, **wanted, **how):
            yield [_issue(row) for row in part if "pull_request" not in row]

    def answer(self, api: Api, question: Thread) -> ThreadAnswer | None:
        """The last comment by a member: the last commenter may be anyone."""
        last = None
        path = f"{self._issues}/{question.path.rpartition('/')[2]}/comments"
        for comment in api.rows(path, per_page=_PART):
            is_bot = mapping(comment.get("user")).get("type") == "Bot"
            if comment.get("author_association") in _MEMBERS and comment.get("body") and not is_bot:
                last = ThreadAnswer(str(comment["body"]), f"issuecomment-{comment.get('id')}")
        return last


def _issue(row: Mapping[str, Any]) -> Thread:
    version = f"{row.get('updated_at')} {row.get('comments')}"
    return thread("issues", row, ("number", "title", "html_url", "body"), version)


class GitHubDiscussions:
    """Implements `wiki.sources.services.threads.Host`."""

    headers: Mapping[str, str] = _HEADERS

    def __init__(self, at: GitHubAddress) -> None:
        self.base = at.api
        self._at = at

    def threads(self, api: Api) -> Iterator[Thread]:
        # In an order that changes of threads do not affect.
        for part in self._parts(api, {"field": "CREATED_AT", "direction": "ASC"}, _PART):
            yield from part

    def updated(self, api: Api) -> Iterator[list[Thread]]:
        return self._parts(api, {"field": "UPDATED_AT", "direction": "DESC"}, _NEWEST)

    def _parts(self, api: Api, order: Mapping[str, str], first: int) -> Iterator[list[Thread]]:
        after: Any = None
        seen: set[str] = set()
        for _ in range(_MOST):
            answer = self._ask(api, _LIST, after=after, order=order, first=first)
            discussions = mapping(answer.get("discussions"))
            if not isinstance(discussions.get("nodes"), list):
                break
            rows = map(mapping, discussions["nodes"])
            yield [_discussion(row) for row in rows if self._is_wanted(row)]
            about = mapping(discussions.get("pageInfo"))
            if about.get("hasNextPage") is False:
                return
            after = about.get("endCursor")
            if not isinstance(after, str) or after in seen:
                break
            seen.add(after)
        raise ServiceRefused("is not valid, or has no end", 200)

    def _is_wanted(self, row: Mapping[str, Any]) -> bool:
        category = mapping(row.get("category")).get("slug")
        return bool(row.get("answer")) and self._at.category in ("", category)

    def answer(self, api: Api, question: Thread) -> ThreadAnswer | None:
        number = int(question.path.rpartition("/")[2])
        about = mapping(self._ask(api, _ANSWER, number=number).get("discussion"))
        answer = mapping(about.get("answer"))
        if not answer.get("body"):
            return None
        return ThreadAnswer(str(answer["body"]), f"discussioncomment-{answer.get('databaseId')}")

    def _ask(self, api: Api, query: str, **more: Any) -> Mapping[str, Any]:
        """The repository's part of an answer."""
        names = {"owner": self._at.owner, "name": self._at.name}
        answer = mapping(api.post("/graphql", {"query": query, "variables": {**names, **more}}))
        if errors := listed(answer.get("errors")):
            kind = word(mapping(errors[0]).get("type") or "an error")
            if kind == "RATE_LIMITED":
                raise AskdocsError(
                    f"{api.host}: its rate limit is used up: pages read so far are kept; sync again"
                    " within the hour"
                )
            raise ServiceRefused(f"answers {kind}", 200)
        return mapping(mapping(answer.get("data")).get("repository"))


def _discussion(row: Mapping[str, Any]) -> Thread:
    version = repr((row.get("updatedAt"), row.get("lastEditedAt"), row["answer"]))
    return thread("discussions", row, ("number", "title", "url", "body"), version)
