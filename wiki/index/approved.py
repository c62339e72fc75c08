"""Publishes the answers that writers approve in the review as pages of a source of their own.

Such a page has the question as its title and the answer as its text. It is searched, cited and
withdrawn like any page. Its readers are those who may read the page that it cites: see
`store.CITING`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from core.database import reading
from wiki.index.index import Index
from wiki.index.rows import StoredSource, storable
from wiki.index.store import APPROVED
from wiki.index.writer import Writer
from wiki.pages.page import Page, Section

MARK = "Approved answer"
"""The heading of the answer, by which readers recognise it in results."""
MOST = 100_000

# The widget writes this table, in the transaction of an approval, see `widget.review.reviews`.
_reviews = sa.table(
    "reviews",
    *map(sa.column, ("cluster", "version", "at", "state", "question", "answer")),
    *map(sa.column, ("page", "section", "answerable")),
)
_r = _reviews.c


class Approved(NamedTuple):
    """An approved answer."""

    id: int
    question: str
    answer: str
    page: str
    """The path of the page it cites."""
    section: str
    """A heading of that page, or empty."""


def approved(engine: sa.Engine) -> list[Approved]:
    """The approved answers with a page, by ID. Raises Unreachable."""
    later = _reviews.alias()
    is_current = ~sa.exists().where(later.c.cluster == _r.cluster, later.c.version > _r.version)
    query = (
        sa.select(_r.cluster, _r.question, _r.answer, _r.page, _r.section)
        .where(_r.state == "approved", _r.answerable.is_(sa.true()), _r.page != "", is_current)
        .order_by(_r.cluster)
    )
    with reading(engine) as connection:
        return [Approved(*row) for row in connection.execute(query)]


def publish(
    answers: list[Approved], index: Index, writing: Callable[[], AbstractContextManager[Writer]]
) -> bool:
    """Make these the approved answers of the index; returns whether that changed it.

    An answer that cites a page which the index does not have stays out.

    Raises AskdocsError: the index cannot be read or written.
    """
    with index.snapshot():
        wanted = {page.path: page for answer in answers if (page := _page(answer, index))}
        there = {page.path: page for page in index.after(APPROVED, "", MOST)}
    if wanted == there:
        return False
    with writing() as writer:
        for path in writer.known(APPROVED).keys() - wanted.keys():
            writer.remove(APPROVED, path)
        for path, page in wanted.items():
            if page != there.get(path):
                writer.put(APPROVED, page, "")
        if wanted:
            spec = {"kind": APPROVED, "site_url": ""}
            writer.put_source(StoredSource(APPROVED, spec, datetime.now(UTC), ()))
        else:
            writer.remove_source(APPROVED)
    return True


def _page(answer: Approved, index: Index) -> Page | None:
    cited = index.by_path(answer.page)
    if cited is None:
        return None
    named = (section.anchor for section in cited.sections if section.heading == answer.section)
    anchor = next(named, "") if answer.section else ""
    # An address of its own, which opens the cited page.
    url = f"{cited.url}{'&' if '?' in cited.url else '?'}answer={answer.id}"
    text = f"## {MARK}\n\n{answer.answer}"
    title = " ".join(answer.question.split())
    section = Section(MARK, anchor, (MARK,), text)
    return storable(Page(f"{answer.page}#answer-{answer.id}", title, url, (section,)))
