"""A folder of HTML as a source: which files are pages, at which addresses, and what is new."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.sources.conftest import SITE, unlisted
from tests.sources.exports import CONFLUENCE, MEDIAWIKI, mediawiki
from wiki.pages.page import Page
from wiki.sources import export
from wiki.sources.export import HtmlFolder
from wiki.sources.folder import Folder
from wiki.sources.open import open_source
from wiki.sources.source import Broken, Changed, LeftOut, Unchanged

Write = Callable[[Mapping[str, str]], Path]


def pages(root: Path, site_url: str = SITE) -> dict[str, Page]:
    found = list(HtmlFolder(root, site_url).read({}))
    assert not [one for one in found if isinstance(one, Broken)]
    return {one.page.path: one.page for one in found if isinstance(one, Changed)}


def stamps(root: Path) -> dict[str, str]:
    found = HtmlFolder(root, SITE).read({})
    return {one.page.path: one.stamp for one in found if isinstance(one, Changed)}


def page(title: str, text: str = "Text.", head: str = "") -> str:
    return f"<title>{title} | Docs</title>{head}<main><h1>{title}</h1><p>{text}</p></main>"


def test_a_space_of_confluence_is_read_without_its_tree_of_pages(write: Write) -> None:
    found = pages(write(CONFLUENCE))
    assert {path: (page.title, page.url) for path, page in found.items()} == {
        "Setup_10001.html": ("Setup", SITE + "Setup_10001.html"),
        "People-&-Teams_10002.html": ("People & Teams", SITE + "People-%26-Teams_10002.html"),
        "attachments/10001/notes.txt": ("Notes", SITE + "attachments/10001/notes.txt"),
    }
    text = found["Setup_10001.html"].text
    assert "[people](People-%26-Teams_10002.html)" in text
    assert "[help](People-%26-Teams_10002.html#id-People&Teams-Help)" in text


def test_an_export_of_confluence_leads_into_confluence_itself(write: Write) -> None:
    found = pages(write(CONFLUENCE), SITE + "pages/viewpage.action?pageId=")
    page = found["Setup_10001.html"]
    assert page.url == SITE + "pages/viewpage.action?pageId=10001"
    assert page.section_url(page.sections[1]) == page.url + "#Setup-Accounts"
    assert f"[people]({SITE}pages/viewpage.action?pageId=10002)" in page.text.replace(
        "(viewpage", f"({SITE}pages/viewpage"
    )


def test_a_dump_of_mediawiki_is_read_without_special_pages_and_redirects(write: Write) -> None:
    found = pages(write(MEDIAWIKI))
    assert {path: page.title for path, page in found.items()} == {
        "Main_Page.html": "Main Page",
        "Pump.html": "Pump",
    }


def test_a_special_page_is_reported_by_itself_and_not_by_a_word_in_its_name(write: Write) -> None:
    special = mediawiki("Suche", "<p>Find.</p>").replace("mediawiki ltr", "mediawiki ns-special")
    named = dict.fromkeys(("special_remotes.html", "special_offers/spring.html"), page("Special"))
    root = write({"Spezial_Suche.html": special, "Special_Search.html": special, **named})
    assert list(pages(root)) == ["special_offers/spring.html", "special_remotes.html"]


def test_what_is_left_out_is_reported_with_the_reason(write: Write) -> None:
    canonical = f'<link rel=canonical href="{SITE}b.html">'
    left_out = {
        "404.html": "page to search, to print or of an error",
        "Special:Search.html": "special page of MediaWiki",
        "_modules/x.html": "in _modules",
        "a.html": "copy of another page",
        "chapter.html": "no text",
        "empty.html": "no text",
        "no.html": "marked noindex",
        "old.html": "leads to another page",
        "b.rst": "copy of another page",
        "old.ppt": "old presentation: save it as PPTX",
        "readme.md": "Markdown in a folder of HTML: sync a folder of Markdown alone",
    }
    root = write(
        {
            **dict.fromkeys(left_out, page("X")),
            "_sources/b.rst": "B",
            "a.html": page("B", head=canonical),
            "b.html": page("B", head=canonical),
            "chapter.html": "<main><h1>Pumps</h1><nav><a href=b.html>B</a></nav></main>",
            "empty.html": "<main></main>",
            "no.html": page("No", head="<meta name=robots content=noindex>"),
            "old.html": '<meta http-equiv=refresh content="0;url=b.html">',
            "style.css": "",
        }
    )
    found = list(HtmlFolder(root, SITE).read({}))
    assert {one.path: one.why for one in found if isinstance(one, LeftOut)} == left_out
    assert len(found) == len(left_out) + 1


def test_the_list_of_confluences_pages_is_left_out_with_the_reason(write: Write) -> None:
    found = HtmlFolder(write(CONFLUENCE), SITE).read({})
    assert [one for one in found if isinstance(one, LeftOut)] == [
        LeftOut("index.html", "list of Confluence's pages"),
    ]


def test_canonical_addresses_win_on_the_sites_host_and_links_lead_to_them(write: Write) -> None:
    root = write(
        {
            "A.html": mediawiki("A", '<p><a href="B.html#x">b</a></p>', SITE + "wiki/A"),
            "B.html": mediawiki("B", '<h2 id="x">X</h2><p>x</p>', SITE + "wiki/B"),
            "C.html": mediawiki("C", "<p>c</p>", "https://elsewhere.example/C"),
        }
    )
    found = pages(root, SITE + "static/")
    assert [page.url for page in found.values()] == [
        SITE + "wiki/A",
        SITE + "wiki/B",
        SITE + "static/C.html",
    ]
    assert found["A.html"].text == "[b](B#x)"


def test_copies_under_a_second_name_are_left_out(write: Write) -> None:
    canonical = f'<link rel=canonical href="{SITE}b.html">'
    root = write({"a.html": page("B", head=canonical), "b.html": page("B", head=canonical)})
    assert list(pages(root)) == ["b.html"]


def test_a_canonical_address_that_every_page_names_is_a_mistake(write: Write) -> None:
    canonical = f'<link rel=canonical href="{SITE}">'
    root = write(
        {
            "a.html": page("A", head=canonical),
            "b.html": page("B", head=canonical),
            "index.html": page("Home", head=canonical),
        }
    )
    assert {path: page.url for path, page in pages(root).items()} == {
        "a.html": SITE + "a.html",
        "b.html": SITE + "b.html",
        "index.html": SITE,
    }


def test_addresses_are_the_ones_that_a_static_server_gives(write: Write) -> None:
    link = '<a href="../guide/index.html">g</a> <a href="../guide/">h</a>'
    root = write(
        {
            "index.html": page("Home"),
            "guide/index.html": page("Guide"),
            "guide/set up.html": page("Set up", link),
            "old/page.htm": page("Old"),
        }
    )
    found = pages(root, SITE + "docs")
    assert {path: page.url for path, page in found.items()} == {
        "guide/index.html": SITE + "docs/guide/",
        "guide/set up.html": SITE + "docs/guide/set%20up.html",
        "index.html": SITE + "docs/",
        "old/page.htm": SITE + "docs/old/page.htm",
    }
    assert found["guide/set up.html"].text == "# Set up\n\n[g](./) [h](./)"


@pytest.mark.parametrize(
    "path",
    ["404.html", "search.html", "search/index.html", "genindex.html", "_modules/a.html",
     ".hidden/a.html", "_static/a.html", "Special~Search.html", "x/Special:All.html", "robots.txt"],
)  # fmt: skip
def test_what_is_no_page_of_the_wiki_is_left_out(write: Write, path: str) -> None:
    assert list(pages(write({path: page("No"), "yes.html": page("Yes")}))) == ["yes.html"]


@pytest.mark.parametrize("name", ["robots", "askdocs"])
def test_a_page_that_asks_for_it_is_left_out(write: Write, name: str) -> None:
    head = f'<meta name="{name}" content="NOINDEX, follow">'
    assert list(pages(write({"a.html": page("A", head=head), "b.html": page("B")}))) == ["b.html"]


def test_a_page_that_is_as_it_was_is_not_read_again(write: Write) -> None:
    root = write({"a.html": page("A"), "b.html": page("B"), "c.html": page("C")})
    known = stamps(root)
    os.utime(root / "a.html", (0, 0))
    (root / "b.html").write_text(page("B", "New."))
    (root / "c.html").unlink()
    (root / "d.html").write_text(page("D"))
    found = list(HtmlFolder(root, SITE).read(known))
    assert found[0] == Unchanged("a.html")
    assert [one.page.path for one in found if isinstance(one, Changed)] == ["b.html", "d.html"]
    assert len(found) == 3


def test_another_address_of_the_site_reads_all_again(write: Write) -> None:
    root = write({"a.html": page("A")})
    (found,) = HtmlFolder(root, SITE + "new/").read(stamps(root))
    assert isinstance(found, Changed)
    assert found.page.url == SITE + "new/a.html"


def test_a_broken_page_is_reported_and_the_others_are_read(write: Write) -> None:
    root = write({"a.html": page("A"), "deep.html": "<div>" * 6000, "frames.html": "<frameset>"})
    (root / "large.html").write_bytes(b"x" * (export.LARGEST + 1))
    (root / "z.html").write_bytes(page("Größe").encode("latin-1"))
    found = list(HtmlFolder(root, SITE).read({}))
    assert {one.path: one.why for one in found if isinstance(one, Broken)} == {
        "large.html": "larger than 16 MiB",
        "deep.html": "its elements are nested more than 5,000 levels deep",
        "frames.html": "no body: it is a frameset, or not HTML",
    }
    assert [one.page.title for one in found if isinstance(one, Changed)] == ["A", "Größe"]


def test_pages_of_a_folder_that_cannot_be_listed_are_not_gone(write: Write) -> None:
    root = write({"a/b.html": page("B"), "c.html": page("C"), "d.html": page("D")})
    known = stamps(root)
    with unlisted(root / "a"):
        found = list(HtmlFolder(root, SITE).read(known))
    assert {one.path for one in found if isinstance(one, Broken)} == {"a", "a/b.html"}


def test_a_folder_that_is_not_there_or_has_no_page_is_an_error(write: Write) -> None:
    with pytest.raises(AskdocsError, match=r"nowhere does not exist: name the folder"):
        list(HtmlFolder(write({}) / "nowhere", SITE).read({}))
    with pytest.raises(AskdocsError, match=r"a\.html is a file"):
        list(HtmlFolder(write({"a.html": "x"}) / "a.html", SITE).read({}))
    root = write({"b/404.html": "x"})
    with pytest.raises(AskdocsError, match=r"has no HTML page \(\*\.html"):
        list(HtmlFolder(root / "b", SITE).read({}))


def test_a_folder_is_opened_as_what_most_of_its_pages_are(write: Write, tmp_path: Path) -> None:
    root = write({"a.html": "x", "b/c.html": "x", "README.md": "x"})
    assert isinstance(open_source(str(root), None, SITE), HtmlFolder)
    assert isinstance(open_source(str(root), "mkdocs", SITE), Folder)
    write({"d.md": "x", "e.md": "x"})
    assert isinstance(open_source(str(root), None, SITE), Folder)
    assert isinstance(open_source(str(root), "html", SITE), HtmlFolder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.png").write_text("x")
    with pytest.raises(AskdocsError, match=r"other has no page .* and no document"):
        open_source(str(tmp_path / "other"), None, SITE)
    (tmp_path / "other/b.adoc").write_text("x")
    assert isinstance(open_source(str(tmp_path / "other"), None, SITE), Folder)
