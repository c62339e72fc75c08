"""The site of `askdocs up` for folders of other generators: pages and answers without markup."""

import asyncio
import re
from pathlib import Path

import pytest

from askdocs.state.home import Home
from askdocs.wikis import site
from gateway.answering.grounding.links import absolute
from tests.sources.conftest import SITE, Write
from wiki.pages.page import Page
from wiki.sources.folder import Folder
from wiki.sources.source import Changed

OTTER = {
    "docusaurus.config.js": "module.exports = {title: 'Otter', sidebarPath: './sidebars.js'};",
    "sidebars.js": "module.exports = {main: ['guides/install', 'share']};",
    "docs/guides/install.mdx": """---
title: Install Otter
---
import Tabs from '@theme/Tabs';
import Note from './_note.mdx';

<Tabs>
<TabItem value="linux" label="Linux">

Run `apt install otter`, then [share](../share.md#a-folder) ![p](p.png) [no](gone.md).

</TabItem>
</Tabs>

<Note />

## Uninstall Otter {#remove}

:::warning[Stop it]
Stop the agent first.
:::
""",
    "docs/guides/_note.mdx": "Otter needs *Linux*.\n",
    "docs/guides/p.png": "p",
    "docs/share.md": "# Share\n\n## A folder\n\n`otter share`. [Install](./guides/install.mdx)\n",
    "docs/draft.md": "---\ndraft: true\n---\n# Draft\n\nSecret.\n",
}
HERON = {
    "SUMMARY.md": "* [Heron](README.md)\n* [Set up](set/up.md)\n",
    "README.md": '# Heron\n\n{% hint style="info" %}\nAt night. [Go](set/up.md)\n{% endhint %}\n',
    "set/up.md": '# Set up\n\n{% tab title="Debian" %}\n`apt install heron`\n{% endtab %}\n',
    "unlisted.md": "# Unlisted\n\nSecret.\n",
}
VAULT = {
    ".obsidian/app.json": "{}",
    "Bread.md": "> [!tip] Heat\n> Hot.\n\nRest ==an hour==. [[Starter#Feed it|Feed]] ![[Table]]\n",
    "Table.md": "| Flour |\n|---|\n| 405 |\n",
    "deep/Starter.md": "## Feed it\n\nTwice a day. %%hidden%% [[Bread]]\n",
    "private.md": "---\npublish: false\n---\nSecret.\n",
}
SEAL = {
    ".vitepress/config.ts": "export default { title: 'Seal' }",
    "index.md": "---\nlayout: home\nhero: {name: Seal}\n---\n",
    "guide.md": "# Guide\n\n[[toc]]\n\n::: danger Stop\nFor ever.\n:::\n\n[Filters](/filters)\n",
    "filters.md": "# Filters\n\n<!--@include: ./part.inc-->\n",
    "part.inc": "Filters run in order.\n",
}
# Of any generator's own: none of it is for readers.
MARKUP = re.compile(r"\{%|:::|\[\[|\[!|==|%%|</?Tab|^import |@include|Secret", re.M)


def previewed(root: Path) -> dict[str, Page]:
    read = Folder.preview(root, SITE).read({})
    return {one.page.path: one.page for one in read if isinstance(one, Changed)}


@pytest.mark.parametrize(
    ("files", "inside", "expected"),
    [
        (
            OTTER,
            "docs",
            {
                "guides/install.mdx": "guides/install/",
                "share.md": "share/",
            },
        ),
        (HERON, "", {"README.md": "", "set/up.md": "set/up/"}),
        (
            VAULT,
            "",
            {
                "Bread.md": "Bread/",
                "Table.md": "Table/",
                "deep/Starter.md": "deep/Starter/",
            },
        ),
        (SEAL, "", {"guide.md": "guide/", "filters.md": "filters/"}),
    ],
)
def test_pages_are_plain_markdown_at_the_addresses_of_mkdocs(
    write: Write, files: dict[str, str], inside: str, expected: dict[str, str]
) -> None:
    pages = previewed(write(files) / inside)
    assert {path: page.url.removeprefix(SITE) for path, page in pages.items()} == expected
    assert [page.text for page in pages.values() if MARKUP.search(page.text)] == []


def test_links_lead_to_pages_of_the_preview(write: Write) -> None:
    pages = previewed(write(OTTER) / "docs")
    install = pages["guides/install.mdx"]
    assert install.title == "Install Otter"
    assert [section.anchor for section in install.sections] == ["", "remove"]
    text = absolute(install.text, install)
    assert f"[share]({SITE}share/#a-folder) ![p]({SITE}guides/p.png)" in text
    assert "Otter needs *Linux*." in text
    share = pages["share.md"]
    assert f"[Install]({SITE}guides/install/)" in absolute(share.text, share)


def test_links_of_a_vault_lead_to_headings_of_the_preview(write: Write) -> None:
    pages = previewed(write(VAULT))
    bread = pages["Bread.md"]
    assert f"**an hour**. [Feed]({SITE}deep/Starter/#feed-it)" in absolute(bread.text, bread)
    assert [section.anchor for section in pages["deep/Starter.md"].sections][-1] == "feed-it"


@pytest.mark.slow
@pytest.mark.parametrize(("files", "inside"), [(OTTER, "docs"), (VAULT, ""), (SEAL, "")])
def test_the_site_shows_what_answers_quote(
    write: Write, tmp_path: Path, files: dict[str, str], inside: str
) -> None:
    root = write(files) / inside
    home = Home(tmp_path / "home")
    home.make()
    assert asyncio.run(site.build(root, home, "http://127.0.0.1:8000/", "http://127.0.0.1:8080"))
    built = {
        file.parent.relative_to(home.site).as_posix(): file.read_text()
        for file in home.site.rglob("index.html")
    }
    for page in previewed(root).values():
        html = built[page.url.removeprefix(SITE).rstrip("/") or "."]
        article = html[html.index("<article") : html.index("</article>")]
        assert not MARKUP.search(re.sub(r"<[^>]*>", "", article))
        for section in page.sections:
            assert not section.anchor or f'id="{section.anchor}"' in html
        for link in re.findall(r'<a href="(/[^"#]*)', article):
            assert link.strip("/") in built
    front = built["."]
    assert "<li>" in front[front.index("<article") : front.index("</article>")]
    assert not [path for path in built if "draft" in path or "private" in path]
