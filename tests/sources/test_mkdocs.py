"""What of mkdocs.yml counts, and what is done with what cannot be read."""

from pathlib import Path

import pytest

from core.errors import AskdocsError
from gateway.answering.grounding.links import absolute
from tests.sources.conftest import SITE, Write, broken, pages, places
from wiki.sources import mkdocs_config
from wiki.sources.folder import Folder


def anchors(write: Write, settings: str, text: str) -> list[str]:
    page = pages(write({"mkdocs.yml": settings, "docs/a.md": text}))["a.md"]
    return [section.anchor for section in page.sections]


@pytest.mark.parametrize(
    ("toc", "anchor"),
    [
        ("", "grosse-zahl"),
        ("separator: _", "grosse_zahl"),
        ("slugify: !!python/name:markdown.extensions.toc.slugify_unicode", "große-zahl"),
        (
            "slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: none}}",
            "Große-Zahl",
        ),
        ("permalink: '#'\n      anchorlink: true\n      toc_depth: 1", "grosse-zahl"),
        ("baselevel: 3", "grosse-zahl"),
    ],
)
def test_anchors_follow_the_settings_of_the_table_of_contents(
    write: Write, toc: str, anchor: str
) -> None:
    settings = f"markdown_extensions:\n  - toc:\n      {toc or 'permalink: true'}\n"
    text = "## Große Zahl" if "ß" in anchor else "## Grosse Zahl"
    assert anchors(write, settings, text) == [anchor]


@pytest.mark.parametrize(
    ("fences", "info", "is_code"),
    [
        ("pymdownx.superfences", 'title="a.py"', True),
        ("pymdownx.extra", 'hl_lines="1" linenums="1"', True),
        ("pymdownx.superfences", "showLineNumbers", False),
        ("pymdownx.superfences: {relaxed_headers: true}", "showLineNumbers", True),
        ("pymdownx.superfences, pymdownx.highlight: {use_pygments: false}", 'title="a.py"', False),
    ],
)
def test_what_a_fence_may_say_is_up_to_the_settings(
    write: Write, fences: str, info: str, is_code: bool
) -> None:
    settings = "markdown_extensions:\n" + "".join(f"  - {one}\n" for one in fences.split(", "))
    found = anchors(write, settings, f"```py {info}\n# A b\n```\n")
    assert found == ([""] if is_code else ["", "a-b"])


def test_where_hooks_rewrite_pages_a_fence_may_say_anything(write: Write) -> None:
    settings = (
        "hooks: [h.py]\nmarkdown_extensions: [pymdownx.superfences: {relaxed_headers: false}]"
    )
    text = "```toml example\na = 1\n```\n\n## A b\n\n```\nc\n```"
    assert anchors(write, settings, text) == ["", "a-b"]


def test_a_page_without_a_title_has_that_of_the_navigation(write: Write) -> None:
    nav = (
        "nav: [In: b.md, {Of all: [Static Files: ./c/staticfiles.md, d.md, Out: http://x.example]}]"
    )
    texts = {"b": "# Own", "c/staticfiles": "text", "d": "text"}
    files = {f"docs/{name}.md": text for name, text in texts.items()}
    read = pages(write({"mkdocs.yml": nav, **files}))
    assert {path: page.title for path, page in read.items()} == {
        "b.md": "Own",
        "c/staticfiles.md": "Static Files",
        "d.md": "D",
    }


def test_extensions_may_be_a_mapping_and_have_long_names(write: Write) -> None:
    settings = "markdown_extensions:\n  markdown.extensions.attr_list: {}\n  toc: {separator: _}"
    assert anchors(write, settings, "## A b {#own}\n\n## C d") == ["own", "c_d"]


