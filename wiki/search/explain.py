"""Explains a search: which pages a question finds, by which words and scores, and who may read
them."""

from collections.abc import Callable
from typing import Any

from wiki.index.passages import above, plain
from wiki.pages.page import Page
from wiki.rights import Groups, readable
from wiki.search.hits import Hit
from wiki.search.search import Search


def explain(
    search: Search,
    question: str,
    page_url: str | None,
    limit: int,
    readers: Callable[[Page], Groups],
) -> dict[str, Any]:
    """The best pages with their scores.

    Args:
        search: of the pages that the person who is shown the result may read.
        question: as a reader asked it.
        page_url: address of the page that the reader was on.
        limit: the maximum number of pages.
        readers: the permissions required to read a page.
    """
    sought = search.sought(question)
    hits, readings = search.hits(sought, page_url, limit), search.readings(sought)
    vectors = search.index.embedded()[1] if search.serving() else 0
    return {
        "question": question,
        "also_searched": [" ".join(reading) for reading in readings],
        "by": "words and meaning" if vectors else "words",
        "pages": [
            {
                "path": hit.page.path,
                "title": hit.page.title,
                "score": round(float(hit.score), 4),
                **_shown(hit, place),
                "readers": readable(readers(hit.page)),
            }
            for place, hit in enumerate(hits, 1)
        ],
    }


def _shown(hit: Hit, place: int) -> dict[str, Any]:
    """The page's best passage for the question, and the scores by which both were found."""
    best, why = next((match for match in hit.passages if match.passage.is_readable), None), hit.why
    return {
        "section": " › ".join(above(hit.page, best.passage)[1:]) if best else "",
        "url": best.url if best else hit.page.url,
        "passage": plain(best.passage.text).strip() if best else "",
        "why": {
            "passage_words": best and round(best.words, 2),
            "passage_meaning": best and _rounded(best.meaning),
            "page_words": why and round(why.words, 2),
            "page_meaning": why and _rounded(why.meaning),
            "headings": why and round(why.headings, 2),
            "place_by_text": why and why.place,
            # Moved by the page that the reader is on.
            "moved": None if why is None else why.place - place,
        },
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)
