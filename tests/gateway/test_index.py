"""What is read from the search index."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.conftest import SITE, page
from tests.starting import REPO
from wiki.index import index
from wiki.index.index import Index, coverage
from wiki.pages.words import stems

Make = Callable[..., Index]


def test_pages_come_back_exactly_as_they_were(tmp_path: Path) -> None:
    pages = [page("a.md", "above\n\n# Ä\n\n## B “q” {#own}\n\n### C\n\n```\n'x';--\n```")]
    index.build(tmp_path / "index.db", pages)
    opened = Index(tmp_path / "index.db")
    assert opened.pages() == pages
    opened.close()


@pytest.mark.parametrize("name", ["a#b", "a?mode=rw", "100% & more", "größe", "a b"])
def test_a_path_may_have_any_sign(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "index.db"
    pages = [page("a.md", "# A\n\ntext")]
    index.build(file, pages)
    opened = Index(file)
    assert opened.pages() == pages
    opened.close()


def test_a_page_is_known_by_its_address_however_it_is_written(indexed: Make) -> None:
    made = indexed(index="# Home\n\ntext", guide__index="# G\n\ntext", guide__set_up="# S\n\ntext")
    for tail in ("", "?q=1", "#anchor", "?q=a/b#x/y", "index.html", "index.html?x#y"):
        for path, file in (("guide/set_up/", "guide/set_up.md"), ("", "index.md")):
            found = made.by_url(f"{SITE}{path}{tail}")
            assert found is not None, path + tail
            assert found.path == file
    without_slash = made.by_url(f"{SITE}guide/set_up")
    assert without_slash is not None
    assert without_slash.path == "guide/set_up.md"
    with_query = made.by_url(f"{SITE}guide?x")
    assert with_query is not None
    assert with_query.path == "guide/index.md"


@pytest.mark.parametrize(
    "url", ["", "?", "#", "nonsense", "http://[", "https://wiki.example.com/none/", "\ud800", "%"]
)
def test_an_address_that_is_no_page_is_none(indexed: Make, url: str) -> None:
    assert indexed(a="# A\n\ntext").by_url(url) is None


def test_a_rare_word_says_more_than_a_common_one_and_an_unknown_one_most(indexed: Make) -> None:
    texts = {f"p{n}": f"# P{n}\n\nThe usual words." for n in range(9)}
    idf = indexed(**texts, q="# Q\n\nThe usual zebras.").idf(stems("usual zebras unheard"))
    assert 0.1 <= idf["usual"] < idf["zebra"] < idf["unheard"]


def test_coverage_is_the_same_in_every_process() -> None:
    script = (
        "from wiki.index.index import coverage\n"
        "idf = {str(at): 1 / at for at in range(1, 40)}\n"
        "print([coverage(idf, idf, map(str, range(1, most))) for most in range(2, 40)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
            cwd=REPO,
        ).stdout
        for seed in range(2)
    }
    assert len(said) == 1


def test_coverage_is_the_weighed_share_of_what_is_wanted() -> None:
    idf = {"a": 3.0, "b": 1.0}
    assert coverage(idf, ["a", "b"], ["a"]) == 0.75
    assert coverage(idf, ["a", "b", "b"], ["b", "c"]) == 0.25
    assert coverage(idf, ["a"], []) == 0.0
    assert coverage(idf, [], ["a"]) == 0.0
