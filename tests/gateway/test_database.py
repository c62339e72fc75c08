"""The schema, on SQLite and on PostgreSQL: made, renewed, and refused."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import gateway.routing.promotions  # noqa: F401
import gateway.runtime.container  # noqa: F401
import widget.review.tables  # noqa: F401
import widget.service.store  # noqa: F401
from askdocs.supervision.checks import free_port
from core import database
from core.errors import AskdocsError
from gateway.access import keys
from tests.gateway.postgres import PASSWORD, Postgres, url

# Real servers, which take their time.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("migrations")]

__all__ = ["url"]

ROOT = Path(__file__).parents[2]
MIGRATE = """
import sys
from core import database
engine = database.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
database.migrate(engine)
"""


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    yield engine
    engine.dispose()


def process(program: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_empty_database_gets_the_schema_of_the_code_and_a_second_call_changes_nothing(
    engine: sa.Engine,
) -> None:
    database.migrate(engine)
    database.migrate(engine)
    database.check(engine)
    with database.reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), database.metadata) == []
        made = sa.inspect(connection)
        for table in database.metadata.sorted_tables:  # primary keys are not compared
            key = made.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]
        assert connection.execute(sa.text("SELECT revision FROM alias_revision")).all() == [(0,)]
        assert connection.execute(sa.text("SELECT count(*) FROM aliases")).scalar() == 0


def test_several_processes_migrate_at_once_and_all_succeed(url: str) -> None:
    processes = [process(MIGRATE, url) for _ in range(3)]
    for one in processes:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    for one in processes:
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")
    database.check(engine := database.open(url))
    engine.dispose()


def test_a_kill_in_the_middle_of_migrating_leaves_nothing_half_done(url: str) -> None:
    # Stops after the last step, before the transaction ends.
    hanging = MIGRATE.replace(
        "database.migrate(engine)",
        "import time, alembic.command as c; upgrade = c.upgrade\n"
        "def slow(*args):\n    upgrade(*args); print('done', flush=True); time.sleep(60)\n"
        "c.upgrade = slow\n"
        "database.migrate(engine)",
    )
    one = process(hanging, url)
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write("\n")
    one.stdin.flush()
    assert [one.stdout.readline() for _ in range(2)] == ["ready\n", "done\n"]
    os.kill(one.pid, signal.SIGKILL)
    one.communicate(timeout=60)
    engine = database.open(url)
    assert sa.inspect(engine).get_table_names() == []
    database.migrate(engine)
    database.check(engine)
    engine.dispose()


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


def test_an_empty_database_is_not_taken_for_a_ready_one(engine: sa.Engine) -> None:
    with pytest.raises(AskdocsError, match="is empty"):
        database.check(engine)


def test_what_was_not_committed_is_not_there(engine: sa.Engine) -> None:
    database.migrate(engine)

    def fail() -> None:
        with database.writing(engine) as connection:
            connection.execute(sa.text("UPDATE alias_revision SET revision = 7"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading(engine) as connection:
        assert connection.execute(sa.text("SELECT revision FROM alias_revision")).scalar() == 0


def test_a_server_that_is_not_there_is_named_with_reason_and_fix_but_without_password() -> None:
    port = free_port()
    engine = database.open(
        f"postgresql://ann:{PASSWORD}@127.0.0.1:{port}/x?password={PASSWORD}&sslpassword={PASSWORD}"
    )
    with pytest.raises(database.Unreachable) as caught:
        database.migrate(engine)
    text = str(caught.value)
    assert f"postgresql://ann:***@127.0.0.1:{port}/x" in text
    assert "refused" in text
    assert "start PostgreSQL, or correct ASKDOCS_DATABASE_URL" in text
    assert PASSWORD not in text
    assert "\n" not in text


def test_a_wrong_password_is_said_so(postgres: Postgres) -> None:
    engine = database.open(postgres.database().replace(PASSWORD, "wrong"))
    with pytest.raises(database.Unreachable, match="password authentication failed"):
        database.migrate(engine)


@pytest.mark.slow
def test_a_value_that_is_refused_is_no_outage(postgres: Postgres) -> None:
    """Who takes it for one tries again for ever."""
    engine = database.open(postgres.database())
    with pytest.raises(AskdocsError, match="a value is refused") as caught:  # noqa: SIM117
        with database.reading(engine) as connection:
            connection.execute(sa.text("SELECT :text"), {"text": "a\0b"})
    engine.dispose()
    assert not isinstance(caught.value, database.Unreachable)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path}/nowhere/askdocs.db")
    with pytest.raises(database.Unreachable, match=r"cannot be written \(No such file.*create its"):
        database.migrate(engine)


def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "askdocs.db"
    file.write_text("dear diary, " * 1000)
    engine = database.open(f"sqlite:///{file}")
    with pytest.raises(database.Unreachable, match="not a database"):
        database.migrate(engine)
    engine.dispose()
    assert file.read_text() == "dear diary, " * 1000


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("hunter2", "cannot be read"),
        ("", "cannot be read"),
        ("mysql://me:hunter2@host/db", "'mysql' is not a supported database"),
        ("postgresql://me:p@hunter2@host/db", "as %40"),
        ("postgresql://me:p@host/hunter2@host/db", "as %40"),
        ("postgresql://me:p@s:hunter2@host:5432/db", "cannot be read"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
    ],
)
def test_another_url_is_refused_with_the_two_forms_and_not_repeated(given: str, why: str) -> None:
    with pytest.raises(AskdocsError, match=why) as caught:
        database.open(given)
    assert "sqlite:///FILE" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_psycopg_however_it_is_written(scheme: str) -> None:
    engine = database.open(f"{scheme}://ann@localhost/x")
    assert engine.driver == "psycopg"
    assert database.shown(engine) == "postgresql://ann@localhost/x"


def test_the_sqlite_file_is_its_owners_alone_and_readers_do_not_wait_for_a_writer(
    tmp_path: Path,
) -> None:
    file = tmp_path / "askdocs.db"
    engine = database.open(f"sqlite:///{file}")
    database.migrate(engine)
    assert file.stat().st_mode & 0o777 == 0o600
    with database.writing(engine) as connection:
        connection.execute(sa.text("UPDATE alias_revision SET revision = 7"))
        with database.reading(engine) as other:  # one that waited would wait in vain, and fail
            assert other.execute(sa.text("SELECT revision FROM alias_revision")).scalar() == 0
    engine.dispose()


def test_two_sqlite_writers_wait_for_each_other(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path}/askdocs.db")
    database.migrate(engine)
    other = sqlite3.connect(tmp_path / "askdocs.db", isolation_level=None)
    with database.writing(engine) as connection:
        connection.execute(sa.text("UPDATE alias_revision SET revision = 7"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("PRAGMA busy_timeout = 0").execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    assert other.execute("SELECT revision FROM alias_revision").fetchone() == (7,)
    other.close()
    engine.dispose()


def test_migrations_are_in_the_package_and_the_newest_is_known_by_name() -> None:
    assert ScriptDirectory(str(database.MIGRATIONS)).get_current_head() == database.HEAD
    assert database.MIGRATIONS.is_relative_to(Path(database.__file__).parent)
    assert list(database.MIGRATIONS.glob("versions/v*.py"))


@pytest.mark.parametrize("words", ["disk I/O error", "database or disk is full"])
def test_a_full_disk_is_named_as_the_cause(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError(words)

    monkeypatch.setattr(database, "_connect_sqlite", full)
    engine = database.open(f"sqlite:///{tmp_path / 'full.db'}")
    with pytest.raises(database.Unreachable, match=rf"{words}\): free disk space, or name another"):
        database.migrate(engine)
    engine.dispose()
