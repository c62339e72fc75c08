"""What a wiki names of files outside its folder is not read: settings, links, includes."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from core.errors import AskdocsError
from tests.sources.conftest import SITE, Write
from wiki.sources.export import HtmlFolder
from wiki.sources.flavour import Generator
from wiki.sources.folder import Folder
from wiki.sources.source import Broken, Changed, LeftOut
from wiki.sources.within import Bounds, Outside

SECRET = "the password is tomato"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.md").write_text(SECRET)
    (folder / "secret.html").write_text(f"<main><h1>Secret</h1><p>{SECRET}</p></main>")
    return folder


def read(root: Path, kind: Generator | None = None) -> tuple[str, list[str]]:
    """What is read of a folder: all texts, and what is said of what is not."""
    texts, said = [], []
    for one in Folder(root, SITE, kind).read({}):
        match one:
            case Changed(page):
                texts.append(page.text)
            case Broken(path, why) | LeftOut(path, why):
                said.append(f"{path}: {why}")
    return "\n".join(texts), said


_SNIPPETS = "markdown_extensions:\n  - pymdownx.snippets:\n      base_path: {}\n"


@pytest.mark.parametrize("base", ["/", "..", "../outside", "docs", "[docs, /]"])
@pytest.mark.parametrize("name", ["secret.md", "../../outside/secret.md", "{outside}/secret.md"])
def test_snippets_do_not_leave_the_folder(
    write: Write, outside: Path, base: str, name: str
) -> None:
    name = name.format(outside=str(outside).lstrip("/"))
    page = f'A text.\n\n--8<-- "{name}"\n'
    root = write({"mkdocs.yml": _SNIPPETS.format(base), "docs/a.md": page})
    text, said = read(root)
    assert text == "A text."
    assert [line for line in said if line.startswith(f"a.md:3: the snippet {name}")]


def test_a_snippet_that_lies_outside_is_named_with_the_reason(write: Write, outside: Path) -> None:
    page = '--8<-- "outside/secret.md"\n\nText'
    root = write({"mkdocs.yml": _SNIPPETS.format(".."), "docs/a.md": page})
    _, said = read(root)
    what = f"the snippet outside/secret.md is outside of {root}, and is left out"
    assert said == [f"a.md:1: {what}"]


_ELSEWHERE = {
    "mkdocs": ("mkdocs.yml", "docs_dir: {}"),
    "docusaurus": ("docusaurus.config.js", "module.exports = {{ docs: {{ path: '{}' }} }}"),
    "vitepress": (".vitepress/config.ts", "export default {{ srcDir: '{}' }}"),
}


@pytest.mark.parametrize("place", ["{outside}", "../outside", "linked", "../..", "/"])
@pytest.mark.parametrize("kind", _ELSEWHERE)
def test_settings_cannot_say_that_the_pages_are_elsewhere(
    write: Write, outside: Path, kind: Generator, place: str
) -> None:
    file, settings = _ELSEWHERE[kind]
    root = write({file: settings.format(place.format(outside=outside)), "a.md": "Text"})
    (root / "linked").symlink_to(outside)
    text = ""
    with suppress(AskdocsError):  # it says that the pages are outside, or not there
        text, _ = read(root)
    assert SECRET not in text


def test_a_gitbooks_root_that_is_a_link_is_refused(write: Write, outside: Path) -> None:
    root = write({".gitbook.yaml": "root: ./linked\n"})
    (root / "linked").symlink_to(outside)
    with pytest.raises(AskdocsError, match=r"outside of .*: name a folder that holds both"):
        read(root)


def test_settings_inherit_from_within_only(write: Write, outside: Path) -> None:
    (outside / "base.yml").write_text("site_url: https://secret.example/\n")
    root = write({"mkdocs.yml": "INHERIT: ../outside/base.yml\n", "docs/a.md": "Text"})
    with pytest.raises(AskdocsError, match=r"inherits from .*base\.yml, outside of"):
        read(root)


@pytest.mark.parametrize("kind", ["mkdocs", "docusaurus", "gitbook", "vitepress", "obsidian"])
def test_links_that_lead_out_are_left_out_and_named(
    write: Write, outside: Path, kind: Generator
) -> None:
    embedded = "![[secret]]\n\n![[linked/secret]]\n\n![[chain]]"
    root = write({"a.md": f"A text.\n\n{embedded}", ".obsidian/app.json": "{}"})
    (root / "secret.md").symlink_to(outside / "secret.md")
    (root / "linked").symlink_to(outside)
    (root / "chain.md").symlink_to("chain2.md")
    (root / "chain2.md").symlink_to("linked/secret.md")
    (root / "inside.md").symlink_to("a.md")
    text, said = read(root, kind)
    assert SECRET not in text
    assert text.count("A text.") == 2
    for name in ("secret.md", "linked", "chain.md", "chain2.md"):
        assert f"{name}: link to a target outside {root}" in said


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("vitepress", "<!--@include: ./part.md-->"),
        ("vitepress", "<<< ./part.md"),
        ("vitepress", "<!--@include: @/linked/secret.md-->"),
        ("gitbook", '{% include "part.md" %}'),
        ("docusaurus", "import Part from './part.md'\n\n<Part />"),
        ("docusaurus", "import Part from '@site/../outside/secret.md'\n\n<Part />"),
    ],
)
def test_includes_follow_no_link_out(
    write: Write, outside: Path, kind: Generator, line: str
) -> None:
    root = write({"docs/a.md": f"A text.\n\n{line}\n"}) / "docs"
    (root / "part.md").symlink_to(outside / "secret.md")
    (root / "linked").symlink_to(outside)
    text, said = read(root, kind)
    assert SECRET not in text
    assert [one for one in said if "and is left out" in one]


def test_a_page_of_html_is_no_link_out(write: Write, outside: Path) -> None:
    root = write({"a.html": "<main><h1>A</h1><p>Text</p></main>"})
    (root / "b.html").symlink_to(outside / "secret.html")
    (root / "linked").symlink_to(outside)
    found = list(HtmlFolder(root, SITE).read({}))
    assert [one.page.path for one in found if isinstance(one, Changed)] == ["a.html"]
    assert sorted(one.path for one in found if isinstance(one, LeftOut)) == ["b.html", "linked"]


@pytest.mark.parametrize("file", [".git/config", ".env", ".askdocs/key", "docs/.git/config"])
def test_what_holds_keys_is_not_included(write: Write, file: str) -> None:
    page = f'Text.\n\n--8<-- "{file.removeprefix("docs/")}"\n'
    settings = _SNIPPETS.format("[., docs]")
    root = write({"mkdocs.yml": settings, "docs/a.md": page, file: SECRET})
    text, said = read(root)
    assert SECRET not in text
    assert "which is private, and is left out" in said[0]


def test_pages_elsewhere_in_a_folder_that_covers_both_are_read(write: Write) -> None:
    """As many projects of Docusaurus have them: `website` with the settings, and `docs`."""
    settings = "module.exports = { url: 'https://x.example', docs: { path: '../docs' } }"
    root = write({"website/docusaurus.config.js": settings, "docs/a.md": "# A\n\nText"})
    [page] = [one.page for one in Folder(root, "").read({}) if isinstance(one, Changed)]
    assert page.url == "https://x.example/docs/a"
    with pytest.raises(AskdocsError, match=rf"{root}/docs, outside of {root}/website: name a"):
        list(Folder(root / "website", "").read({}))


def test_a_link_in_the_way_to_the_named_folder_is_the_users(write: Write, tmp_path: Path) -> None:
    root = write({"docs/a.md": "Text", "parts/b.md": "part", "mkdocs.yml": _SNIPPETS.format(".")})
    (root / "docs" / "c.md").write_text('--8<-- "parts/b.md"')
    (root / "docs" / "README.md").symlink_to("../parts/b.md")
    (tmp_path / "named").symlink_to(root)
    for named in (tmp_path / "named", tmp_path / "named" / "docs"):
        assert read(named) == ("part\nText\npart", [])


@pytest.fixture
def bounds(tmp_path: Path, outside: Path) -> Bounds:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "b.txt").write_text("b")
    (root / "in").symlink_to("a/b.txt")
    (root / "folder").symlink_to("a")
    (root / "out").symlink_to(outside / "secret.md")
    (root / "far").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    return Bounds(root)


@pytest.mark.parametrize("path", ["a/b.txt", "in", "folder/b.txt", "a/../in", "./a//b.txt"])
def test_bounds_read_what_is_within(bounds: Bounds, path: str) -> None:
    assert bounds.read(bounds.folder / path, 9) == b"b"
    assert bounds.is_file(bounds.folder / path)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *[(path, Outside) for path in ("out", "far/secret.md", "../outside/secret.md", "/etc/a")],
        *[(path, OSError) for path in ("loop", "nowhere", "a/nowhere", "a/b.txt/c")],
        *[(path, ValueError) for path in ("pipe", "a", ".", "folder")],
    ],
)
def test_bounds_read_nothing_else(bounds: Bounds, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        bounds.read(bounds.folder / path, 9)
    assert not bounds.is_file(bounds.folder / path)


def test_bounds_leave_no_file_open(bounds: Bounds) -> None:
    before = len(os.listdir("/dev/fd"))
    for path in ("a/b.txt", "in", "out", "nowhere/x", "a/b.txt/c", "a", "pipe"):
        for _ in range(3):
            try:
                bounds.read(bounds.folder / path, 9)
            except (OSError, ValueError):
                continue
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("name", ["../docs/b.md", "../parts2/p.md", "../../wiki/docs/b.md"])
def test_snippets_do_not_leave_their_base_within_the_folder(write: Write, name: str) -> None:
    """The second of two barriers: the folder's own would let them in."""
    page = f'A text.\n\n--8<-- "{name}"\n'
    files = {"docs/a.md": page, "docs/b.md": SECRET, "parts/p.md": "", "parts2/p.md": SECRET}
    text, said = read(write({"mkdocs.yml": _SNIPPETS.format("parts"), **files}))
    assert text.count(SECRET) == 1  # of docs/b.md, which is a page
    assert [line for line in said if line.startswith(f"a.md:3: the snippet {name}")]
