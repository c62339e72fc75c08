"""The clusters that a reviewer may see: every page behind their answers must be readable."""

import sqlalchemy as sa

from gateway.access.rights import Reader
from widget.review.tables import member_table
from widget.service import store
from widget.service.store import question_table


def open_to(connection: sa.Connection, reader: Reader) -> sa.ColumnElement[bool]:
    """Of members: those of the clusters that the reader may see."""
    allowed = store.open_to(connection, reader)
    if reader.groups is None:
        return allowed
    closed = sa.select(member_table.c.cluster).join_from(member_table, question_table)
    return member_table.c.cluster.not_in(closed.where(~allowed))
