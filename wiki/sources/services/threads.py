"""Answered threads of GitHub and GitLab: a page per thread, with the question and its answer.

A sync lists all threads with the requested label, or with an accepted answer, and reads the
comments of changed threads. A thread missing in the list is closed, without the label, or deleted.
A look between two syncs reads that list from the last updated thread, until it meets only versions
that are in the index.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from html import escape
from itertools import islice
from typing import Any, NamedTuple, Protocol

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token as MarkdownToken
from markdown_it.utils import EnvType, OptionsDict

from core.errors import AskdocsError
from wiki.pages.page import Page
from wiki.sources import html
from wiki.sources.services import items
from wiki.sources.services.api import Api, ServiceRefused
from wiki.sources.services.items import SyncState
from wiki.sources.services.service import Service
from wiki.sources.services.stamps import Stamp
from wiki.sources.source import Broken, Expected, Item, LeftOut
from wiki.sources.tokens import Token

UNANSWERED = "no answer by a member of the project"
_LARGEST = 2 * 2**20
# Maximum parts of the list in a look at the feed.
_LOOKS = 20
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")


class ThreadAnswer(NamedTuple):
    """The answer of a thread, in Markdown."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Thread:
    """A question in a list."""

    path: str
    title: str
    url: str
    text: str
    """The question, in Markdown."""
    version: str
    """Changes with the thread."""
    hidden: str = ""
    """The reason why it is left out."""


def thread(
    kind: str, row: Mapping[str, Any], keys: Iterable[str], version: str, hidden: str = ""
) -> Thread:
    """Parses a row of a list; `keys` are those of number, title, address and text.

    Raises ServiceRefused: the row is invalid.
    """
    number, title, url, text = (row.get(key) for key in keys)
    if type(number) is not int or not str(url).startswith(("https://", "http://")):
        raise ServiceRefused("has a row without number or address", 200)
    shown = " ".join(str(title or "").split())[:500] or "Untitled"
    return Thread(f"{kind}/{number}", shown, str(url), str(text or ""), version, hidden)


class Host(Protocol):
    """The threads of one project."""

    base: str
    headers: Mapping[str, str]

    def threads(self, api: Api) -> Iterator[Thread]:
        """Yields all requested threads. Raises ServiceRefused: the list cannot be read
        completely."""
        ...

    def updated(self, api: Api) -> Iterator[list[Thread]]:
        """Yields the parts of the list of requested threads, the last updated first. Raises
        ServiceRefused."""
        ...

    def answer(self, api: Api, thread: Thread) -> ThreadAnswer | None:
        """Raises ServiceRefused: the service refuses it."""
        ...


class Threads(Service):
    """Threads of a host: issues or discussions."""

    def __init__(self, place: str, host: Host, token: Token | None, rate: float) -> None:
        """
        Args:
            place: the address of a list of threads.
            host: that list.
            token: the access token.
            rate: maximum requests per second.
        """
        super().__init__(place, host.base, token, rate, host.headers)
        self._host = host

    def recent(
        self, known: Mapping[str, str], state: str = "", ignored: Collection[str] = ()
    ) -> Iterator[Item]:
        """See `wiki.sources.source.Followed.recent`.

        Raises:
            AskdocsError: it cannot be reached, or rejects the token.
        """
        with closing(self._api()) as api:
            yield from self._recent(api, SyncState(known, state, is_look=True), ignored)

    def _recent(self, api: Api, memory: SyncState, ignored: Collection[str]) -> Iterator[Item]:
        updated: dict[str, Thread] = {}
        try:
            for part in islice(self._host.updated(api), _LOOKS):
                before = len(updated)
                for thread in part:
                    path = thread.path
                    is_read = memory.has_read(path, _stamp(thread))
                    is_closed = thread.hidden and path not in memory.known
                    if not (is_read or is_closed or path in ignored):
                        updated[path] = thread
                if len(updated) == before:
                    break
        except ServiceRefused as error:
            raise self._unlisted(error) from None
        for path, thread in updated.items():
            if thread.hidden:
                yield LeftOut(path, thread.hidden)
            else:
                yield self._thread(api, memory, thread)
        if updated:
            yield memory.state()

    def _read(self, api: Api, memory: SyncState) -> Iterator[Item]:
        try:
            threads = {thread.path: thread for thread in self._host.threads(api)}
        except ServiceRefused as error:
            raise self._unlisted(error) from None
        if not threads and not memory.known:
            raise AskdocsError(f"{self.name}: no answered threads: check the label")
        yield Expected(len(threads))
        for path, thread in threads.items():
            if thread.hidden:
                yield LeftOut(path, thread.hidden)
                continue
            # Threads without an answer, too, as somebody may have become a member since.
            item = items.unread(path, None, _stamp(thread), memory.known)
            yield item or self._thread(api, memory, thread)
        yield memory.state()

    def _unlisted(self, error: ServiceRefused) -> AskdocsError:
        return AskdocsError(
            f"{self.name}: the list {error} (the API is assumed at {self._host.base}):"
            " check the address, and the token's permissions"
        )

    def _thread(self, api: Api, memory: SyncState, thread: Thread) -> Item:
        try:
            answer = self._host.answer(api, thread)
        except ServiceRefused as error:
            return Broken(thread.path, str(error))
        if answer is None:
            return memory.note(thread.path, _stamp(thread), UNANSWERED)

        def page() -> Page:
            title = escape(thread.title)
            whole = (
                f"<!doctype html><body><main><h1>{title}</h1>{_shown(thread.text)}"
                f'<h2 id="{escape(answer.anchor)}">Answer</h2>{_shown(answer.text)}</main>'
            )
            return replace(html.page(whole, thread.path, thread.url), title=thread.title)

        return memory.read(thread.path, None, _stamp(thread), page)


def _stamp(thread: Thread) -> str:
    return str(Stamp.of(repr(thread), None))


def _shown(text: str) -> str:
    """Converts untrusted Markdown to HTML that can neither end its part of the page nor name it.

    HTML is reduced to its text. Headings become bold lines, and line ends become breaks, as on
    GitHub; after them, the start of a heading is escaped: otherwise a question could fake an
    answer.
    """
    if len(text) > _LARGEST:
        raise ValueError(f"a comment is larger than {_LARGEST // 2**20} MiB")
    return str(_MARKDOWN.render(text))


def _block(
    self: RendererHTML, tokens: list[MarkdownToken], at: int, options: OptionsDict, env: EnvType
) -> str:
    text = _TAG.sub("", _COMMENT.sub("", tokens[at].content))
    lines = (escape(line.strip()) for line in text.splitlines() if line.strip())
    return f"<p>{'<br>'.join(lines)}</p>"


def _text(
    self: RendererHTML, tokens: list[MarkdownToken], at: int, options: OptionsDict, env: EnvType
) -> str:
    """An entity may stand for a line end."""
    return escape(" ".join(tokens[at].content.splitlines()))


def _nothing(*_: Any) -> str:
    return ""


_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 50, "breaks": True}).enable(
    ["table", "strikethrough"]
)
# A link with a rejected scheme would remain in the text, and be parsed as Markdown again;
# `html.page` removes the links that result instead.
_MARKDOWN.validateLink = lambda url: True  # type: ignore[method-assign]
_MARKDOWN.add_render_rule("html_block", _block)
_MARKDOWN.add_render_rule("text", _text)
_MARKDOWN.add_render_rule("html_inline", _nothing)
_MARKDOWN.add_render_rule("heading_open", lambda *_: "<p><strong>")
_MARKDOWN.add_render_rule("heading_close", lambda *_: "</strong></p>")
