"""Embeddings of several models side by side, and the model in use."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    with op.batch_alter_table("wiki_state") as state:
        state.add_column(sa.Column("serving", sa.Text))
        state.add_column(sa.Column("embedders", sa.Text, nullable=False, server_default="{}"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE wiki_vectors DROP CONSTRAINT wiki_vectors_pkey,"
            " ADD PRIMARY KEY (page, model)"
        )
        op.execute(
            "UPDATE wiki_state SET serving = (SELECT model FROM wiki_vectors GROUP BY model"
            " ORDER BY count(*) DESC LIMIT 1)"
        )
        return
    op.drop_table("wiki_vectors")  # empty: SQLite shares no index
    op.create_table(
        "wiki_vectors",
        sa.Column(
            "page",
            sa.Integer,
            sa.ForeignKey("wiki_pages.number", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("scales", sa.LargeBinary, nullable=False),
        sa.Column("matrix", sa.LargeBinary, nullable=False),
    )
