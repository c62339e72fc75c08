"""Usage outlives a kill -9, and nothing of it counts twice."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.access.keys import Key
from gateway.storage import database
from gateway.telemetry.usage import Usage, report
from gateway.telemetry.usage_journal import UsageJournal, UsageRecord
from tests.gateway.postgres import url

pytestmark = pytest.mark.slow

__all__ = ["url"]

ROOT = Path(__file__).parents[2]
ANN = Key("ann0000000", "ann", "red", datetime.now(UTC))
LINE = UsageRecord("ann0000000", 20_000, "red", "docs", "docs@v7", 100, 20)
# A worker that counts three requests, and writes them first if it should.
WORKER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from gateway.storage import database
from gateway.access.keys import Key
from gateway.telemetry.usage_journal import UsageJournal
from gateway.telemetry.usage import Usage
spool = UsageJournal(Path(sys.argv[2]))
spool.drop = lambda names: None  # killed before it
one = Usage(database.open(sys.argv[1]), spool)
for _ in range(3):
    one.add(Key("ann0000000", "ann", "red", datetime.now(UTC)), "docs", "base", 10, 5)
if sys.argv[3] == "written":
    asyncio.run(one.flush())
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = database.open(url)
    database.migrate(engine)
    yield engine
    engine.dispose()


def requests(engine: sa.Engine) -> int:
    return sum(row.requests for row in report(engine))


@pytest.mark.parametrize("state", ["counted", "written"])
def test_what_a_killed_worker_counted_is_written_once(
    state: str, url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(tmp_path / "usage"), state],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"ready\n"
    living = Usage(engine, UsageJournal(tmp_path / "usage"))
    asyncio.run(living.recover())
    assert requests(engine) == (3 if state == "written" else 0)  # it lives: its files are its own
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    for _ in range(2):
        asyncio.run(living.recover())
        assert requests(engine) == 3
    left = [file.suffix for file in (tmp_path / "usage").iterdir()]
    assert left == [".lock"]


async def test_a_write_whose_end_was_not_heard_of_counts_once(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Usage(engine, UsageJournal(tmp_path))
    one.add(ANN, "docs", "base", 10, 5)
    written = Usage._write

    def breaks(self: Usage, *args: object) -> None:
        written(self, *args)  # type: ignore[arg-type]
        raise database.Unreachable("the connection broke at the commit")

    monkeypatch.setattr(Usage, "_write", breaks)
    await one.flush()
    assert one.failures == 1
    monkeypatch.undo()
    one.add(ANN, "docs", "base", 10, 5)
    await one.flush()
    assert requests(engine) == 2
    assert one._journal is not None
    assert one._journal.seal() == []


async def test_with_the_database_away_at_the_end_the_next_worker_writes_it(
    engine: sa.Engine, tmp_path: Path
) -> None:
    away = database.open(f"sqlite:///{tmp_path}/nowhere/askdocs.db")
    one = Usage(away, UsageJournal(tmp_path / "usage"))
    one.add(ANN, "docs", "base", 10, 5)
    await one.flush()
    one.add(ANN, "docs", "base", 10, 5)
    assert one._journal is not None
    one._journal.close()
    await Usage(engine, UsageJournal(tmp_path / "usage")).recover()
    assert requests(engine) == 2


def test_half_a_line_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead = UsageJournal(tmp_path)
    dead.add(LINE)
    (name,) = dead.seal()
    with (tmp_path / f"{name}.usage").open("ab") as file:
        file.write(b'["ann0000000",20')
    dead.close()
    living = UsageJournal(tmp_path)
    (worker,) = living.orphans()
    with living.left_by(worker) as segments:
        assert [segment.lines for segment in segments] == [[LINE]]
    assert "not a line of usage" in caplog.text
    assert living.orphans() == []


def test_a_full_disk_stops_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = UsageJournal(tmp_path)
    spool._file = os.open("/dev/full", os.O_WRONLY)
    for _ in range(3):
        spool.add(LINE)
    assert caplog.text.count("usage is kept only in memory") == 1


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    spool = UsageJournal(tmp_path / "usage")
    spool.add(LINE)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "usage").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "usage").stat().st_mode & 0o777 == 0o700


def test_a_line_costs_microseconds(tmp_path: Path) -> None:
    spool = UsageJournal(tmp_path)
    began = time.perf_counter()
    for _ in range(1000):
        spool.add(LINE)
    assert time.perf_counter() - began < 10
