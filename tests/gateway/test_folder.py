"""A wiki's folder: what is read, and what is said about what is not."""

from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.gateway.conftest import SITE
from wiki.sources import folder
from wiki.sources.tree import LARGEST


@pytest.fixture
def wiki(tmp_path: Path) -> Path:
    path = tmp_path / "wiki"
    path.mkdir()
    return path


def test_a_missing_folder_is_named(wiki: Path) -> None:
    with pytest.raises(AskdocsError, match=r"nowhere does not exist: name the folder"):
        folder.read(wiki / "nowhere", SITE)


def test_a_file_in_place_of_a_folder_is_called_one(wiki: Path) -> None:
    (wiki / "a.md").write_text("text")
    with pytest.raises(AskdocsError, match=r"a\.md is a file: name the folder"):
        folder.read(wiki / "a.md", SITE)


def test_a_folder_without_markdown_says_which_suffixes_count(wiki: Path) -> None:
    (wiki / "a.csv").write_text("text")
    (wiki / "folder.md").mkdir()
    with pytest.raises(AskdocsError, match=r"no Markdown page \(\*\.md, \*\.markdown\)"):
        folder.read(wiki, SITE)


def test_a_folder_of_empty_pages_says_so(wiki: Path) -> None:
    (wiki / "a.md").write_text("\n")
    with pytest.raises(AskdocsError, match="no page with text: every page is empty"):
        folder.read(wiki, SITE)


def test_hidden_folders_and_files_are_left_out(wiki: Path) -> None:
    for name in (".git/a.md", "b/.hidden/c.md", ".d.md", "e.md"):
        (wiki / name).parent.mkdir(parents=True, exist_ok=True)
        (wiki / name).write_text("text")
    assert [page.path for page in folder.read(wiki, SITE).pages] == ["e.md"]


def test_a_wiki_below_a_hidden_folder_is_read(tmp_path: Path) -> None:
    wiki = tmp_path / ".cache" / "wiki"
    wiki.mkdir(parents=True)
    (wiki / "a.md").write_text("text")
    assert len(folder.read(wiki, SITE).pages) == 1


def test_pages_come_in_the_order_of_their_paths_with_forward_slashes(wiki: Path) -> None:
    for name in ("b.md", "a/c.MARKDOWN", "a.MD"):
        (wiki / name).parent.mkdir(exist_ok=True)
        (wiki / name).write_text("text")
    pages = [page.path for page in folder.read(wiki, SITE).pages]
    assert pages == ["a/c.MARKDOWN", "a.MD", "b.md"]


def test_a_file_that_is_not_utf8_is_a_problem_and_the_others_are_read(wiki: Path) -> None:
    (wiki / "latin.md").write_bytes("# Größe".encode("latin-1"))
    (wiki / "good.md").write_text("# Good")
    reading = folder.read(wiki, SITE)
    assert [page.title for page in reading.pages] == ["Good"]
    assert len(reading.problems) == 1
    assert "latin.md: not read: " in reading.problems[0]
    assert "UTF-8" in reading.problems[0]


def test_when_no_file_can_be_read_the_error_says_why_of_the_first(wiki: Path) -> None:
    (wiki / "latin.md").write_bytes(b"\xff")
    with pytest.raises(AskdocsError, match=r"no page with text: .*latin\.md: not read"):
        folder.read(wiki, SITE)


def test_a_file_that_is_too_large_is_a_problem(wiki: Path) -> None:
    (wiki / "log.md").write_bytes(b"x" * (LARGEST + 1))
    (wiki / "good.md").write_text("# Good")
    reading = folder.read(wiki, SITE)
    assert [page.title for page in reading.pages] == ["Good"]
    assert "larger than 4 MiB" in reading.problems[0]


def test_a_link_to_nowhere_is_not_a_page(wiki: Path) -> None:
    (wiki / "gone.md").symlink_to(wiki / "nowhere.md")
    (wiki / "good.md").write_text("# Good")
    assert [page.path for page in folder.read(wiki, SITE).pages] == ["good.md"]


@pytest.mark.parametrize("front", ["title: [", "a: b: c", "\ttab: x", "- list", "just text"])
def test_broken_front_matter_does_not_stop_the_page(wiki: Path, front: str) -> None:
    (wiki / "a.md").write_text(f"---\n{front}\n---\n\n# Heading\n\ntext")
    reading = folder.read(wiki, SITE)
    assert not reading.problems
    assert "text" in reading.pages[0].text


def test_a_byte_order_mark_does_not_hide_the_first_heading(wiki: Path) -> None:
    (wiki / "a.md").write_bytes(b"\xef\xbb\xbf# Heading\r\n\r\ntext\r\n")
    (page,) = folder.read(wiki, SITE).pages
    assert page.title == "Heading"
    assert page.sections[0].body == "text"
