"""A PostgreSQL of the tests' own, on a free port, that can be stopped and started.

All test files share it: a test that stops it starts it again.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from askdocs.supervision.checks import free_port
from tests.parts import require

PASSWORD = "s3cret-of-the-tests"


class Postgres:
    """A cluster in a folder."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._port = free_port()
        self._numbers = itertools.count()

    def make(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            shutil.chown(password, "postgres", "postgres")
        options = ("--username=askdocs", f"--pwfile={password}", "--auth=scram-sha-256")
        self._do("initdb", "--no-sync", *options)

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -h 127.0.0.1"
        options += " -c fsync=off -c max_connections=300"
        self._do("pg_ctl", "start", "--wait", f"--log={self._folder}/log", f"--options={options}")

    def processes(self) -> list[psutil.Process]:
        """The process above all others, and these."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]

    def kill(self) -> None:
        """kill -9 of the process above all others; returns when they have all gone, too."""
        family = self.processes()
        family[0].kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, "PostgreSQL outlives the kill of its first process"

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "--wait", "--mode=immediate")

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"askdocs_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://askdocs:{PASSWORD}@127.0.0.1:{self._port}/{name}"

    def _do(self, program: str, *words: str) -> None:
        # PostgreSQL does not run as root.
        user = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            if os.geteuid() == 0
            else []
        )
        # A file: the server that pg_ctl starts keeps what it is given, so a pipe would wait.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [*user, self._binaries / program, f"--pgdata={self._folder}/data", *words],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=60,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program}: {output.read().decode(errors='replace')}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    binaries = found[-1].parent if found else Path(on_path).parent if on_path else None
    require(binaries is not None, "apt-get install postgresql")
    assert binaries is not None
    # Not in pytest's folder, which the user postgres may not enter.
    folder = Path(tempfile.mkdtemp(prefix="askdocs-postgres-"))
    server = Postgres(binaries, folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/askdocs.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()
