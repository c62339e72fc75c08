"""Implements `askdocs docs search`: lists the pages that the gateway would find for a question."""

import asyncio
from typing import Any

from core.errors import AskdocsError
from core.settings import load
from gateway.answering.grounding.ground import Grounding, Library
from gateway.settings import GatewaySettings
from gateway.upstream.engine import estimates
from wiki.rights import EVERYTHING, Reader, groups_of
from wiki.search.explain import explain
from wiki.search.search import Search


def reader(groups: str | None) -> Reader:
    """The reader given by --groups. Raises AskdocsError: invalid groups."""
    if groups is None:
        return EVERYTHING
    try:
        return Reader(groups_of([name for part in groups.split(",") if (name := part.strip(" "))]))
    except ValueError as error:
        raise AskdocsError(f"--groups: {error}") from None


def find(
    search: Search, question: str, page_url: str | None, limit: int, reader: Reader
) -> dict[str, Any]:
    """The best pages with scores and explanations, and whether they answer the question."""
    grounding = Grounding(search.index, estimates, search=search)
    library = Library(grounding, load(GatewaySettings).rules)
    grounding = library.opened_to(reader)
    looked = asyncio.run(grounding.look_up(question, page_url))
    found = explain(grounding.search, question, page_url, limit, library.rights.readers)
    return {**found, "refused": not looked.is_answered}


def explained(why: dict[str, Any]) -> str:
    """The explanation in one line."""
    if why["page_words"] is None:
        return "found through the reader's page"
    line = (
        f"passage: words {why['passage_words']}, meaning {why['passage_meaning']};"
        f" page: words {why['page_words']}, meaning {why['page_meaning']},"
        f" headings {why['headings']}"
    )
    moved = why["moved"]
    if moved:
        line += f"; {'up' if moved > 0 else 'down'} {abs(moved)} by the page"
    return line.replace("meaning None", "meaning –")
