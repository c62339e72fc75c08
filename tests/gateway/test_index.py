"""What is read from the search index."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.search import index
from gateway.search.index import Index, coverage
from gateway.wiki.words import stems
from tests.gateway.conftest import SITE, page

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


def test_a_match_in_the_title_outranks_one_in_the_text(indexed: Make) -> None:
    found = indexed(
        a="# Fruit\n\nBackups, backups: make backups of fruit. Backups!",
        b="# Backups\n\nCopies of everything that is there, made at night.",
        c="# Other\n\nNothing of the kind.",
    ).search("How do backups work?")
    assert [hit.page.path for hit in found] == ["b.md", "a.md"]
    assert found[0].score > found[1].score > 0


def test_words_meet_in_every_form_and_without_accents(indexed: Make) -> None:
    made = indexed(a="# Café\n\nInstalled by the installer.", b="# B\n\nOther things.")
    for question in ("installing", "INSTALLS", "cafe", "CAFÉS"):
        assert [hit.page.path for hit in made.search(question)] == ["a.md"], question


def test_the_page_that_the_reader_is_on_wins_among_equals(indexed: Make) -> None:
    made = indexed(a="# One\n\nSet the port.", b="# Two\n\nSet the port.", c="# X\n\nElse.")
    for here in ("a", "b"):
        found = made.search("Which port?", f"{SITE}{here}/#x")
        assert found[0].page.path == f"{here}.md"
        assert len(found) == 2


def test_the_readers_page_does_not_win_over_a_much_better_one(indexed: Make) -> None:
    made = indexed(
        a="# Restore a backup\n\nRestore the backup with the restore command.",
        b="# Ports\n\nThe port. Long text about many things, once a backup is named. " * 5,
        c="# Else\n\nOther.",
    )
    assert made.search("restore backup", f"{SITE}b/")[0].page.path == "a.md"


def test_where_nothing_matches_the_readers_page_is_the_answer(indexed: Make) -> None:
    made = indexed(a="# A\n\ntext", b="# B\n\ntext")
    (hit,) = made.search("how do I do this?", f"{SITE}b/")
    assert (hit.page.path, hit.score) == ("b.md", 0.0)
    assert made.search("zebra", "https://elsewhere.example/b/") == []
    assert made.search("zebra") == []
    assert made.search("") == []


def test_no_more_hits_than_asked_for(indexed: Make) -> None:
    made = indexed(**{f"p{n}": f"# P{n}\n\nthe same apples" for n in range(9)})
    assert len(made.search("apples")) == 5
    assert len(made.search("apples", limit=2)) == 2


@pytest.mark.parametrize(
    "question",
    ['"', '""', '"apples', "AND apples", "apples AND", "NOT", "apples*", "*", "NEAR(", "NEAR(a b)",
     "title:apples", "^apples", "-apples", "{apples}", "apples + pears", "' OR 1=1 --", ");",
     "\0apples", "\ud800 apples", "apples\u2028", "(" * 500, "apples " * 2000],
)  # fmt: skip
def test_search_syntax_in_a_question_is_only_words(indexed: Make, question: str) -> None:
    made = indexed(a="# A\n\nApples", b="# B\n\nPears")
    found = [hit.page.path for hit in made.search(question)]
    assert ("a.md" in found) == ("apples" in question)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(), st.text() | st.text().map(lambda path: SITE + path))
def test_any_question_on_any_page_is_only_a_question(
    indexed: Make, question: str, page_url: str
) -> None:
    indexed(a="# A\n\nApples").search(question, page_url)


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
    rarity = indexed(**texts, q="# Q\n\nThe usual zebras.").rarity(stems("usual zebras unheard"))
    assert 0.1 <= rarity["usual"] < rarity["zebra"] < rarity["unheard"]


def test_coverage_is_the_weighed_share_of_what_is_wanted() -> None:
    rarity = {"a": 3.0, "b": 1.0}
    assert coverage(rarity, ["a", "b"], ["a"]) == 0.75
    assert coverage(rarity, ["a", "b", "b"], ["b", "c"]) == 0.25
    assert coverage(rarity, ["a"], []) == 0.0
    assert coverage(rarity, [], ["a"]) == 0.0
