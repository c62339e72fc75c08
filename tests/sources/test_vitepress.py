"""A folder of VitePress. What is expected of FILES is what VitePress 1.6.4 built of them, with the
pages' own address in place of the base."""

from pathlib import Path

import pytest

from gateway.answering.grounding.links import absolute
from tests.sources.conftest import SITE, Write, broken, pages, places
from wiki.sources.slugs import VitePressSlugger
from wiki.sources.vitepress_config import VitePressConfig, load
from wiki.sources.within import Bounds

SETUP = """<script setup>
import { ref } from 'vue'
const a = 1
</script>

# Set `up` it & more {#top}

Intro.

## First step

a

## First step

b

## 1. Größe & Café's "quoted" (x/y)

c

## `npm run` — **bold** <Badge type="tip" text="new" />

d

## 日本語 の 見出し

e

## Custom {#my-own}

f

### Emoji :tada: here

g

## A_b-c.d

h

::: tip Title here
In the box
### In box
:::

::: code-group

```sh [npm]
npm i <!-- code -->
```

:::

<!-- a comment -->

<!--@include: ../parts/part.md-->

<<< @/parts/code.js

[[toc]]

> ## Quoted heading

- ## In list

<div>

## In div

</div>

## Link [text](./index.md) in heading

<h2 id="raw">Raw</h2>
"""
FILES = {
    ".vitepress/config.mts": "export default defineConfig({\n  base: '/kb/', // ours\n"
    "  srcExclude: ['**/drafts/**'],\n})\n",
    "index.md": "---\nlayout: home\ntitle: Welcome\n---\n\n# Hello world\n\n"
    "[setup](./guide/setup.md#first-step), [abs](/guide/setup), [html](/guide/setup.html),"
    " [folder](/guide/), [file](/a.txt), [gone](./nowhere.md)\n",
    "guide/index.md": "# Guide\n\n[deep](deep/README) [up](../)\n",
    "guide/deep/README.md": "# Read me\n\nText.\n",
    "guide/setup.md": SETUP,
    "parts/part.md": "## Part heading\n\nPart text.\n",
    "parts/code.js": "const a = 1\n",
    "drafts/d.md": "# D\n",
    "public/a.txt": "a",
}
EXPECTED = {
    "": ["hello-world"],
    "guide/": ["guide"],
    "guide/deep/README.html": ["read-me"],
    "guide/setup.html": [
        *("top", "first-step", "first-step-1", "_1-große-cafe-s-quoted-x-y", "npm-run-—-bold"),
        *("日本語-の-見出し", "my-own", "emoji-here", "a-b-c-d", "in-box", "part-heading"),
        # "quoted-heading" and "in-list" are there, too, but begin no section.
        *("in-div", "link-text-in-heading", "raw"),
    ],
    "parts/part.html": ["part-heading"],
}


def test_addresses_and_anchors_are_those_of_the_site_that_vitepress_built(write: Write) -> None:
    read = pages(write(FILES))
    assert {
        page.url.removeprefix(SITE): [s.anchor for s in page.sections]
        for page in read.values()
        if page.path != "public/a.txt"
    } == EXPECTED


def test_titles_and_text_are_without_what_is_vitepress_own(write: Write) -> None:
    read = pages(write(FILES))
    assert read["index.md"].title == "Welcome"
    page = read["guide/setup.md"]
    assert page.title == "Set up it & more"
    assert "**Tip: Title here**\nIn the box\n\n### In box" in page.text
    assert "```sh [npm]\nnpm i <!-- code -->\n```" in page.text
    assert "Part text.\n\n```js\nconst a = 1\n```" in page.text
    for gone in ("script", "vue", ":::", "comment", "@include", "toc", "{#"):
        assert gone not in page.text
    assert ("my-own", "Custom") in places(page)


def test_links_to_pages_and_public_files_become_addresses(write: Write) -> None:
    read = pages(write(FILES))
    text = absolute(read["index.md"].text, read["index.md"])
    for link in (
        *("[setup](SITEguide/setup.html#first-step)", "[abs](SITEguide/setup.html)"),
        *("[html](SITEguide/setup.html)", "[folder](SITEguide/)", "[file](SITEa.txt)"),
        "[gone](SITEnowhere.md)",
    ):
        assert link.replace("SITE", SITE) in text
    text = absolute(read["guide/index.md"].text, read["guide/index.md"])
    assert f"[deep]({SITE}guide/deep/README.html) [up]({SITE})" in text


def test_clean_urls_a_folder_of_pages_and_the_hostname_are_read(write: Write) -> None:
    config = (
        "export default {\n  srcDir: './pages',\n  cleanUrls: true,\n  base: '/kb/',\n"
        "  sitemap: { hostname: 'https://docs.example.com/' },\n}\n"
    )
    files = {".vitepress/config.js": config, "pages/a/b.md": "# B\n\nx", "README.md": "# No\n\nx"}
    root = write(files)
    (page,) = pages(root, site_url="").values()
    assert page.url == "https://docs.example.com/kb/a/b"
    assert pages(root / "pages", site_url="") == {"a/b.md": page}


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("<!--@include: ./p.md{2,3}-->", "two\nthree"),
        ("<!--@include: ./p.md{3,}-->", "three\nfour"),
        ("<!--@include: @/p.md-->", "one\ntwo\nthree\nfour"),
        ("<!--@include: ./p.md#region-->", ""),  # parts of a name are not read
        ("<<< ./p.md{1 js}", "```md\none\ntwo\nthree\nfour\n```"),
        ("```md\n<!--@include: ./p.md-->\n```", "```md\n<!--@include: ./p.md-->\n```"),
        ("<!--@include: ./a.md-->", ""),  # itself
    ],
)
def test_what_is_included_is_put_in(write: Write, written: str, left: str) -> None:
    files = {"a.md": f"x\n\n{written}\n", "p.md": "one\ntwo\nthree\nfour\n"}
    page = pages(write(files), "vitepress")["a.md"]
    assert page.text == "\n\n".join(filter(None, ["x", left]))


def test_a_configuration_is_read_without_its_comments_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "config.ts"
    file.write_text(
        "// base: '/old/'\n/* cleanUrls: true */\nexport default {\n"
        "  srcExclude: ['**/a/**', \"**/b/**\"], // it's ours\n"
        "  sitemap: { hostname: 'https://x.example' },\n  base: process.env.BASE,\n}\n"
    )
    bounds = Bounds(tmp_path)
    wanted = VitePressConfig("https://x.example/", ".", False, ("**/a/**", "**/b/**"))
    assert load(file, bounds) == wanted
    assert load(tmp_path / "none.ts", bounds) == VitePressConfig()


def test_what_is_not_there_is_named(write: Write) -> None:
    root = write({"a.md": "x\n\n<!--@include: ./no.md-->\n\n<<< ../out.js\n"})
    assert broken(root, "vitepress") == [
        ("a.md:3", "./no.md is not there, and is left out"),
        ("a.md:5", "../out.js is not there, and is left out"),
    ]


def test_an_anchor_of_ones_own_counts_for_those_that_follow() -> None:
    slugger = VitePressSlugger()
    said = [slugger.slug("A", "b"), slugger.slug("B"), slugger.slug("B"), slugger.slug("?!")]
    assert said == ["b", "b-1", "b-2", ""]


def test_an_include_of_60_000_digits_is_none(write: Write) -> None:
    text = "# A\n\n<!-- @include: a {" + "1" * 60_000 + "\n"
    assert list(pages(write({".vitepress/config.ts": "", "a.md": text}))) == ["a.md"]
