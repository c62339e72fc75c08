"""Searches, reads and lists wiki pages for agents."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote, urldefrag, urlsplit

from core.errors import AskdocsError
from gateway.answering.grounding.ground import Grounding
from gateway.answering.grounding.links import absolute
from gateway.answering.grounding.neutral import neutral
from gateway.api.agents.results import PageHit, PageText, SearchResult
from gateway.upstream.engine import CHARACTERS_PER_TOKEN, estimated
from wiki.index.passages import above
from wiki.pages import blocks
from wiki.pages.page import Page, Section

# Tokens per part of a page. Claude Code warns of tool results beyond 10,000.
LIMIT = 8000
EXCERPT = 500  # characters of a passage in search results
LISTED = 100  # pages per list
NAMED = 60  # section names per page
SCHEME = "docs"


class PageAddress(NamedTuple):
    """The location of a page."""

    source: str
    path: str

    @property
    def uri(self) -> str:
        """The page's resource URI. It hides the wiki's name, which may be a local folder."""
        return f"{SCHEME}://{_short(self.source)}/{quote(self.path)}"


class Pages:
    """The pages of some wikis. Its methods block: call them in a thread."""

    def __init__(self, grounding: Grounding, sources: Sequence[str] = ()) -> None:
        """`sources`: the names of the wikis, or empty for all."""
        self._grounding = grounding
        self._index = grounding.index
        self._sources = tuple(sources)
        self.shown: list[str] = []
        """Addresses of the pages that the agent has been shown."""

    def search(self, query: str, limit: int) -> SearchResult:
        """The pages for a query, each with its best passage."""
        search = self._grounding.search
        results = []
        for hit in search.hits(search.sought(query), None, limit, self._sources):
            page = hit.page
            self.shown.append(page.url)
            best = next((match for match in hit.passages if match.passage.is_readable), None)
            text = blocks.alone(blocks.beginning(best.passage.text, EXCERPT)) if best else ""
            results.append(
                PageHit(
                    title=page.title,
                    section=" › ".join(above(page, best.passage)[1:]) if best else "",
                    url=best.url if best else page.url,
                    excerpt=absolute(text, page),
                    score=round(hit.score, 2),
                )
            )
        return SearchResult(results=results)

    def read(self, name: str, section: str = "", part: int = 1) -> PageText:
        """Returns a page, a section with its subsections, or a part of these within the token
        limit.

        Args:
            name: address or path of the page; an address may end with the anchor of a section.
            section: heading or anchor; in place of the one in the address.
            part: number of the part, from 1, if the text is too long for one.

        Raises:
            AskdocsError: there is no such page, section or part.
        """
        page, anchor = self._find(name)
        self.shown.append(page.url)
        wanted = section.strip().removeprefix("#") or anchor
        chosen = _under(page, wanted) if wanted else page.sections
        texts = _parts([neutral(absolute(wanted_section.text, page)) for wanted_section in chosen])
        if part > len(texts):
            raise AskdocsError(f"part {part}: the last part is {len(texts)}")
        text = texts[part - 1]
        return PageText(
            title=page.title,
            url=page.section_url(chosen[0]) if wanted else page.url,
            section=_named(chosen[0]) if wanted else "",
            markdown=text,
            part=part,
            parts=len(texts),
            tokens=estimated(text),
            max_tokens=LIMIT,
            sections=_names(page) if len(texts) > 1 else [],
        )

    def listed(self, cursor: str | None) -> tuple[list[tuple[PageAddress, Page]], str | None]:
        """Returns the next `LISTED` pages after a cursor, and the cursor for the pages after them.

        Raises:
            AskdocsError: the cursor is invalid.
        """
        after = self._place(cursor) if cursor else PageAddress("", "")
        if after is None:
            raise AskdocsError(
                f"{str(cursor)[:100]!r} is not a cursor of this list: start without a cursor"
            )
        entries: list[tuple[PageAddress, Page]] = []
        for source in self._names():
            if source < after.source:
                continue
            behind = after.path if source == after.source else ""
            pages = self._index.after(source, behind, LISTED + 1 - len(entries))
            entries += [(PageAddress(source, page.path), page) for page in pages]
            if len(entries) > LISTED:
                return entries[:LISTED], entries[LISTED - 1][0].uri
        return entries, None

    def _find(self, name: str) -> tuple[Page, str]:
        """Returns a page, and the anchor in its address."""
        try:
            bare, anchor = urldefrag(name.strip())
            parsed = urlsplit(bare)
        except ValueError:
            raise _no_page(name) from None
        if parsed.scheme == SCHEME:
            place = self._place(bare)
            page = self._index.at(*place) if place else None
        elif parsed.scheme:
            page = self._index.by_url(bare)
            if page is not None and self._sources:
                inside = self._index.of(self._sources)
                page = page if self._index.number(page) in inside else None
        else:
            path = bare.removeprefix("/")
            at = (self._index.at(source, path) for source in self._names())
            page = next((page for page in at if page is not None), None)
        if page is None:
            raise _no_page(name)
        return page, unquote(anchor)

    def _place(self, uri: str) -> PageAddress | None:
        """The inverse of `PageAddress.uri`; None if it names no readable wiki."""
        short, _, path = uri.removeprefix(f"{SCHEME}://").partition("/")
        source = next((name for name in self._names() if _short(name) == short), None)
        return None if source is None else PageAddress(source, unquote(path))

    def _names(self) -> list[str]:
        """The names of the wikis."""
        return sorted(self._sources) or [source.name for source in self._index.sources()]


def _no_page(name: str) -> AskdocsError:
    return AskdocsError(
        f"{name[:200]!r}: no page has this address or path: find pages and their addresses with "
        "search_docs"
    )


def _under(page: Page, wanted: str) -> tuple[Section, ...]:
    """Returns a section with its subsections. Raises AskdocsError: the page has no such section."""
    sections = page.sections
    for name in (wanted, wanted.casefold()):
        for number, section in enumerate(sections):
            if name in (section.anchor, section.heading.casefold(), _named(section).casefold()):
                end = number + 1
                while end < len(sections) and _is_below(sections[end], section):
                    end += 1
                return sections[number:end]
    raise AskdocsError(
        f"{wanted[:200]!r}: the page has no such section: omit it for the whole page, or use one "
        f"of: <page>{neutral(', '.join(_names(page)))}</page>"
    )


def _is_below(section: Section, other: Section) -> bool:
    depth = len(other.path)
    return len(section.path) > depth and section.path[:depth] == other.path


def _named(section: Section) -> str:
    return " › ".join(section.path)


def _names(page: Page) -> list[str]:
    names = [_named(section) for section in page.sections if section.path]
    return [*names[:NAMED], "…"] if len(names) > NAMED else names


def _parts(texts: Sequence[str]) -> list[str]:
    """Splits sections into parts of `LIMIT` tokens, within a section only if it is longer than
    that."""
    most = int(LIMIT * CHARACTERS_PER_TOKEN)
    parts = [""]
    for text in texts:
        for piece in blocks.parts(text, most) if len(text) > most else (text,):
            if parts[-1] and len(parts[-1]) + 2 + len(piece) > most:
                parts.append(piece)
            else:
                parts[-1] = f"{parts[-1]}\n\n{piece}" if parts[-1] else piece
    return parts


def _short(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:8]
