"""A gateway whose files are damaged does not start, and says which, why, and what to do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core import database
from gateway.access.keys import Keys
from wiki.index import index
from wiki.sources.markdown import parse

# Each starts a gateway.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def make_database(file: Path) -> None:
    engine = database.open(f"sqlite:///{file}")
    database.migrate(engine)
    Keys(engine).create("ci")
    engine.dispose()


def make_index(file: Path) -> None:
    index.build(file, [parse("a.md", "# A\n\nText.", "https://w.example.com/")])


@pytest.mark.parametrize(
    ("name", "make", "part", "what"),
    [
        ("askdocs.db", make_database, "database", "database"),
        ("index.db", make_index, "index", "search index"),
    ],
)
def test_a_truncated_file_is_named_with_the_command_that_puts_it_back(
    tmp_path: Path, name: str, make: Callable[[Path], None], part: str, what: str
) -> None:
    make(tmp_path / name)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2 // 4096 * 4096)
    env = {key: value for key, value in os.environ.items() if not key.startswith("ASKDOCS_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        cwd=tmp_path,
        env={
            **env,
            "PYTHONPATH": str(ROOT),
            "ASKDOCS_HOME": str(tmp_path),
            "ASKDOCS_GATEWAY_INDEX": str(tmp_path / "index.db"),
            "ASKDOCS_GATEWAY_KEY": "ask-test",
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 1
    (line,) = (one for one in done.stderr.splitlines() if one.startswith("gateway: "))
    assert f"{name}: the {what} is damaged (" in line
    assert f"`askdocs restore FILE --only {part}`" in line
    assert "Traceback" not in done.stderr
