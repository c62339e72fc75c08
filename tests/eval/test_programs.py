"""The programs that measure, most of which no other test runs."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {*ROOT.glob("eval/**/[!_]*.py"), *ROOT.glob("tests/bench/*.py")} - {
    ROOT / "eval/systems/rag/lance.py",  # runs in the environment `eval`
    ROOT / "tests/bench/bare_loop.py",  # runs in the environment that trains
}


@pytest.mark.parametrize("path", sorted(str(file.relative_to(ROOT)) for file in PROGRAMS))
def test_what_a_program_imports_is_there(path: str) -> None:
    importlib.import_module(path.removesuffix(".py").replace("/", "."))