def test_without_an_extension_its_marks_are_text(write: Write) -> None:
    assert anchors(write, "site_name: x", "## A {#own}") == ["a-own"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("markdown_extensions: [os]", "the Markdown extension 'os' is unknown"),
        ("markdown_extensions: [mdx_math]", "'mdx_math' is unknown"),
        (
            "markdown_extensions: [toc: {slugify: !!python/name:os.system }]",
            "toc: slugify names unknown code",
        ),
        ("markdown_extensions: [toc: {slugify: !ENV X}]", "toc: slugify names unknown code"),
        (
            "markdown_extensions: [toc: {slugify: !!python/object/apply:os.system [touch ran]}]",
            "toc: slugify names unknown code",
        ),
    ],
)
def test_code_is_never_run_and_what_it_would_have_given_is_reported(
    write: Write,
    settings: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = write({"mkdocs.yml": settings, "docs/a.md": "## A b"})
    monkeypatch.chdir(root)
    assert list(pages(root)) == ["a.md"]
    assert f"{root / 'mkdocs.yml'}: " in caplog.text
    assert told in caplog.text
    assert not (root / "ran").exists()


@pytest.mark.parametrize("tag", ["!!python/object:os.x {}", "!ENV [A, b]", "!relative $docs_dir"])
def test_other_tags_do_no_harm(write: Write, tag: str) -> None:
    assert anchors(write, f"extra: {tag}\nplugins: [{{x: {tag}}}]", "## A") == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "just text", "- a", "\ta: b", "a: b: c"),
        "markdown_extensions: [toc: {nonsense: 1}]",
        "markdown_extensions: [pymdownx.snippets: {nonsense: 1}]",
    ],
)
def test_a_configuration_that_cannot_be_read_is_an_error(write: Write, text: str) -> None:
    root = write({"mkdocs.yml": text, "docs/a.md": "text"})
    with pytest.raises(AskdocsError, match=r"mkdocs\.yml: .*correct it, or choose a --kind"):
        list(Folder(root, SITE).read({}))


def test_what_is_inherited_is_merged(write: Write) -> None:
    base = (
        "docs_dir: pages\nmarkdown_extensions: {toc: {separator: _}}\nsite_url: https://x.example"
    )
    root = write({"base.yml": base, "mkdocs.yml": "INHERIT: base.yml", "pages/a.md": "## A b"})
    page = pages(root, None, "")["a.md"]
    assert page.section_url(page.sections[0]) == "https://x.example/a/#a_b"


def test_a_configuration_that_inherits_itself_ends(write: Write) -> None:
    assert anchors(write, "INHERIT: mkdocs.yml\nsite_name: x", "## A") == ["a"]


def test_addresses_of_files_instead_of_folders(write: Write) -> None:
    files = {"docs/a.md": "[b](b/c.md#x) [home](README.md)", "docs/b/c.md": "## X\n\n[a](../a.md)"}
    root = write({"mkdocs.yml": "use_directory_urls: false", "docs/README.md": "x", **files})
    read = pages(root)
    assert {page.url for page in read.values()} == {
        *(f"{SITE}a.html", f"{SITE}b/c.html", f"{SITE}index.html"),
    }
    assert read["a.md"].text == "[b](b/c.html#x) [home](index.html)"
    assert absolute("[a](../a.html)", read["b/c.md"]) == f"[a]({SITE}a.html)"


def test_excluded_pages_and_drafts_are_not_read_and_links_to_them_stay(write: Write) -> None:
    settings = "exclude_docs: |\n  secret/\n  !secret/open.md\n  *.tmp.md\ndraft_docs: new.md\n"
    names = ("secret/a.md", "x.tmp.md", "new.md", "templates/t.md")
    root = write(
        {
            "mkdocs.yml": settings,
            "docs/a.md": "[s](secret/a.md) [n](new.md)",
            **{f"docs/{name}": "text" for name in names},
        }
    )
    read = pages(root)
    assert list(read) == ["a.md"]
    assert read["a.md"].text == "[s](secret/a.md) [n](new.md)"


