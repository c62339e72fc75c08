"""A folder as a source: what is read again, and what cannot be read."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AskdocsError
from tests.counting import calls
from tests.sources.conftest import SITE, Write, broken, pages, unlisted
from wiki.sources import mdx
from wiki.sources.detect import detect
from wiki.sources.docusaurus import Docusaurus
from wiki.sources.docusaurus_config import DocusaurusConfig
from wiki.sources.flavour import Flavour, Generator
from wiki.sources.folder import Folder
from wiki.sources.gitbook import GitBook
from wiki.sources.gitbook_config import GitBookConfig
from wiki.sources.mkdocs import MkDocs
from wiki.sources.mkdocs_config import default
from wiki.sources.obsidian import Obsidian
from wiki.sources.source import Broken, Changed, LeftOut, Source, Unchanged
from wiki.sources.trail import Trail
from wiki.sources.tree import LARGEST, Tree, decode

KINDS: tuple[Generator, ...] = get_args(Generator)


def read(source: Source, known: Mapping[str, str] | None = None) -> tuple[dict[str, str], set[str]]:
    """The stamps of the pages that were parsed, and the paths of those that were not."""
    found = list(source.read(known or {}))
    return (
        {one.page.path: one.stamp for one in found if isinstance(one, Changed)},
        {one.path for one in found if isinstance(one, Unchanged)},
    )


def test_a_folder_is_named_by_where_it_is(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write({"a.md": "text"})
    monkeypatch.chdir(root.parent)
    assert Folder(Path("wiki"), SITE).name == str(root)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_is_as_it_was_is_not_read_again(write: Write, kind: Generator) -> None:
    root = write({"a.md": "# A\n\n[b](b.md)", "b.md": "# B"})
    stamps, _ = read(Folder(root, SITE, kind))
    assert read(Folder(root, SITE, kind), stamps) == ({}, {"a.md", "b.md"})
    (root / "b.md").write_text("# B\n\nmore")
    assert list(read(Folder(root, SITE, kind), stamps)[0]) == ["b.md"]
    os.utime(root / "a.md", (1, 1))
    assert "a.md" in read(Folder(root, SITE, kind), stamps)[1]


@pytest.mark.parametrize(
    ("kind", "text", "included"),
    [
        ("mkdocs", '--8<-- "part.txt"', "part.txt"),
        ("docusaurus", "import P from './_part.mdx'\n\n<P />", "_part.mdx"),
        ("gitbook", '{% include ".gitbook/part.md" %}', ".gitbook/part.md"),
        ("obsidian", "![[part]]", "part.md"),
    ],
)
def test_a_page_is_read_again_when_what_it_includes_changes_comes_or_goes(
    write: Write, kind: Generator, text: str, included: str
) -> None:
    root = write({"a.md": f"before\n\n{text}", "z.md": "other", included: "part"})
    stamps, _ = read(Folder(root, SITE, kind))
    assert "a.md" in read(Folder(root, SITE, kind), stamps)[1]
    (root / included).write_text("changed")
    changed, unchanged = read(Folder(root, SITE, kind), stamps)
    assert "a.md" in changed
    assert "z.md" in unchanged
    (root / included).unlink()
    without, _ = read(Folder(root, SITE, kind), changed)
    assert "a.md" in without
    (root / included).write_text("part")
    again, _ = read(Folder(root, SITE, kind), stamps | without)
    assert again["a.md"] == stamps["a.md"]


@pytest.mark.parametrize(
    ("kind", "link", "move"),
    [
        ("mkdocs", "[b](b.md)", ""),
        ("docusaurus", "[b](b.md)", "---\nslug: /else\n---\n"),
        ("gitbook", "[b](b.md)", ""),
        ("obsidian", "[[b]]", "---\npermalink: else\n---\n"),
    ],
)
def test_a_page_is_read_again_when_a_page_that_it_links_to_moves(
    write: Write, kind: Generator, link: str, move: str
) -> None:
    root = write({"a.md": f"see {link}", "b.md": "text", "c.md": "other"})
    stamps, _ = read(Folder(root, SITE, kind))
    if move:
        (root / "b.md").write_text(move + "text")
        assert set(read(Folder(root, SITE, kind), stamps)[0]) == {"a.md", "b.md"}
    (root / "b.md").unlink()
    gone, unchanged = read(Folder(root, SITE, kind), stamps)
    assert set(gone) == {"a.md"}
    assert unchanged == {"c.md"}
    assert link in pages(root, kind)["a.md"].text


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mkdocs.yml", "nav: [A: a.md, B: b.md]", "nav: [Apples: a.md, B: b.md]"),
        ("SUMMARY.md", "* [A](a.md)\n* [B](b.md)", "* [Apples](a.md)\n* [B](b.md)"),
    ],
)
def test_a_page_is_read_again_when_the_table_of_contents_calls_it_another_name(
    write: Write, file: str, old: str, new: str
) -> None:
    folder = "docs/" if file == "mkdocs.yml" else ""
    root = write({file: old, f"{folder}a.md": "text", f"{folder}b.md": "text"})
    stamps, _ = read(Folder(root, SITE))
    (root / file).write_text(new)
    assert read(Folder(root, SITE), stamps)[1] == {"b.md"}
    assert pages(root)["a.md"].title == "Apples"


def test_all_pages_are_read_again_at_another_address_or_with_other_extensions(
    write: Write,
) -> None:
    root = write({"mkdocs.yml": "site_name: x", "docs/a.md": "text"})
    stamps, _ = read(Folder(root, SITE))
    assert read(Folder(root, SITE), stamps)[1] == {"a.md"}
    assert read(Folder(root, "https://else.example"), stamps)[1] == set()
    (root / "mkdocs.yml").write_text("site_name: y\nnav: []")
    assert read(Folder(root, SITE), stamps)[1] == {"a.md"}
    (root / "mkdocs.yml").write_text("markdown_extensions: [toc: {separator: _}]")
    assert read(Folder(root, SITE), stamps)[1] == set()


@pytest.mark.parametrize(
    "stamp", ["", "x", "0" * 32, "0" * 32 + "{", "0" * 32 + '[["../x"], ["y"]]']
)
def test_a_stamp_of_something_else_does_not_hold(write: Write, stamp: str) -> None:
    assert read(Folder(write({"a.md": "text"}), SITE), {"a.md": stamp})[1] == set()


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_broken_and_the_rest_is_read(write: Write, kind: Generator) -> None:
    root = write({"good.md": "text", "latin.md": "", "log.md": "", "empty.md": " \n"})
    (root / "latin.md").write_bytes("# Sizes\n\nGröße".encode("latin-1"))
    (root / "log.md").write_bytes(b"x" * (LARGEST + 1))
    assert list(read(Folder(root, SITE, kind))[0]) == ["good.md"]
    why = dict(broken(root, kind))
    assert set(why) == {"latin.md", "log.md"}
    assert why["latin.md"] == "not UTF-8: line 3 has the byte 0xf6; save the file as UTF-8"
    assert why["log.md"] == "larger than 4 MiB"


def test_pages_of_a_folder_that_cannot_be_listed_are_not_gone(write: Write) -> None:
    root = write({"a/b.md": "text", "c.md": "text"})
    stamps, _ = read(Folder(root, SITE))
    with unlisted(root / "a"):
        found = list(Folder(root, SITE).read(stamps))
    assert {one.path for one in found if isinstance(one, Broken)} == {"a", "a/b.md"}


def test_pages_of_a_folder_that_vanished_while_it_was_read_are_not_gone(write: Write) -> None:
    tree = Tree(write({"a/b.md": "text"}))
    shutil.rmtree(tree.root)
    assert not tree.files
    assert [one.path for one in tree.unlisted(["a/b.md"])] == ["", "a/b.md"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_pages_is_an_error(write: Write, kind: Generator) -> None:
    with pytest.raises(AskdocsError, match="no Markdown page"):
        list(Folder(write({"a.png": "x"}), SITE, kind).read({}))


def test_what_is_left_out_is_reported_with_the_reason(write: Write) -> None:
    root = write({"mkdocs.yml": "exclude_docs: /in/draft.md", "docs/in/a.md": "text"})
    write({"docs/in/draft.md": "x", "docs/in/empty.md": "", "docs/in/b.odt": "x", "docs/c.rst": ""})
    found = Folder(root / "docs" / "in", SITE).read({})
    assert [one for one in found if isinstance(one, LeftOut)] == [
        LeftOut("in/draft.md", "not published"),
        LeftOut("in/empty.md", "no text"),
        LeftOut("in/b.odt", "OpenDocument text: save it as DOCX"),
    ]


def test_folders_of_packages_and_hidden_ones_are_left_out(write: Write) -> None:
    hidden = ("node_modules/x/README.md", ".git/a.md", "b/.hidden/c.md", "b/node_modules/d.md")
    root = write({"a.md": "text", "b/c.md": "text", **dict.fromkeys(hidden, "text")})
    assert set(pages(root)) == {"a.md", "b/c.md"}


def test_links_between_folders_lead_in_no_circle(write: Write) -> None:
    root = write({"a/b.md": "text"})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "loop").symlink_to("loop")
    (root / "a" / "loop.md").symlink_to("loop.md")
    other = root / ".other"
    other.mkdir()
    (other / "c.md").write_text("text")
    (other / "back").symlink_to(root)
    (root / "linked").symlink_to(other)
    assert set(pages(root)) == {"a/b.md", "linked/c.md"}


def test_a_name_that_is_not_utf8_is_left_out(write: Write) -> None:
    root = write({"a.md": "text"})
    with open(os.fsencode(root) + b"/b\xff.md", "w") as file:
        file.write("text")
    assert set(pages(root)) == {"a.md"}


@pytest.mark.parametrize(
    ("files", "within", "kind", "content"),
    [
        (["mkdocs.yml", "docs/a.md"], ".", "mkdocs", "docs"),
        (["mkdocs.yml", "docs/a.md"], "docs", "mkdocs", "docs"),
        (["mkdocs.yaml", "docs/b/a.md"], "docs/b", "mkdocs", "docs"),
        (["mkdocs.yml", "docs/SUMMARY.md", "docs/.obsidian/x"], "docs", "mkdocs", "docs"),
        (["mkdocs.yml", "other/SUMMARY.md"], "other", "gitbook", "other"),
        (["docusaurus.config.js", "docs/a.md"], "docs", "docusaurus", "docs"),
        (["site/docusaurus.config.ts", "site/docs/.obsidian/x"], "site", "docusaurus", "site/docs"),
        ([".gitbook.yaml", "a.md", ".obsidian/x"], ".", "gitbook", "."),
        (["book/SUMMARY.md"], "book", "gitbook", "book"),
        (["docs/.vitepress/config.mts", "docs/a/b.md"], "docs", "vitepress", "docs"),
        (["docs/.vitepress/config.mts", "docs/a/b.md"], "docs/a", "vitepress", "docs"),
        ([".vitepress/config/index.ts", ".obsidian/x"], ".", "vitepress", "."),
        (["vault/.obsidian/x", "vault/SUMMARY.md"], "vault", "obsidian", "vault"),
        (["vault/.obsidian/x", "vault/a/b/c.md"], "vault/a/b", "obsidian", "vault"),
        (["vault/.obsidian/x", "vault/a/b/c/d.md"], "vault/a/b/c", "mkdocs", "vault/a/b/c"),
        (["a.md"], ".", "mkdocs", "."),
    ],
)
def test_the_generator_is_reported_from_the_folder(
    write: Write, files: list[str], within: str, kind: Generator, content: str
) -> None:
    root = write(dict.fromkeys(files, ""))
    found = detect(root / within)
    assert (found.kind, found.content) == (kind, root / content)


def test_the_kind_that_is_said_wins(write: Write) -> None:
    root = write({".obsidian/x": "", "My note.md": "see [[Other]]", "Other.md": "text"})
    assert pages(root)["My note.md"].url == f"{SITE}My+note"
    assert pages(root, "mkdocs")["My note.md"].url == f"{SITE}My%20note/"


def test_of_a_folder_in_a_project_only_its_own_pages_are_read(write: Write) -> None:
    root = write({"mkdocs.yml": "", "docs/a.md": "x", "docs/b/c.md": "[up](../a.md)"})
    (root / "mkdocs.yml").write_text("site_url: https://own.example/kb/")
    read_pages = pages(root / "docs" / "b", None, "")
    assert {path: page.url for path, page in read_pages.items()} == {
        "b/c.md": "https://own.example/kb/b/c/"
    }
    assert read_pages["b/c.md"].text == "[up](../../a/)"


def test_a_preview_is_mkdocs_whatever_the_folder_is_for(write: Write) -> None:
    root = write({"mkdocs.yml": "use_directory_urls: false", ".obsidian/x": "", "a.md": "x"})
    (one,) = Folder.preview(root, SITE).read({})
    assert isinstance(one, Changed)
    assert one.page.url == f"{SITE}a/"


def test_an_untouched_folder_of_many_pages_is_checked_quickly(write: Write) -> None:
    text = "".join(f"Line {n} of it.\n\n" for n in range(100))
    root = write({f"{n % 20}/{n}.md": f"# {n}\n\n[next]({n + 20}.md)\n\n{text}" for n in range(99)})
    folder = Folder(root, SITE, "mkdocs")
    stamps, _ = read(folder)
    assert len(read(folder, stamps)[1]) == 99
    # 10,000 pages take some 4 s on two cores.
    assert calls(lambda: read(folder, stamps)) * 10 < calls(lambda: read(folder))


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("---", "title: x", "# A", "## A {#b}", "```", "~~~", "<!--", "-->", "{/*", "*/}"),
                *("import X from './_x.mdx'", "<X />", "export const a = {", "}", "<Tabs>", "</a>"),
                *(":::note T", ":::", "{% hint %}", '{% include "x.md" %}', "{% tab %}", "%%"),
                *(
                    "[[A]]",
                    "![[B#c|d]]",
                    "![[x^y]]",
                    "> [!note]",
                    "^id",
                    "[a]: b.md",
                    "[a](b c.md)",
                ),
                *('--8<-- "x"', "--8<--", "!!! a", "    # B", "- # C", "<details>", "<h2 id='x'>y"),
                *(
                    "aliases: [a]",
                    "slug: ../..",
                    "id: a/b",
                    "\x00",
                    "[c](http://[",
                    "| a |",
                    "|--|",
                ),
            ]
        ),
        st.text(max_size=15),
    ),
    max_size=12,
)


@given(LINES)
def test_no_text_stops_any_kind(lines: list[str]) -> None:
    text = decode("\n".join(lines).encode(errors="replace"))
    for flavour in _flavours():
        trail = Trail("a.md", "", text.encode(), _nothing, lambda target: target + "!")
        page = flavour.page("a.md", text, trail)
        assert trail.stamp() == trail.stamp()
        assert "\0" not in page.text
        again = Trail("a.md", "", text.encode(), _nothing, lambda target: target + "!")
        assert again.holds(trail.stamp())
        for section in page.sections:
            assert section.text == section.text.strip()


def _nothing(name: str) -> str:
    raise FileNotFoundError(name)


def _flavours() -> list[Flavour]:
    if not _MADE:
        folder = Path(__file__).parent / "nowhere"
        tree = Tree(folder)
        tree.files = frozenset({"a.md", "b.md"})
        _MADE.extend(
            [
                MkDocs(tree, default(folder), SITE),
                Docusaurus(tree, DocusaurusConfig(), SITE, folder),
                GitBook(tree, GitBookConfig(folder), SITE),
                Obsidian(tree, SITE),
            ]
        )
    return _MADE


_MADE: list[Flavour] = []


def test_the_deepest_partials_end() -> None:
    texts = {f"_{n}.mdx": f"import N from './_{n + 1}.mdx'\n\n<N />\n\n## {n}" for n in range(99)}
    trail = Trail("a.mdx", "", b"", lambda name: texts[name], str)
    lines, headings = mdx.read("a.mdx", texts["_0.mdx"], trail, "docs")
    assert len(headings) == 21
    assert len(lines) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_shown_where_its_front_matter_says(write: Write, kind: Generator) -> None:
    own = "https://elsewhere.example/a"
    root = write(
        {
            "a.md": f"---\nurl: {own}\n---\n# A\n\nText",
            "b.md": "---\nurl: /b\n---\n# B\n\nText",
            "c.md": "# C\n\nText, url: none",
        }
    )
    found = {path: page.url for path, page in pages(root, kind).items()}
    assert found["a.md"] == own
    assert found["b.md"].startswith(SITE)
    assert found["c.md"].startswith(SITE)
    write({"a.md": "---\nurl: https://[/a\n---\n# A\n\nText"})
    assert pages(root, kind)["a.md"].url.startswith(SITE)


def test_no_page_takes_the_address_of_another(write: Write) -> None:
    taken = f"{SITE}%68r/pay/"
    root = write({"a.md": f"---\nurl: {taken}\n---\n# A\n\nText", "hr/pay.md": "# Pay\n\nText"})
    assert {page.url for page in pages(root, "mkdocs").values()} == {f"{SITE}a/", f"{SITE}hr/pay/"}
