"""What `askdocs docs search` shows: the pages for a question, as the gateway would find them."""

import asyncio
from typing import Any

from gateway.engine import estimates
from gateway.grounding.excerpt import Excerpt
from gateway.grounding.ground import Grounding
from gateway.search import embed
from gateway.search.index import Index
from gateway.wiki.page import Page

# More than any page has: what is asked is whether there is an answer, not how much of it fits.
BUDGET = 10**9


def find(index: Index, question: str, page_url: str | None, limit: int) -> dict[str, Any]:
    """The best pages with their scores, and whether an answer would stand on them."""
    grounding = Grounding(index, estimates, embed.load())
    hits = grounding.search.find(question, page_url, limit)
    grounds = asyncio.run(grounding.ground(question, BUDGET, 1, page_url))
    vectors = index.embedded()[1] if grounding.search.embedder else 0
    return {
        "question": question,
        "refused": not grounds.excerpts,
        "by": "words and meaning" if vectors else "words",
        "pages": [
            {
                "path": hit.page.path,
                "title": hit.page.title,
                "score": round(float(hit.score), 4),
                **_best(grounding, hit.page, grounds.sought),
            }
            for hit in hits
        ],
    }


def _best(grounding: Grounding, page: Page, sought: str) -> dict[str, str]:
    """The section of a page that fits the question best."""
    section = grounding.focus([Excerpt(page, page.sections, 0)], sought)
    if section is None:
        return {"section": "", "url": page.url}
    return {"section": " › ".join(section.path), "url": page.section_url(section)}
