"""Looks up the wiki's pages in the gateway's index, for writers to choose from."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from core.errors import AskdocsError
from core.settings import load
from gateway.access import past_readers
from gateway.settings import GatewaySettings
from widget.review.reviews import Draft, Unfit
from wiki.index import embed
from wiki.index.index import Index
from wiki.index.store import NoIndex
from wiki.index.view import Rights
from wiki.pages.page import Page
from wiki.pages.words import words
from wiki.rights import EVERYTHING, PUBLIC, Reader
from wiki.search import glossary_table, models
from wiki.search.config import OFF, SearchSettings
from wiki.search.explain import explain
from wiki.search.glossary import Glossary
from wiki.search.search import Search

log = logging.getLogger(__name__)

OFFERED = 20
EXPLAINED = 5

shared_embedder = cache(embed.load)
"""The embedder, which takes half a second to load, once per process."""


class ReviewIndex:
    """The index, if it exists. Thread-safe."""

    def __init__(self, file: Path | None, engine: sa.Engine) -> None:
        """The rules about rights come from the gateway's settings.

        `engine`: the gateway's database, which tells whether any page has groups if there is no
        index.
        """
        self._file = file
        self._engine = engine
        self._index: Index | None = None
        self._rights: Rights | None = None
        self._search: Search | None = None

    def close(self) -> None:
        """Close the index."""
        if self._index is not None:
            self._index.close()

    @property
    def is_there(self) -> bool:
        """Can pages be looked up?"""
        return self._open(PUBLIC) is not None

    def find(self, name: str, reader: Reader) -> Page | None:
        """The page with that path or URL, if the reader may read it.

        Raises AskdocsError: the index is damaged.
        """
        if (index := self._open(reader)) is None or not name:
            return None
        return index.by_url(name) if "://" in name else index.by_path(name)

    def closed(self, names: Iterable[str], reader: Reader) -> list[str]:
        """The pages of drafts that the reader may not read, including deleted pages; without an
        index, all pages, unless no page has groups. As a draft does not name its wiki, all pages
        with its path count.

        Raises AskdocsError: the index is damaged, or the database does not answer.
        """
        named = [name for name in names if name]
        if reader.groups is None or not named:
            return []
        mine, whole = self._open(reader), self._open(EVERYTHING)
        if mine is None or whole is None or self._rights is None:
            return named if past_readers.has_groups(self._engine) else []
        if self._rights.access() is None:
            return []
        wikis = [source.name for source in whole.sources()]

        def is_closed(name: str) -> bool:
            if "://" in name:
                return mine.by_url(name) is None
            pages = [mine.at(wiki, name) for wiki in wikis if whole.at(wiki, name)]
            return not pages or None in pages

        return [name for name in named if is_closed(name)]

    def checked(self, draft: Draft, reader: Reader) -> Draft:
        """The draft with the path of its page, which may be given as a URL.

        Raises Unfit: the page or the section does not exist.
        """
        if not draft.page or not self.is_there:
            return draft
        page = self.find(draft.page, reader)
        if page is None:
            raise Unfit(
                f"The wiki has no page {draft.page!r}: choose one from the list, or sync the wiki."
            )
        if draft.section and draft.section not in headings(page):
            raise Unfit(
                f"{page.path} has no section {draft.section!r}: choose one from the list, or leave"
                " the field empty for the whole page."
            )
        return replace(draft, page=page.path)

    def like(self, text: str, reader: Reader) -> list[Page]:
        """Pages with the text in their path, then pages with its words; at most OFFERED."""
        if (index := self._open(reader)) is None:
            return []
        with index.snapshot():
            paths = index.paths()
            numbers = [number for path, number in sorted(paths.items()) if text in path][:OFFERED]
            numbers += [number for number, _ in index.match(words(text), OFFERED)]
            return [index.page(number) for number in dict.fromkeys(numbers)][:OFFERED]

    def search(self, reader: Reader) -> Search | None:
        """The gateway's search of the reader's pages with the words in use, without a reranker;
        None without an index.

        Raises AskdocsError: the index is damaged, or the database does not answer.
        """
        index = self._open(reader)
        if index is None or self._index is None:
            return None
        if self._search is None:
            self._search = _opened(self._index)
        glossary_table.follow(self._search.glossary, self._engine)
        return self._search.over(index)

    def explain(self, question: str, page_url: str, reader: Reader) -> dict[str, Any] | None:
        """Why the search finds which of the reader's pages for a question, see `explain`; None
        without an index.

        Raises AskdocsError as `search`.
        """
        search = self.search(reader)
        if search is None or self._rights is None:
            return None
        return explain(search, question, page_url or None, EXPLAINED, self._rights.readers)

    def _open(self, reader: Reader) -> Index | None:
        if self._rights is None and self._file is not None:
            try:
                self._index = Index(self._file)
            except NoIndex:  # it may still be created
                return None
            self._rights = Rights(self._index, load(GatewaySettings).rules)
        return self._rights.seen_by(reader) if self._rights else None


def _opened(index: Index) -> Search:
    """The search with the gateway's models; by words alone if they do not run here."""
    settings = load(SearchSettings).model_copy(update={"reranker": OFF})
    try:
        return models.open_search(index, load(GatewaySettings), settings, shared_embedder())
    except AskdocsError as error:
        log.warning("the review searches by words alone: %s", error)
        return Search(index, None, glossary=Glossary(settings.glossary))


def headings(page: Page | None) -> list[str]:
    """The headings of a page, in order."""
    return [section.heading for section in page.sections if section.heading] if page else []
