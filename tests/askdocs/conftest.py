import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from askdocs import cli
from askdocs.state.home import Home

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = Path(sys.executable).with_name("askdocs")
Run = Callable[..., subprocess.CompletedProcess[str]]


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


RunHere = Callable[..., Done]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test stands in its own folder, without the settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("ASKDOCS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A state folder that is made."""
    home = Home(tmp_path / "home")
    home.make()
    return home


def two_pages(wiki: Path) -> Path:
    """Makes the folder a wiki of two pages, without a front page."""
    wiki.mkdir()
    (wiki / "install.md").write_text("# Install it\n\nYou need Python and make.\n")
    (wiki / "ports.md").write_text("# Ports\n\nThe gateway listens on port 4000.\n")
    return wiki


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    return two_pages(tmp_path / "wiki")


@pytest.fixture
def askdocs() -> Run:
    """The real command, in a process of its own."""

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *words],
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunHere:
    """The command in this process: a new one takes a second to import what it needs."""

    def run(*words: str, typed: str = "", **env: str) -> Done:
        # A command also sets variables itself, as for proxies: they end with it.
        with monkeypatch.context() as patch, mock.patch.dict(os.environ, env):
            patch.setattr("sys.argv", ["askdocs", *words])
            patch.setattr("sys.stdin", io.StringIO(typed))
            capfd.readouterr()
            code = 0
            try:
                cli.main()
            except SystemExit as end:
                if isinstance(end.code, str):
                    raise
                code = end.code or 0
        said = capfd.readouterr()
        return Done(code, said.out, said.err)

    return run
