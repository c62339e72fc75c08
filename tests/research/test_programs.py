"""The programs that measure, most of which no other test runs."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {*ROOT.glob("eval/**/[!_]*.py"), *ROOT.glob("research/**/[!_]*.py")} - {
    ROOT / "eval/systems/rag/store.py",  # runs in the environment `eval`
    # They run in the environment that trains.
    ROOT / "research/timings/bare_loop.py",
    ROOT / "research/encoders/encoder.py",
    ROOT / "research/encoders/judge.py",
    ROOT / "research/encoders/rerank.py",
}


@pytest.mark.parametrize("path", sorted(str(file.relative_to(ROOT)) for file in PROGRAMS))
def test_what_a_program_imports_is_there(path: str) -> None:
    importlib.import_module(path.removesuffix(".py").replace("/", "."))


def test_an_evaluation_imports_no_database() -> None:
    """Its environment has no SQLAlchemy."""
    names = ("eval.running.worker", "eval.systems.asker", "eval.systems.rag.sweep")
    code = f"import sys; sys.modules['sqlalchemy'] = None; import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
