"""Implements `askdocs docs search`: lists the pages that the gateway would find for a question."""

import asyncio
from typing import Any

from gateway.access.rights import EVERYTHING, Reader, groups_of, readable
from gateway.answering.grounding.ground import Grounding, Library
from gateway.core.errors import AskdocsError
from gateway.core.gateway_settings import GatewaySettings
from gateway.core.settings import load
from gateway.knowledge.search.hits import Hit
from gateway.knowledge.search.passages import above
from gateway.knowledge.search.search import Search
from gateway.upstream.engine import estimates


def reader(groups: str | None) -> Reader:
    """The reader given by --groups. Raises AskdocsError: invalid groups."""
    if groups is None:
        return EVERYTHING
    try:
        return Reader(groups_of([name for name in map(str.strip, groups.split(",")) if name]))
    except ValueError as error:
        raise AskdocsError(f"--groups: {error}") from None


def find(
    search: Search, question: str, page_url: str | None, limit: int, reader: Reader
) -> dict[str, Any]:
    """The best pages with scores and explanations, and whether they answer the question."""
    grounding = Grounding(search.index, estimates, search=search)
    library = Library(grounding, load(GatewaySettings).rules)
    grounding = library.opened_to(reader)
    hits = grounding.search.find(question, page_url, limit)
    looked = asyncio.run(grounding.look_up(question, page_url))
    readings = grounding.search.readings(grounding.search.sought(question))
    vectors = search.index.embedded()[1] if search.serving() else 0
    return {
        "question": question,
        "refused": not looked.is_answered,
        "also_searched": [" ".join(reading.words) for reading in readings],
        "from_glossary": [" ".join(reading.words) for reading in readings if reading.by_team],
        "by": "words and meaning" if vectors else "words",
        "pages": [
            {
                "path": hit.page.path,
                "title": hit.page.title,
                "score": round(float(hit.score), 4),
                **_best(hit),
                "why": _why(hit, place),
                "readers": readable(library.rights.readers(hit.page)),
            }
            for place, hit in enumerate(hits, 1)
        ],
    }


def _best(hit: Hit) -> dict[str, str]:
    """The page's best passage for the question."""
    best = next(
        (hit_passage for hit_passage in hit.passages if hit_passage.passage.is_readable), None
    )
    if best is None:
        return {"section": "", "url": hit.page.url, "passage": ""}
    return {
        "section": " › ".join(above(hit.page, best.passage)[1:]),
        "url": best.url,
        "passage": best.passage.text,
    }


def _why(hit: Hit, place: int) -> dict[str, Any]:
    """The scores by which the page and its best passage were found."""
    best, why = next(iter(hit.passages), None), hit.why
    return {
        "passage_words": best and round(best.words, 2),
        "passage_meaning": best and _rounded(best.meaning),
        "page_words": why and round(why.words, 2),
        "page_meaning": why and _rounded(why.meaning),
        "headings": why and round(why.headings, 2),
        "place_by_text": why and why.place,
        # Moved by answered questions, or by the page that the reader is on.
        "moved": None if why is None else why.place - place,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)


def explained(why: dict[str, Any]) -> str:
    """The explanation in one line."""
    if why["page_words"] is None:
        return "found through answered questions, or through the reader's page"
    line = (
        f"passage: words {why['passage_words']}, meaning {why['passage_meaning']};"
        f" page: words {why['page_words']}, meaning {why['page_meaning']},"
        f" headings {why['headings']}"
    )
    moved = why["moved"]
    if moved:
        line += f"; {'up' if moved > 0 else 'down'} {abs(moved)} by answered questions or the page"
    return line.replace("meaning None", "meaning –")