@pytest.mark.parametrize(
    ("target", "becomes"),
    [
        ("b.md", "../guide-b/"),
        ("./b.md#x", "../guide-b/#x"),
        ("b.md?q=1#x", "../guide-b/?q=1#x"),
        ("../index.md", "../../"),
        ("index.md", "../"),
        ("a.md#y", "#y"),
        ("a.md", "./"),
        ("pic.png", "../pic.png"),
        ("/other.md", "../../other/"),
        ("my%20page.md", "../my%20page/"),
        ("my page.md", "../my%20page/"),
        ("<my page.md>", "<../my%20page/>"),
        ("gone.md", "gone.md"),
        ("../../out.md", "../../out.md"),
        ("b/", "b/"),
        ("#here", "#here"),
        ("https://x.example/b.md", "https://x.example/b.md"),
        ("//x.example/b.md", "//x.example/b.md"),
        ("mailto:b.md", "mailto:b.md"),
        ("http://[", "http://["),
    ],
)
def test_links_are_relative_to_the_pages_address(write: Write, target: str, becomes: str) -> None:
    target = target.replace("b.md", "guide-b.md") if target[:4] in ("b.md", "./b.") else target
    names = ("guide/guide-b.md", "guide/index.md", "index.md", "other.md", "guide/my page.md")
    root = write(
        {"guide/a.md": f"[it]({target})", **dict.fromkeys(names, "x"), "guide/pic.png": ""}
    )
    assert pages(root)["guide/a.md"].text == f"[it]({becomes})"


def test_links_from_the_root_of_the_repository_lead_to_the_page(write: Write) -> None:
    root = write({"docs/a.md": "x", "docs/docs/b.md": "[a](/docs/a.md) [c](/docs/docs/c.md#x)"})
    (root / "docs/docs/c.md").write_text("[b](/other/docs/docs/b.md) [x](/docs/x.md)")
    read = pages(root / "docs")
    assert read["docs/b.md"].text == "[a](../../a/) [c](../c/#x)"
    assert read["docs/c.md"].text == "[b](/other/docs/docs/b.md) [x](/docs/x.md)"


def test_a_snippet_that_is_not_there_is_named_with_the_line(write: Write) -> None:
    text = '---\ntitle: T\n---\n\ntext\n\n--8<-- "gone.md"\n'
    root = write({"a.md": text})
    assert broken(root) == [("a.md:7", "the snippet gone.md is not there, and is left out")]


@pytest.mark.parametrize("name", ["../secret.md", "/etc/hostname", "https://x.example/a.md"])
def test_a_snippet_from_elsewhere_is_not_read(write: Write, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text("secret")
    settings = "markdown_extensions: [pymdownx.snippets: {url_download: true, "
    settings += "restrict_base_path: false, base_path: docs}]"
    root = write({"mkdocs.yml": settings, "docs/a.md": f'text\n\n--8<-- "{name}"'})
    assert len(broken(root)) == 1


@pytest.mark.parametrize(
    ("base", "file"),
    [
        ("parts", "parts/p.md"),
        ("[none, parts]", "parts/p.md"),
        ("!relative $config_dir/parts", "parts/p.md"),
        ("[!relative $docs_dir]", "docs/p.md"),
        ("!relative $docs_dir/in", "docs/in/p.md"),
        ("parts/p.md", "parts/p.md"),
    ],
)
def test_snippets_are_looked_for_where_the_configuration_says(
    write: Write, tmp_path: Path, base: str, file: str
) -> None:
    settings = f"markdown_extensions:\n  - pymdownx.snippets:\n      base_path: {base}\n"
    root = write({"mkdocs.yml": settings, "docs/a.md": '--8<-- "p.md"', file: "here"})
    (tmp_path / "link").symlink_to(root)
    assert pages(root)["a.md"].text == "here"
    assert pages(tmp_path / "link" / "docs")["a.md"].text == "here"


def test_headings_in_tabs_and_boxes_begin_sections_without_their_indentation(write: Write) -> None:
    text = '=== "Linux"\n\n    ## On Linux\n\n    Do it:\n\n        code\n\n=== "Mac"\n\n    Text\n'
    page = pages(write({"a.md": text}))["a.md"]
    assert places(page) == [("", ""), ("on-linux", "On Linux")]
    assert page.sections[1].text == '## On Linux\n\nDo it:\n\n    code\n\n=== "Mac"\n\nText'


def test_the_extensions_that_are_named_are_those_of_the_site_of_askdocs(tmp_path: Path) -> None:
    config = mkdocs_config.default(tmp_path)
    assert "pymdownx.tabbed" in config.extensions
    assert config.snippets == {"base_path": [str(tmp_path)]}
    assert config.problems == ()
