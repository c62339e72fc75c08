"""Determines the clusters a reviewer may see: those whose answers and drafts use only readable
pages."""

import sqlalchemy as sa

from widget.review.tables import member_table, review_table
from widget.review.wiki import ReviewIndex
from widget.service import store
from widget.service.store import question_table
from wiki.rights import Reader


def closed(
    connection: sa.Connection, reader: Reader, wiki: ReviewIndex
) -> sa.CompoundSelect[tuple[int]]:
    """Selects the clusters that the reader may not see.

    A writer may have taken an answer, or the wording of a question, from a page that the stored
    answers do not cite. All versions count, since the history shows them.
    """
    m, r = member_table.c, review_table.c
    asked = sa.select(m.cluster).join_from(member_table, question_table)
    pages = connection.execute(sa.select(r.page).distinct()).scalars()
    closed_pages = wiki.closed(pages, reader)
    return sa.union(
        asked.where(~store.open_to(connection, reader)),
        sa.select(r.cluster).where(r.page.in_(closed_pages)),
    )


def open_to(connection: sa.Connection, reader: Reader, wiki: ReviewIndex) -> sa.ColumnElement[bool]:
    """SQL condition for members of clusters that the reader may see."""
    if reader.groups is None:
        return sa.true()
    return member_table.c.cluster.not_in(closed(connection, reader, wiki))
