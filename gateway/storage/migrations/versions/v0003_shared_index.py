"""The search index that several gateways share; unused in SQLite."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    state = op.create_table(
        "wiki_state",
        sa.Column("token", sa.String(32), nullable=False),
    )
    op.bulk_insert(state, [{"token": uuid.uuid4().hex}])
    op.create_table(
        "wiki_sources",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("synced", sa.Text),
        sa.Column("problems", sa.Text, nullable=False),
    )
    op.create_table(
        "wiki_pages",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("digest", sa.BigInteger, nullable=False),
        sa.Column("sections", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("source", "path", name="wiki_pages_path"),
    )
    op.create_table(
        "wiki_vectors",
        sa.Column(
            "page",
            sa.Integer,
            sa.ForeignKey("wiki_pages.number", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("scales", sa.LargeBinary, nullable=False),
        sa.Column("matrix", sa.LargeBinary, nullable=False),
    )
