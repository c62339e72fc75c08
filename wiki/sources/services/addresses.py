"""Parses browser addresses of services whose API is at another address."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

from core.errors import AskdocsError

APIS = ("confluence", "mediawiki", "notion", "github", "gitlab")
"""Kinds of sources that are read through a service's API."""
_ID = re.compile("[0-9a-f]{32}")
_ENDS_IN_ID = re.compile(r"(?:.*-)?([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

_PROJECT = r"[\w.-]{1,100}"
_GITHUB = re.compile(
    rf"/(?P<owner>{_PROJECT})/(?P<name>{_PROJECT})/"
    rf"(?:issues|(?P<discussions>discussions)(?:/categories/(?P<category>{_PROJECT}))?)/?",
    re.ASCII,
)
_GITLAB = re.compile(r"/(?P<project>[\w./-]{1,500})/-/(?:issues|work_items)/?", re.ASCII)
# A term of a typed search: `label:"good answer"`.
_TERM = re.compile(r'(?P<key>[\w-]+):(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))|(?P<rest>\S+)')
# Parameters that affect how a list is shown, not its content.
_SHOWN = ("sort", "page", "first_page_size", "scope", "utf8", "direction")


def is_notion(host: str) -> bool:
    """Is it a host for users' pages? Other Notion hosts have its documentation."""
    return host in ("notion.so", "www.notion.so", "app.notion.com") or host.endswith(".notion.site")


class NotionAddress(NamedTuple):
    """A page or database of Notion, or the whole workspace."""

    api: str
    """The API's host; for an address outside Notion, that host itself."""
    root: str
    """The ID of the page or database; empty for everything that the token may read."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises AskdocsError: it should refer to a page, but has no ID."""
        split = urlsplit(url)
        parts = [part for part in split.path.split("/") if part]
        beside = parse_qs(split.query).get("p", [])  # a row, shown next to its database
        named = _ENDS_IN_ID.fullmatch((beside or parts or [""])[-1].lower())
        if not named and (beside or len(parts) > 1):
            raise AskdocsError(
                f"{url} is not the address of a page or database of Notion: copy it from Share > "
                "Copy link"
            )
        host = f"{split.scheme}://{split.netloc}"
        api = "https://api.notion.com" if is_notion(split.netloc) else host
        return cls(api, plain_id(named[1]) if named else "")


def is_github(host: str, path: str) -> bool:
    """Is it a list of issues or discussions on github.com?"""
    return host in ("github.com", "www.github.com") and bool(_GITHUB.fullmatch(path))


def is_gitlab(path: str) -> bool:
    """Is it the list of issues of a GitLab, on any host?"""
    return bool(_GITLAB.fullmatch(path))


class GitHubAddress(NamedTuple):
    """The issues with certain labels, or the answered discussions, of a repository."""

    api: str
    rest: str
    """The prefix of its REST API's paths."""
    owner: str
    name: str
    is_discussions: bool
    labels: tuple[str, ...]
    state: str
    category: str
    """The category of the discussions; empty for all."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises AskdocsError: it is not such a list, or has an unsupported filter."""
        split = urlsplit(url)
        match = _GITHUB.fullmatch(split.path)
        if not match or ".." in (match["owner"], match["name"]):
            raise AskdocsError(
                f"{url} is not a list of issues or discussions of GitHub: write"
                " https://github.com/OWNER/REPO/issues?label=answered, or .../discussions"
            )
        is_discussions = bool(match["discussions"])
        labels, state = _filters(url, ("open", "closed", "all"))
        if is_discussions and (labels or state != "all"):
            raise AskdocsError(
                f"{url}: discussions are selected by accepted answers: remove the label"
            )
        if not is_discussions:
            _require_label(url, labels, "?label=answered")
        host = split.netloc.removeprefix("www.")
        own = f"{split.scheme}://{host}/api"
        api, rest = ("https://api.github.com", "") if host == "github.com" else (own, "/v3")
        return cls(
            *(api, rest, match["owner"], match["name"]),
            *(is_discussions, labels, state, match["category"] or ""),
        )


class GitLabAddress(NamedTuple):
    """The issues with certain labels of a project."""

    api: str
    project: str
    labels: tuple[str, ...]
    state: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises AskdocsError: it is not such a list, or has an unsupported filter."""
        split = urlsplit(url)
        match = _GITLAB.fullmatch(split.path)
        if not match:
            raise AskdocsError(
                f"{url} is not a list of issues of GitLab: write"
                " https://gitlab.example.com/group/project/-/issues?label_name[]=answered"
            )
        labels, state = _filters(url, ("opened", "closed", "all"))
        _require_label(url, labels, "?label_name[]=answered")
        return cls(f"{split.scheme}://{split.netloc}/api", match["project"], labels, state)


def _filters(url: str, states: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The labels and the state in a list's address."""
    labels: list[str] = []
    state = "all"
    for key, value in _terms(url):
        match key, value:
            case (("label" | "label_name[]"), _) if value and "," not in value:
                labels.append(value)
            case "labels", _:
                labels += filter(None, value.split(","))
            case (("state" | "is"), _) if value in states:
                state = value
            case (("is" | "type"), ("issue" | "answered")):
                pass
            case _ if key not in _SHOWN:
                raise AskdocsError(
                    f"{url}: cannot read a list by {key}:{value}: name labels, and the state as one"
                    f" of {', '.join(states)}"
                )
    return tuple(dict.fromkeys(labels)), state


def _terms(url: str) -> Iterator[tuple[str, str]]:
    for key, value in parse_qsl(urlsplit(url).query):
        if key not in ("q", "discussions_q"):
            yield key, value
            continue
        for term in _TERM.finditer(value):
            yield term["key"] or "text", term["quoted"] or term["bare"] or term["rest"] or ""


def _require_label(url: str, labels: tuple[str, ...], example: str) -> None:
    if not labels:
        raise AskdocsError(f"{url}: name the label of answered issues, as {example}")


def plain_id(value: object) -> str:
    """A Notion ID in the format of its addresses; empty if it is invalid."""
    text = str(value or "").replace("-", "").lower()
    return text if _ID.fullmatch(text) else ""


ADDRESSES: Mapping[str, type[NotionAddress | GitHubAddress | GitLabAddress]] = {
    "notion": NotionAddress,
    "github": GitHubAddress,
    "gitlab": GitLabAddress,
}
"""The parsers for kinds whose API is at another address."""
