"""deploy/backup.sh with a real PostgreSQL: what a restore must not undo, and one that is killed."""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from core import audit, database
from gateway.access import keys
from gateway.access.keys import Keys
from tests.gateway.postgres import Postgres
from widget.service.store import NewQuestion, Store

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


class Service:
    """The service `backup` of compose.yaml, for one database."""

    def __init__(self, url: str, backups: Path) -> None:
        self.backups = backups
        place = sa.make_url(url)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self._env = {
            "PATH": os.pathsep.join([*map(str, found[-1:]), os.environ["PATH"]]),
            "PGHOST": str(place.host),
            "PGPORT": str(place.port),
            "PGUSER": str(place.username),
            "PGPASSWORD": str(place.password),
            "PGDATABASE": str(place.database),
            "BACKUPS": str(backups),
            "BACKUP_DAYS": "14",
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", ROOT / "deploy" / "backup.sh", *words],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> str:
        """What it says."""
        with self.start(*words) as process:
            said, wrong = process.communicate(timeout=120)
        assert (process.returncode, wrong) == (0, "")
        return said


@pytest.fixture
def engine(postgres: Postgres) -> Iterator[sa.Engine]:
    engine = database.open(postgres.database())
    database.migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def service(engine: sa.Engine, tmp_path: Path) -> Service:
    return Service(engine.url.render_as_string(hide_password=False), tmp_path)


def acts(engine: sa.Engine) -> list[tuple[str, str]]:
    return [(line.action, line.target) for line in audit.lines(engine)]


def test_a_restore_opens_no_key_that_was_closed_since_and_keeps_the_audit_log(
    engine: sa.Engine, service: Service, postgres: Postgres
) -> None:
    store, questions = Keys(engine), Store(engine)
    leaked, _ = store.create("leaked")
    turned, old_text = store.create("turned")
    for id in ("q1", "q2"):
        questions.asked(NewQuestion(id, "How do I get a token?", id, person=id))
    said = service.run()
    name = said.split("backup: ")[2].split(",")[0]
    assert (service.backups / name).stat().st_mode & 0o777 == 0o600
    store.revoke("leaked")
    store.create("leaked")  # another one of that name
    _, new_text = store.rotate("turned", timedelta(0))
    questions.forget(person="q1")
    done = [
        ("key.create", "leaked"),
        ("key.create", "turned"),
        ("backup.make", name),
        ("key.revoke", "leaked"),
        ("key.create", "leaked"),
        ("key.rotate", "turned"),
        ("questions.forget", "1"),
    ]
    assert acts(engine) == done

    for _ in range(2):  # what was restored can be restored again
        engine.dispose()
        said = service.run("restore", name, "--yes")
        assert "backup: 1 questions deleted since then" in said
        database.check(engine)
        assert [key.id for key in store.list()] == [leaked.id, turned.id]
        assert store.get(leaked.id).revoked is not None
        found = store.find(turned.id)
        assert found is not None
        opens = {secret.digest: secret.valid_until for secret in found.secrets}
        old, new = (keys.parse(text) for text in (old_text, new_text))
        assert old is not None
        assert new is not None
        assert opens.keys() == {keys.digest(old.secret), keys.digest(new.secret)}
        assert opens[keys.digest(new.secret)] is None
        assert opens[keys.digest(old.secret)] is not None
        questions.forget(person="q1")
        # The copy of what was there, to undo it, has a line, too.
        found_acts = acts(engine)
        assert found_acts[len(done)][0] == "backup.make"
        done.append(found_acts[len(done)])
        done += [("backup.restore", name), ("questions.forget", "1")]
        assert found_acts == done
    lines = audit.lines(engine)
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {lines[2].who, lines[-2].who} == {f"{user}@{os.uname().nodename}"}
    assert lines[2].details["bytes"] > 1000
    assert lines[-2].details == {"parts": ["database"]}
    with database.reading(engine) as connection:
        assert "replaced" not in sa.inspect(connection).get_schema_names()

    empty = database.open(postgres.database())
    service = Service(empty.url.render_as_string(hide_password=False), service.backups)
    assert "deleted since then" not in service.run("restore", name, "--yes")
    database.check(empty)
    assert [action for action, _ in acts(empty)] == ["key.create", "key.create", "backup.restore"]
    empty.dispose()


def test_a_restore_that_is_killed_leaves_what_was_there(
    engine: sa.Engine, service: Service
) -> None:
    store = Keys(engine)
    leaked, _ = store.create("leaked")
    with database.writing(engine) as connection:
        rows = "SELECT repeat('x', 200) AS text FROM generate_series(1, 200000)"
        connection.execute(sa.text(f"CREATE TABLE large AS {rows}"))
    name = service.run().split("backup: ")[2].split(",")[0]
    store.revoke("leaked")
    with database.writing(engine) as connection:
        connection.execute(sa.text("DROP TABLE large"))
    engine.dispose()

    aside = engine.url.set(drivername="postgresql", database="postgres")
    others = "SELECT query FROM pg_stat_activity WHERE datname = %s"
    with (
        psycopg.connect(aside.render_as_string(False), autocommit=True) as watching,
        service.start("restore", name, "--yes") as process,
    ):

        def running() -> list[str]:
            found = watching.execute(others, [engine.url.database]).fetchall()
            return [query for (query,) in found]

        while not any(query.startswith("COPY public.large ") for query in running()):
            assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while running():
            time.sleep(0.01)
    database.check(engine)
    assert store.get(leaked.id).revoked is not None
    assert [one for one, _ in acts(engine)] == [
        *("key.create", "backup.make", "key.revoke"),
        "backup.make",  # the copy to undo it
    ]
    with database.reading(engine) as connection:
        assert not sa.inspect(connection).has_table("large")
        assert "replaced" not in sa.inspect(connection).get_schema_names()
    engine.dispose()
    service.run("restore", name, "--yes")
    assert acts(engine)[-1] == ("backup.restore", name)
