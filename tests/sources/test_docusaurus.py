"""A folder of Docusaurus: see docusaurus_site.py for where the expectations come from."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.answering.grounding.links import absolute
from tests.parts import require
from tests.sources.conftest import SITE, Write, broken, pages, places
from tests.sources.docusaurus_site import EXPECTED, FILES
from wiki.sources.docusaurus import slug
from wiki.sources.slugs import GitHubSlugger


def test_addresses_and_anchors_are_those_of_the_site_that_docusaurus_built(write: Write) -> None:
    read = pages(write(FILES))
    assert {
        page.url.removeprefix(SITE): [s.anchor for s in page.sections if s.anchor]
        for page in read.values()
    } == EXPECTED


def test_the_folder_of_pages_alone_is_known_by_the_configuration_above_it(write: Write) -> None:
    root = write(FILES)
    assert pages(root / "docs") == pages(root)
    assert list(pages(root / "docs" / "guide")) == ["guide/index.md", "guide/setup.md"]


def test_titles_are_those_of_the_page_then_of_its_heading(write: Write) -> None:
    titles = {path: page.title for path, page in pages(write(FILES)).items()}
    assert titles["guide/setup.md"] == "Set up"
    assert titles["nested/deep/10-ten.md"] == "Ten: ten"
    assert titles["tips/tips.md"] == "Tips folder page"
    assert titles["plain.md"] == "Plain"
    assert titles["nested/deep/index.mdx"] == "Deep"


def test_links_to_files_become_addresses_and_others_stay(write: Write) -> None:
    page = pages(write(FILES))["intro.md"]
    text = absolute(page.sections[0].text, page)
    for link in (
        *("[link](SITEdocs/guide/setup#first-step)", "[abs](SITEdocs/guide/setup)"),
        *("[mdx](SITEdocs/tabs)", "[file](SITEdocs/guide/setup)", "[id](SITEdocs/tips/my-id)"),
        *("[pre](SITEdocs/start/install)", "[unlisted](SITEdocs/unlisted)"),
        *("[paper](SITEpaper.txt)", '[r]: SITEdocs/guide/ "Title"'),
        *("[gone](SITEdocs/nowhere.md)", "[gonedir](SITEdocs/nowhere/x)"),
    ):
        assert link.replace("SITE", SITE) in text


def test_of_mdx_the_text_is_left(write: Write) -> None:
    page = pages(write(FILES))["tabs.mdx"]
    for gone in ("import", "export", "Tabs>", "TabItem", "<Part", ":::", "not a heading", "either"):
        assert gone not in page.text
    assert "**Linux**\n\n## Linux heading\n\nText\n\n**Mac**\n\n## Mac heading" in page.text
    assert "**Note: Title here**\n\n## In admonition" in page.text
    assert "**Tip: Bracket**\n\n### In tip" in page.text
    assert "**More**\n\n## In details" in page.text
    assert "```md\n## in fence\n```" in page.text
    assert "Partial **text** [up](guide/setup)." in page.text


def test_a_partial_that_is_not_there_is_named_with_the_line_of_its_import(write: Write) -> None:
    root = write({"docs/a.mdx": "---\ntitle: A\n---\nimport P from './_p.mdx';\n\n<P />\n\ntext"})
    assert broken(root, "docusaurus") == [
        ("docs/a.mdx:4", "./_p.mdx is not there, and is left out")
    ]


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("import the file, then\nexport it", "import the file, then\nexport it"),
        ("export const a = '{';\n\n## After\n\ntext", "## After\n\ntext"),
        ("export const a = {\n  b: [\n\n  ],\n};\n\ntext", "text"),
        ("import A from 'a';\nimport B, {C} from 'b';\nimport 'c';\n\ntext", "text"),
        ("export default function f() {\n  return 1\n\n}\n\ntext", "text"),
        ("text\nimport A from 'a'", "text\nimport A from 'a'"),
        ("```js\nimport A from 'a'\n```", "```js\nimport A from 'a'\n```"),
    ],
)
def test_only_code_of_modules_is_taken_out(write: Write, written: str, left: str) -> None:
    assert pages(write({"a.mdx": written}), "docusaurus")["a.mdx"].text == left


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("<Tabs values={[{label: 'A', value: 'a'}]}>\n\ntext\n\n</Tabs>", "text"),
        ('<Box\n  a={1}\n  b="x"\n>\n\ntext\n\n</Box>', "text"),
        ('<div className="a"><Box>\n\ntext\n\n</Box></div>', "text"),
        ("<TabItem value='a' label='On A'>\n\ntext\n\n</TabItem>", "**On A**\n\ntext"),
        ("<>\n\ntext\n\n</>", "text"),
        ('<img src="a.png" />', '<img src="a.png" />'),
        ("press <kbd>A</kbd>", "press <kbd>A</kbd>"),
        ("<details><summary>More</summary>\n\ntext\n\n</details>", "**More**\n\ntext"),
        ("```jsx\n<Tabs>\n```", "```jsx\n<Tabs>\n```"),
    ],
)
def test_tags_that_only_make_boxes_are_taken_out(write: Write, written: str, left: str) -> None:
    assert pages(write({"a.mdx": written}), "docusaurus")["a.mdx"].text == left


def test_partials_that_include_each_other_end(write: Write) -> None:
    one = "import B from './_b.mdx'\n\n## One\n\n<B />"
    two = "import C from './_c.mdx'\n\n## Two\n\n<C />"
    three = "import B from './_b.mdx'\n\n## Three\n\n<B></B>"
    read = pages(write({"a.mdx": one, "_b.mdx": two, "_c.mdx": three}), "docusaurus")
    assert places(read["a.mdx"]) == [("one", "One"), ("two", "Two"), ("three", "Three")]


def test_a_partial_outside_of_the_site_is_not_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    text = (
        "import S from '../../secret.md'\nimport N from '@site/near.md'\n\ntext\n\n<S />\n\n<N />"
    )
    root = write({"docs/a.mdx": text, "near.md": "near", "docusaurus.config.js": "docs: {}"})
    assert broken(root) == [("a.mdx:1", "../../secret.md is not there, and is left out")]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ("", "docs/a"),
        ("trailingSlash: true", "docs/a/"),
        ("trailingSlash: false, presets: [['classic', {docs: {routeBasePath: '/'}}]]", "a"),
        ("docs: {routeBasePath: 'kb', numberPrefixParser: false}", "kb/01-a"),
        ("docs: {\n// routeBasePath: 'no',\n routeBasePath: \"yes/it\"}", "yes/it/a"),
        ("docs: {sidebar: {a: {b: 1}}, routeBasePath: 'deep'}", "deep/a"),
        ("docs: {routeBasePath: computed()}", "docs/a"),
    ],
)
def test_what_the_configuration_says_plainly_counts(write: Write, settings: str, url: str) -> None:
    root = write({"docusaurus.config.ts": f"export default {{{settings}}}", "docs/01-a.md": "x"})
    assert [page.url for page in pages(root).values()] == [SITE + url]


@pytest.mark.parametrize(
    ("site_url", "base", "url"),
    [
        ("", "/wiki/", "https://own.example/wiki/docs/a"),
        ("https://x.example/wiki", "/wiki/", "https://x.example/wiki/docs/a"),
        ("https://x.example/docs", "/", "https://x.example/docs/a"),
        ("https://x.example/docs/", "/", "https://x.example/docs/a"),
        ("https://x.example/docs", "/docs/", "https://x.example/docs/docs/a"),
    ],
)
def test_the_sites_address_is_that_of_the_site_or_of_its_docs(
    write: Write, site_url: str, base: str, url: str
) -> None:
    config = f"export default {{url: 'https://own.example', baseUrl: '{base}'}}"
    root = write({"docusaurus.config.js": config, "docs/a.md": "x [b](/docs/b)", "docs/b.md": "y"})
    page = pages(root, None, site_url)["a.md"]
    assert page.url == url
    assert absolute(page.text, page) == f"x [b]({url[:-1]}b)"


def test_a_second_set_of_pages_is_named_after_its_folder(write: Write) -> None:
    root = write({"docusaurus.config.js": "", "docs/a.md": "a", "community/b.md": "b"})
    assert pages(root / "community")["b.md"].url == f"{SITE}community/b"


@pytest.mark.parametrize(
    ("path", "front", "expected"),
    [
        ("a.md", {}, "/a"),
        ("readme.md", {}, "/"),
        ("a/INDEX.md", {}, "/a/"),
        ("01-a/a.md", {}, "/a/a"),
        ("a/A.mdx", {}, "/a/"),
        ("a/b.md", {"slug": "../c"}, "/c"),
        ("a/b.md", {"slug": "c/"}, "/a/c/"),
        ("a/b.md", {"slug": "/"}, "/"),
        ("a/index.md", {"slug": "x"}, "/a/x"),
        ("a/index.md", {"id": "x"}, "/a/"),
        ("1 - a.md", {}, "/a"),
        ("1.a.md", {}, "/a"),
        ("1.2-a.md", {}, "/1.2-a"),
        ("2024-01-a.md", {}, "/2024-01-a"),
        ("a.md", {"id": 5}, "/5"),
    ],
)
def test_the_address_of_a_file(path: str, front: dict[str, Any], expected: str) -> None:
    assert slug(path, front) == expected


@pytest.mark.slow
def test_the_slugger_is_githubs(tmp_path: Path) -> None:
    require(bool(shutil.which("npm")), "sudo apt-get install npm")
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "github-slugger@1.5.0"]
    subprocess.run(install, cwd=tmp_path, check=True)
    headings = (
        [
            heading
            for text in FILES.values()
            for heading in text.splitlines()
            # Characters that are newer than the package are letters only here.
        ]
        + [chr(code) * 2 for code in range(0x20, 0x860)]
        + ["a", "a-1", "a", "a", "A", "ǅ İ ẞ Σ ΑΣ"] * 3
    )
    script = (
        "const Slugger = require('github-slugger'); const slugger = new Slugger();"
        "const all = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(all.map((text) => slugger.slug(text))))"
    )
    done = subprocess.run(
        ["node", "-e", script],
        cwd=tmp_path,
        input=json.dumps(headings),
        capture_output=True,
        text=True,
        check=True,
    )
    slugger = GitHubSlugger()
    assert [slugger.slug(heading) for heading in headings] == json.loads(done.stdout)
