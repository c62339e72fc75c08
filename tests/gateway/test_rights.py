"""Groups of pages: their form, and their way from front matter to the index."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from wiki import rights
from wiki.index.index import Index
from wiki.index.view import Rights
from wiki.index.writer import writing
from wiki.rules import Rule, Rules
from wiki.sources.apart import Apart
from wiki.sources.folder import front_groups
from wiki.sources.sync import sync
from wiki.sources.synced import Synced


def test_sets_that_ask_for_the_same_are_stored_alike() -> None:
    one = rights.dump((frozenset({"b", "a"}), frozenset({"c"})))
    other = rights.dump((frozenset({"c"}), frozenset({"a", "b"}), frozenset({"a", "b", "c"})))
    assert one == other == '[["a", "b"], ["c"]]'
    assert rights.load(one) == (frozenset({"a", "b"}), frozenset({"c"}))
    assert rights.dump((frozenset({"everybody", "hr"}),)) == "[]"
    assert rights.dump(rights.NOBODY) == "[[]]"
    assert rights.dump(None) is None


def test_what_is_no_name_of_a_group_lets_nobody_in() -> None:
    assert rights.simplified([["  ", "a\0b", "x" * 201]]) == rights.NOBODY


@pytest.mark.parametrize(
    "name",
    [
        *("\u212alinik", "h\u00a0r", "h\u2003r", "hr ", "e\u0301quipe", "\ufb01nance", "h\x7fr"),
        *("h\u200br", "\uff48r", "person:\u212aim@example.com"),
    ],
)
def test_a_name_that_could_be_taken_for_another_is_rejected_everywhere(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid group name"):
        rights.group(name)
    with pytest.raises(ValidationError, match="is not a valid group name"):
        Rule(path="hr/", groups=(name,))
    groups, problem = front_groups(f"---\ngroups: {json.dumps(name)}\n---\n")
    assert groups == rights.NOBODY
    assert "is not a valid group name" in problem


def test_names_are_compared_exactly() -> None:
    assert rights.groups_of(["HR", "hr", "équipe", "人事"]) == {"HR", "hr", "équipe", "人事"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hr", "hr"),
        (" hr ", ""),
        ("everybody", "x:everybody"),
        (" everybody", ""),
        ("person:Ada@example.com", "x:person:ada@example.com"),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_names_of_a_service_get_no_meaning_of_ours(name: object, found: str) -> None:
    assert rights.foreign(name, "x") == found


def test_rules_of_two_origins_add_up() -> None:
    hr, board = (frozenset({"hr"}),), (frozenset({"board"}),)
    assert rights.both(None, hr) == rights.both(hr, None) == rights.both(hr, ()) == hr
    assert rights.both(hr, board) == (frozenset({"board"}), frozenset({"hr"}))


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("# Open\n\ngroups: hr\n", None),
        ("---\ntitle: Open\n---\ngroups: hr\n", None),
        ("---\nnav:\n  groups: 3\n---\n", None),
        ("---\ngroups: hr\n---\n", (frozenset({"hr"}),)),
        ("---\nGroups: [hr, board]\n---\n", (frozenset({"hr", "board"}),)),
        ("---\ngroups: everybody\n---\n", ()),
        ("---\ngroups: []\n---\n", rights.NOBODY),
        ("---\ngroups:\n---\n", rights.NOBODY),
        ("---\ngroups: [hr, 5]\n---\n", rights.NOBODY),
        ("---\ngroups: [hr\n---\n", rights.NOBODY),
        ("\ufeff---\ngroups: hr\n---\n", rights.NOBODY),
        ("\n---\ngroups: hr\n---\n", rights.NOBODY),
        ("---\ngroups: hr\n", rights.NOBODY),
        ('+++\ntitle = "Pay"\ngroups = ["hr", "board"]\n+++\n', (frozenset({"hr", "board"}),)),
        ("+++\ngroups = hr\n+++\n", rights.NOBODY),
        ('"groups ": hr\n', None),
        ('---\n"groups ": hr\n---\n', (frozenset({"hr"}),)),
    ],
)
def test_front_matter_says_who_may_read_and_closes_the_page_where_it_is_wrong(
    text: str, groups: rights.Groups | None
) -> None:
    found, problem = front_groups(text)
    assert found == groups
    assert bool(problem) == (groups == rights.NOBODY and "[]" not in text)


def test_groups_count_in_every_front_matter_that_mkdocs_hides() -> None:
    text = "title: Pay\ngroups: hr\n\n# Pay\n"
    assert front_groups(text, by_mkdocs=True) == ((frozenset({"hr"}),), "")
    assert front_groups(text) == (None, "")  # elsewhere it is text that everybody sees


@pytest.mark.parametrize(
    "toml", ["[" * 5_000, "1\n" + ".".join("a" * 40_000) + " = 1"], ids=["deep", "long"]
)
def test_toml_that_python_cannot_read_closes_the_page(toml: str) -> None:
    found, problem = front_groups(f"+++\ngroups = {toml}\n+++\n# Pay\n")
    assert found == rights.NOBODY
    assert "not valid YAML or short TOML" in problem


def test_a_sync_stores_groups_and_says_whose_have_changed(tmp_path: Path) -> None:
    wiki, file = tmp_path / "wiki", tmp_path / "index.db"
    wiki.mkdir()
    (wiki / "pay.md").write_text("---\ngroups: hr\n---\n# Pay\n\nA word.\n")
    (wiki / "tea.md").write_text("# Tea\n\nA word.\n")

    def run() -> Synced:
        source = Apart(str(wiki), "preview", "http://wiki/")
        return sync(source, lambda: writing(file), spec={})

    run()
    with writing(file) as writer:
        assert writer.groups(str(wiki)) == {"pay.md": (frozenset({"hr"}),), "tea.md": None}
    (wiki / "pay.md").write_text("---\ngroups: board\n---\n# Pay\n\nA word.\n")
    again = run()
    assert again.regrouped == ("pay.md",)
    assert again.is_different
    with writing(file) as writer:
        assert writer.groups(str(wiki))["pay.md"] == (frozenset({"board"}),)
    # Who closes a page in the edit that breaks it has closed the text of before, too.
    (wiki / "tea.md").write_bytes(b"---\ngroups: hr\n---\n# Tea\n\nA w\xf6rd.\n")
    broken = run()
    assert (broken.regrouped, [page.path for page in broken.broken]) == (("tea.md",), ["tea.md"])
    with writing(file) as writer:
        assert writer.groups(str(wiki))["tea.md"] == (frozenset({"hr"}),)


def test_whoever_serves_people_has_no_way_to_a_page_but_as_a_reader() -> None:
    """A new door is found here: it opens the index itself, or reads all of it."""
    root = Path(__file__).resolve().parents[2]
    opens = re.compile(r"(?<![\w.])Index\(|\bEVERYTHING\b")
    found = {
        str(path.relative_to(root)): len(opens.findall(path.read_text(encoding="utf-8")))
        for package in ("gateway", "widget")
        for path in (root / package).rglob("*.py")
        if package == "widget" or path.relative_to(root).parts[1] != "search"
    }
    allowed = {
        "wiki/rights.py": 1,
        "gateway/runtime/container.py": 0,  # gives the class to a thread, the outcome to a library
        "widget/box/examples.py": 1,  # and reads it as PUBLIC
        "widget/review/wiki.py": 3,  # as the reviewer; to count, all
        "widget/review/access.py": 2,  # the one person at the machine
    }
    assert {path: count for path, count in found.items() if count > allowed.get(path, 0)} == {}


HALF = "---\ngroups: everybody\n---\n"


@pytest.mark.parametrize(
    ("kind", "line"),
    [("mkdocs", '--8<-- "{}"'), ("vitepress", "<!--@include: ./{}-->"), ("obsidian", "![[{}]]")],
)
def test_a_page_that_includes_another_needs_the_rights_of_both(
    tmp_path: Path, kind: str, line: str
) -> None:
    root = tmp_path / "wiki"
    pages = {
        "hr/pay.md": "Pay is 98,765.",
        "own.md": "---\ngroups: board\n---\nThe merger.",
        "open.md": f"{HALF}Open.",
        "a.md": f"{HALF}{line.format('hr/pay.md')}\n\nText",
        "b.md": f"{HALF}{line.format('own.md')}\n\nText",
        "c.md": f"{HALF}{line.format('a.md')}\n\nText",
        "d.md": f"{HALF}{line.format('open.md')}\n\nText",
        "e.md": f"---\ngroups: eng\n---\n{line.format('hr/pay.md')}\n\nText",
    }
    for path, text in pages.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    file = tmp_path / "index.db"

    def groups(rules: Rules) -> dict[str, rights.Groups]:
        sync(Apart(str(root), kind, "https://w.example/"), lambda: writing(file), spec={})
        index = Index(file)
        try:
            view = Rights(index, rules)
            found = [index.by_path(path) for path in pages]
            return {page.path: view.readers(page) for page in found if page}
        finally:
            index.close()

    hr, board = frozenset({"hr"}), frozenset({"board"})
    rules = Rules({"pay": Rule(path="hr/", groups=("hr",))})
    expected: dict[str, rights.Groups] = {
        "hr/pay.md": (hr,),
        "own.md": (board,),
        "open.md": (),
        "a.md": (hr,),
        "b.md": (board,),
        "c.md": (hr,),
        "d.md": (),
        "e.md": (frozenset({"eng"}), hr),
    }
    assert groups(rules) == expected
    eng = (frozenset({"eng"}),)
    without = {"hr/pay.md": rights.NOBODY, "a.md": (), "c.md": (), "e.md": eng}
    assert groups(Rules({})) == {**expected, **without}
    (root / "e.md").write_bytes(b"---\ngroups: board\n---\n\xff")  # its earlier text stays
    assert groups(rules)["e.md"] == (board, frozenset({"eng"}), hr)
    (root / "hr/pay.md").write_text("---\ngroups: board\n---\nPay is 98,765.")
    assert groups(rules)["a.md"] == (board, hr)
