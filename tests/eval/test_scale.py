"""The measure of a large wiki, on a small one."""

import shutil
from pathlib import Path

import pytest

from eval.studies.scale import measure

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow  # another process searches, and loads all of it again
def test_a_wiki_of_a_few_pages_is_measured_too(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("keys.md", "monitoring.md", "search.md", "sync.md"):
        (file,) = DOCS.rglob(name)
        shutil.copy(file, tmp_path / "docs")
    found = measure(tmp_path / "docs", 3, tmp_path / "index.db", ["How do I make a key?"], None)
    assert found["passages"] >= found["pages"] == 3
    assert found["words_and_vectors_p50_ms"] > 0
