"""Databases of every schema there was, with data in them, become today's; nothing is lost.

The dumps in `schemas` were made by the code of their day: see schemas/make.py.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import gateway.runtime.container
import widget.service.store
from gateway.access import keys
from gateway.core.errors import AskdocsError
from gateway.knowledge.search import shared
from gateway.routing import aliases, deployments, promotions
from gateway.storage import database
from gateway.telemetry import audit
from gateway.telemetry.usage import report
from gateway.upstream.prefill.popularity import PagePopularity
from tests.gateway.postgres import url
from tests.gateway.schemas.make import PAGE, SECRET
from widget.review.reviews import Reviews

# A real PostgreSQL, and Alembic.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("migrations")]

__all__ = ["gateway", "url"]

SCHEMAS = Path(__file__).with_name("schemas")
REVISIONS = [f"{number:04}" for number in range(1, int(database.HEAD))]


def load(revision: str, url: str) -> None:
    """Put the dump of a revision into an empty database."""
    kind = url.partition(":")[0]
    text = (SCHEMAS / f"{revision}.{kind}.sql").read_text()
    if kind == "sqlite":
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
            db.executescript(text)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(text.encode())


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    yield engine
    engine.dispose()


def test_every_schema_before_this_one_has_its_dumps() -> None:
    for revision in REVISIONS:
        for kind in ("sqlite", "postgresql"):
            assert (SCHEMAS / f"{revision}.{kind}.sql").is_file(), (
                f"make the dumps of {revision}: see {SCHEMAS.name}/make.py"
            )


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_an_older_askdocs_stored_is_there_after_the_upgrade(
    revision: str, url: str, engine: sa.Engine
) -> None:
    load(revision, url)
    with database.reading(engine) as connection:
        old = sa.MetaData()
        old.reflect(connection)
        before = {t.name: connection.execute(sa.select(t)).all() for t in old.sorted_tables}
    assert before["alembic_version"] == [(revision,)]
    database.migrate(engine)
    database.check(engine)
    with database.reading(engine) as connection:
        for table in old.sorted_tables:
            if table.name != "alembic_version":
                assert connection.execute(sa.select(table)).all() == before[table.name]

    # And today's code reads it.
    store = keys.Keys(engine)
    key = store.get("ci")
    found = store.find(key.id)
    assert found is not None
    assert [secret.digest for secret in found.secrets] == [keys.digest(SECRET)]
    assert (key.team, key.models, key.limits.monthly_tokens) == ("red", ("docs",), 9000)
    assert [one.name for one in store.list() if one.revoked] == ["old"]
    (row,) = report(engine, ["alias", "model"], date(2026, 1, 1))
    assert (row.group, row.tokens) == ({"alias": "docs", "model": "base"}, 1280)
    assert aliases.stored(engine)["hr"].targets == {"base": 90, "spare": 10}
    if revision >= "0002":
        assert PagePopularity(engine)._hottest(5) == [PAGE]
    if revision >= "0003" and engine.dialect.name == "postgresql":
        with database.reading(engine) as connection:
            columns = (shared.page_table.c.path, shared.page_table.c.title)
            assert connection.execute(sa.select(*columns)).all() == [("vpn.md", "VPN")]
    if revision >= "0004":
        (entry,) = promotions.history(engine, "docs")
        assert (entry.by, entry.before, entry.after) == ("ann", {"base": 1}, {"docs@v1": 1})
        assert [one.name for one in deployments.every(engine)] == ["docs@v1"]
    if revision >= "0005":
        kept = widget.service.store.Store(engine).get("q1")
        assert (kept.asked.page, kept.answered.answer) == (PAGE, "Ask the desk.")
        assert kept.at == datetime(2026, 11, 2, 9, 31, tzinfo=UTC)
        assert kept.vote == widget.service.store.Vote("down", ("wrong",), "No desk here.")
    if revision >= "0006":
        (review,) = Reviews(engine).approved()
        assert (review.who, review.draft.answer) == ("wendy", "From the second floor.")
    # It can be written to, and what is done now is in the log.
    store.revoke("ci")
    line = audit.lines(engine)[-1]
    assert (line.action, line.target) == ("key.revoke", "ci")


def later(engine: sa.Engine, oldest: str) -> None:
    """What an askdocs after this one would make of the database: more than this one knows."""
    with database.writing(engine) as connection:
        connection.execute(sa.text("ALTER TABLE keys ADD COLUMN colour TEXT"))
        connection.execute(sa.text("CREATE TABLE colours (name TEXT)"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9998'"))
        connection.execute(sa.update(database.reach_table).values(oldest=oldest))


def test_an_askdocs_goes_on_with_a_newer_schema_that_only_adds(engine: sa.Engine) -> None:
    database.migrate(engine)
    keys.Keys(engine).create("ci")
    later(engine, database.HEAD)
    database.migrate(engine)
    database.check(engine)
    store = keys.Keys(engine)
    store.create("nightly")
    assert [key.name for key in store.list()] == ["ci", "nightly"]
    with database.reading(engine) as connection:  # the newer one's mark stays
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    assert found == "9998"


def test_a_newer_schema_that_does_more_is_refused(engine: sa.Engine) -> None:
    database.migrate(engine)
    later(engine, "9998")
    for use in (database.migrate, database.check):
        with pytest.raises(AskdocsError, match=r"was made by a newer askdocs.*'9998'.*upgrade"):
            use(engine)


def test_the_schema_only_adds_to_that_of_the_oldest_that_may_go_on(
    url: str, engine: sa.Engine
) -> None:
    """What `reach_table` says is true: its oldest can read and write all that it knows."""
    database.migrate(engine)
    with database.reading(engine) as connection:
        oldest = connection.execute(sa.select(database.reach_table.c.oldest)).scalar_one()
        new = sa.MetaData()
        new.reflect(connection)
    engine.dispose()
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript((SCHEMAS / f"{oldest}.sqlite.sql").read_text())
        tables = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        for table in tables:
            columns = {row[1]: row for row in db.execute(f"PRAGMA table_info({table})")}
            assert table in new.tables
            there = new.tables[table].columns
            assert set(columns) <= set(there.keys()), table
            for column in there:
                if column.name not in columns:  # inserts of the older one leave it out
                    assert column.nullable or column.server_default is not None, column
                else:  # and so what it leaves empty may stay so
                    assert bool(columns[column.name][3]) or column.nullable or column.primary_key
