"""The schema of the first release."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    aliases = op.create_table(
        "alias_revision", sa.Column("revision", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("updated", moment, nullable=False),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "clusters",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deployments",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("updated", moment, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "digests",
        sa.Column("week", sa.Date, nullable=False),
        sa.Column("claimed", moment, nullable=False),
        sa.Column("sent", moment),
        sa.PrimaryKeyConstraint("week"),
    )
    op.create_table(
        "glossary",
        sa.Column("word", sa.Text, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("word", "other"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("team", sa.String(100), nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("rpm", sa.BigInteger),
        sa.Column("tpm", sa.BigInteger),
        sa.Column("max_parallel", sa.BigInteger),
        sa.Column("monthly_tokens", sa.BigInteger),
        sa.Column("created", moment, nullable=False),
        sa.Column("expires", moment),
        sa.Column("revoked", moment),
        sa.Column("groups", sa.JSON),
        sa.Column("for_people", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "keys_name_in_use",
        "keys",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked IS NULL"),
        postgresql_where=sa.text("revoked IS NULL"),
    )
    op.create_table(
        "outcomes",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("measure", sa.Text, nullable=False),
        sa.Column("bucket", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "alias", "model", "measure", "bucket"),
    )
    op.create_table(
        "page_heat",
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("heat", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("url"),
    )
    op.create_index("page_heat_heat", "page_heat", ["heat"])
    op.create_table(
        "page_readers",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("since", moment, nullable=False),
        sa.Column("until", moment),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_page_readers_until", "page_readers", ["until"])
    op.create_index("ix_page_readers_url", "page_readers", ["url"])
    op.create_table(
        "pages_shown",
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("url", "key", "day"),
    )
    op.create_table(
        "promotions",
        sa.Column("number", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("why", sa.Text),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "questions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("page", sa.Text, nullable=False),
        sa.Column("visitor", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("lang", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("outcome", sa.JSON, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("verdict", sa.Text),
        sa.Column("first_token", sa.Float),
        sa.Column("duration", sa.Float),
        sa.Column("shared", sa.Text),
        sa.Column("readers", sa.Text),
        sa.Column("readers_now", sa.Text),
        sa.Column("rights", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shared"),
    )
    op.create_index("ix_questions_at", "questions", ["at"])
    op.create_index("ix_questions_conversation", "questions", ["conversation"])
    op.create_index(
        "ix_questions_measured",
        "questions",
        ["at", "channel", "alias", "state", "verdict", "duration", "id"],
    )
    op.create_index("ix_questions_rights", "questions", ["rights"])
    op.create_index("ix_questions_visitor", "questions", ["visitor"])
    reach = op.create_table("schema_reach", sa.Column("oldest", sa.String(32), nullable=False))
    op.create_table(
        "usage",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("team", sa.Text, nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "day", "team", "alias", "model"),
    )
    op.create_index("usage_day", "usage", ["day"])
    op.create_table(
        "wiki_pages",
        sa.Column("number", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("digest", sa.BigInteger, nullable=False),
        sa.Column("sections", sa.LargeBinary, nullable=False),
        sa.Column("groups", sa.Text),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("source", "path", name="wiki_pages_path"),
    )
    op.create_table(
        "wiki_sources",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("synced", sa.Text),
        sa.Column("problems", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    index = op.create_table(
        "wiki_state",
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("serving", sa.Text),
        sa.Column("embedders", sa.Text, server_default="{}", nullable=False),
    )
    op.create_table(
        "key_secrets",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("valid_until", moment),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["keys.id"],
        ),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])
    op.create_table(
        "members",
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("cluster", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster"],
            ["clusters.id"],
        ),
        sa.ForeignKeyConstraint(["question"], ["questions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("question"),
    )
    op.create_index("ix_members_cluster", "members", ["cluster"])
    op.create_table(
        "reviews",
        sa.Column("cluster", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("page", sa.Text, nullable=False),
        sa.Column("section", sa.Text, nullable=False),
        sa.Column("answerable", sa.Boolean, nullable=False),
        sa.Column("approved", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster"],
            ["clusters.id"],
        ),
        sa.PrimaryKeyConstraint("cluster", "version"),
    )
    op.create_table(
        "votes",
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("vote", sa.Text, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("visitor", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["question"], ["questions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("question"),
    )
    op.create_table(
        "wiki_vectors",
        sa.Column("page", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("scales", sa.LargeBinary, nullable=False),
        sa.Column("matrix", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["page"], ["wiki_pages.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("page", "model"),
    )
    op.bulk_insert(aliases, [{"revision": 0}])
    op.bulk_insert(index, [{"token": uuid.uuid4().hex}])
    # A later revision that older code cannot use writes its own number here.
    op.bulk_insert(reach, [{"oldest": "0001"}])
