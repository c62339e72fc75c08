"""A site for Docusaurus whose addresses and anchors are not the obvious ones, and what they are.

`EXPECTED` is what Docusaurus 3.10.2 built of `FILES`; compare_docusaurus.py builds it again.
"""

CONFIG = """
module.exports = {
  title: "X", url: "https://wiki.example.com", baseUrl: "/",
  onBrokenLinks: "ignore", onBrokenAnchors: "ignore",
  markdown: {
    hooks: { onBrokenMarkdownLinks: "ignore", onBrokenMarkdownImages: "ignore" },
  },
  presets: [["classic", { blog: false, pages: false }]],
};
"""
FILES = {
    "docusaurus.config.js": CONFIG,
    "static/paper.txt": "paper",
    "docs/intro.md": """---
sidebar_label: Intro
---
# Introduction to `X`

[link](guide/setup.md#first-step), [abs](/docs/guide/setup), [mdx](./tabs.mdx),
[file](/guide/setup.md), [pre](./01-start/02-install.md), [id](tips/renamed.md),
[unlisted](unlisted.md), [paper](/paper.txt), [gone](nowhere.md), [gonedir](nowhere/x), [ref][r]

[r]: guide/index.md "Title"

## First Step
## First Step
## First step
### First step-1
## C# & .NET — what's “new”? 50 %
## Ünïcode Größe 日本語 é
## `code --flag` and *emph* __strong__ snake_case ~~del~~
## [Link](https://x.example) text
## ![alt text](pathname:///p.png) Picture
## Trailing ##
## Explicit {#my-id}
## Explicit Two {#My_ID.2}
## With `{#code}`
## Bad {#} x
## A {#a b}
## :smile: emoji :rocket: :notanemoji:
## 🎉 party 🎉
## <b>bold</b> html
## 1. Number
## Foo_bar-baz / qux
## !!!
## ???
##   Spaces   inside   here
## Tabs\there
## Line<br/>break
## "Quotes" & 'single' &amp; &lt;tag&gt; &copy;
## a\\_b \\# c \\{esc\\}
## Comment id {/* #comment-id2 */}
## {/* #comment-id */} Lead
## Math $x^2$ ² ½ Ⅳ ⓐ
## https://x.example/auto www.example.com
## Footnote[^1]
## constructor
## toString
Setext heading
two lines
---

Title two
===

[^1]: note
""",
    "docs/tabs.mdx": """---
id: tabs
description: x
---
import Tabs from '@theme/Tabs';
import TabItem from '@theme/TabItem';
import Part from './_partial.mdx';
import {
  useState
} from 'react';

export const Hi = ({children}) => (
  <b>{children}</b>
);

# Tabs page

<Tabs>
  <TabItem value="a" label="Linux">

  ## Linux heading

  Text

  </TabItem>
  <TabItem value="b" label="Mac">
    ## Mac heading
  </TabItem>
</Tabs>

<Part name="x" />

## After partial

:::note Title here

## In admonition

Text

:::

:::tip[Bracket]
### In tip
:::

<details>
<summary>More</summary>

## In details

</details>

<!-- ## not a heading -->

{/*
## not either
*/}

```md
## in fence
```

    ## indented four

> ## quoted

- ## in list

1. ## in olist

<Hi>

## In Hi

</Hi>

## {frontMatter.id}

## Last <Hi>x</Hi>

<h2 id="raw">Raw heading</h2>
""",
    "docs/more.mdx": """import One from '@site/docs/_partial.mdx'
import Tabs from '@theme/Tabs';
import TabItem from '@theme/TabItem';
import Two, {toc as other} from "./parts/_two.md";

## Before

<One></One>
<Two
  name="x"
/>

## Comment <!-- #by-comment -->
## A <b title="new" data-count={1 + 2} /> badge
## Reference [text][ref] here
## Non&nbsp;breaking &#35; entity
## Escaped \\* and \\_ and \\`
## ~~gone~~ ***both***
## Ends with code `x`
## {1 + 1} two

::::warning

Outer

:::note[With *marks* in it]{.css}

## In the inner box

:::

::::

:::info

- item

  ## In an item

:::

<Tabs values={[{label: 'A', value: 'a'}, {label: 'B', value: 'b'}]} groupId="g">
<TabItem value="a">
## Without empty lines
</TabItem>
<TabItem
  value="b"
  label="Bee"
>

Text

</TabItem>
</Tabs>

| a | b |
| - | - |
| # x | y |

export const late = () => {
  return 1;
};

## After export

* list
## After list

text
***
## After rule

```js title="a.js"
// ## no
```

~~~
## no
~~~

<div
  className="x">

### In a div

</div>

<p>
## Text of a paragraph?
</p>

[ref]: ./intro.md
""",
    "docs/parts/_two.md": "### Second part\n\n[here](../intro.md)\n",
    "docs/05-numbered/index.mdx": "# Numbered\n",
    "docs/05-numbered/1_one.md": "---\nslug: ./rel\n---\n# One\n",
    "docs/05-numbered/2 two.md": "---\nslug: deep/er\n---\n# Two\n",
    "docs/05-numbered/003--three.md": "# Three\n",
    "docs/cased/Cased.mdx": "# Same name\n",
    "docs/cased/ReadMe.md": "---\nslug: readme\n---\n# Read me\n",
    "docs/cased/UPPER.md": "# Upper\n",
    "docs/dots/a.b.c.md": "# Dots\n",
    "docs/dots/ünï.md": "# Umlauts\n",
    "docs/_partial.mdx": "## Partial heading\n\nPartial **text** [up](./guide/setup.md)."
    "\n\n## After partial\n",
    "docs/guide/setup.md": "---\ntitle: Set up\n---\n## First step\n"
    "Back to [intro](../intro.md).\n",
    "docs/guide/index.md": "# Guide index\n",
    "docs/tips/tips.md": "# Tips folder page\n",
    "docs/tips/renamed.md": "---\nid: my-id\n---\n# Renamed by id\n",
    "docs/tips/slugged.md": "---\nslug: /abs/slug\n---\n# Slugged\n",
    "docs/tips/relslug.md": "---\nslug: rel-slug\nid: other\n---\n# Relslug\n",
    "docs/01-start/README.md": "# Start\n",
    "docs/01-start/02-install.md": "# Install\n## Step\n",
    "docs/01-start/2021-11-notes.md": "# Dated\n",
    "docs/01-start/7.0-release.md": "# Version\n",
    "docs/v1.2-notes/page.md": "# Page\n",
    "docs/02 - two words/my page.md": "# My page\n",
    "docs/_hidden/x.md": "# Hidden\n",
    "docs/a/x.test.md": "# Test file\n",
    "docs/a/tests/y.md": "# In tests folder\n",
    "docs/a/__tests__/z.md": "# No page\n",
    "docs/draft.md": "---\ndraft: true\n---\n# Draft\n",
    "docs/unlisted.md": "---\nunlisted: true\n---\n# Unlisted\n",
    "docs/plain.md": "Only text.\n",
    "docs/nested/deep/index.mdx": "## H\n",
    "docs/nested/deep/10-ten.md": '---\ntitle: "Ten: ten"\n---\n\n# Content title\n\n## Part\n',
}
EXPECTED = {
    "docs/intro": [
        *("first-step", "first-step-1", "first-step-2", "first-step-1-1"),
        *("c--net--whats-new-50-", "ünïcode-größe-日本語-é"),
        *("code---flag-and-emph-strong-snake_case-del", "link-text", "alt-text-picture"),
        *("trailing", "my-id", "My_ID.2", "code", "bad--x", "a b"),
        *("smile-emoji-rocket-notanemoji", "-party-", "bold-html", "1-number"),
        *("foo_bar-baz--qux", "-1", "spaces---inside---here", "tabshere", "linebreak"),
        *(
            "quotes--single--tag-",
            "a_b--c-esc",
            "comment-id2",
            "-comment-id--lead",
            "math-x2---ⅳ-ⓐ",
        ),
        *("httpsxexampleauto-wwwexamplecom", "footnote", "constructor", "tostring"),
        "setext-headingtwo-lines",
    ],
    "docs/tabs": [
        *("linux-heading", "mac-heading", "partial-heading", "after-partial", "after-partial"),
        *("in-admonition", "in-tip", "in-details", "indented-four", "in-hi", "frontmatterid"),
        *("last-x", "raw"),
    ],
    "docs/more": [
        *("before", "partial-heading", "after-partial", "second-part", "comment-", "a--badge"),
        *("reference-text-here", "nonbreaking--entity", "escaped--and-_-and-", "gone-both"),
        *("ends-with-code-x", "1--1-two", "in-the-inner-box", "without-empty-lines"),
        *("after-export", "after-list", "after-rule", "in-a-div", "text-of-a-paragraph"),
    ],
    "docs/numbered/": [],
    "docs/numbered/rel": [],
    "docs/numbered/deep/er": [],
    "docs/numbered/three": [],
    "docs/cased/": [],
    "docs/cased/readme": [],
    "docs/cased/UPPER": [],
    "docs/dots/a.b.c": [],
    "docs/dots/%C3%BCn%C3%AF": [],
    "docs/guide/setup": ["first-step"],
    "docs/guide/": [],
    "docs/tips/": [],
    "docs/tips/my-id": [],
    "docs/abs/slug": [],
    "docs/tips/rel-slug": [],
    "docs/start/": [],
    "docs/start/install": ["step"],
    "docs/start/2021-11-notes": [],
    "docs/start/7.0-release": [],
    "docs/v1.2-notes/page": [],
    "docs/two%20words/my%20page": [],
    "docs/a/x.test": [],
    "docs/a/tests/y": [],
    "docs/plain": [],
    "docs/nested/deep/": ["h"],
    "docs/nested/deep/ten": ["part"],
}
