"""Pages whose addresses and anchors are not the obvious ones."""

# First lines of code.
INFOS = (
    '```py title="a.py"',
    '```py hl_lines="1 3" linenums="1"',
    "``` { .yaml .annotate }",
    "```js {1,4-6}",
    "``` c#",
    '```py hl_lines="x"',
    "```js showLineNumbers",
    "```js:app.js",
    '```jsx {1,4-6} title="x" live',
    "~~~ title=`a`",
)
# Each entry is a page of its own.
PAGES = {
    "plain": "# Title\n\nText.\n\n## First\n\n### Deep\n\n## Second\n\n#### Skipped levels",
    "twice": "## Setup\n\n## Setup\n\n## Setup_1\n\n## Setup",
    "code": "## The `--docs` option\n\n## GET `/users/{id}`\n\n## ``a`b`` twice",
    "attributes": "## A {#own}\n\n## B {: #other .c }\n\n## C {.c}\n\n## D {#one #two}\n\n"
    "## E {#v1.2:x}\n\n## F{#glued}\n\n## G {{ var }}\n\n## H {}\n\n## I {#Ünï}\n\n## J {id=own-j}"
    "\n\n## K *x*{#inner}\n\nParagraph\n{: #para }\n\n## para\n\n## {#only}",
    "named-later": "## Setup\n\n## Other {#setup}\n\n## Setup",
    "setext": "Top\n===\n\ntext\n\nBelow\n---\n\nmore\n\n---\n\nTwo lines\nof text\n---\n\n"
    "Named {#mine}\n-----\n\n1. List\n---\n\n> Quote\n---\n\n`code`\n=\n\nFlush\n---\nright below",
    "fences": "```\n# no\n```\n\n~~~md\n## no\n~~~\n\n    # no\n\n## yes\n\n````\n```\n# no\n"
    "````\n\n"
    "- item\n\n    ```\n    # no\n    ```\n\n## yes too\n\n```\nnot closed\n\n## inside or not",
    "infos": "```npm install```\n\n## Code in a line\n\n"
    + "\n\n".join(
        f"{info}\n# no {number}\n{info[:3]}\n\n## Yes {number}" for number, info in enumerate(INFOS)
    )
    + "\n\n- item\n\n    ```js showLineNumbers\n    # no\n    ```\n\n## Last",
    "comment": "<!--\n## no\n-->\n\n## yes\n\n<!-- ## no -->\n\n<div>\n## no\n</div>\n\n## yes",
    "nested": "> ## Setup\n\n- ## Setup\n\n## Setup\n\n1. ### In a list\n\n    ### In the item",
    "indented": "text\n\n   ## text as well\n\n## Heading\n\n ## One space",
    "glued": "#Glued\n##Glued too\n# One\ntext\n## Two\n### Three\n####### Seven\n#\n##\n\n# ",
    "marks": "## A & B &amp; C\n\n## <b>bold</b> *it* __strong__ snake_case\n\n## a\\_b \\# c\n\n"
    "## [Link](http://x.example)\n\n## ![alt](x.png) Picture\n\n## <https://x.example>\n\n"
    "## Trailing ##\n\n## C#\n\n## <kbd>Ctrl</kbd>+C\n\n## What's “new”? --- “50 %”\n\n"
    "## [ref][r] and [^1]\n\n## a\\*b\\*c \\`d\\`\n\n## &lt;tag&gt; &copy; &#35;\n\n"
    "## *a* **b** _c_\n\n"
    "## _under_score_\n\n[r]: http://x.example\n[^1]: Note",
    "letters": "## Größe\n\n## 日本語\n\n## 日本\n\n## emoji 🎉 party\n\n"
    "## !!!\n\n## ???\n\n## ﬁ ½ ²",
    "lines": "a\u2028b\x0cc\u0085d\n\n## After odd line ends\n\nx\x0b## No\n\n"
    "## \u00a0Spaces\u3000 in\tit",
    "table": "| # a | b |\n|---|---|\n| ## 1 | 2 |\n\n## Table",
    "meta": "---\ntitle: Front\n---\n\n# Heading one\n\n## Two",
    "no-heading": "Only text.",
    "tabs": '=== "Linux"\n\n    ## On Linux\n\n    text\n\n=== "Mac"\n\n    ## On Mac\n\n'
    "    ### Deeper\n\n"
    "## After",
    "boxes": '!!! note "Title"\n\n    ## In a note\n\n    text\n\n??? tip\n\n'
    "    ## In details\n\n    !!! note\n"
    "\n        ### In both\n\n## After\n\n!!! note\n    ## Close",
    "divs": '<div markdown="1">\n\n## In a div\n\n</div>\n\n<div markdown>\n## Close\n</div>\n\n'
    '<h2 id="raw">Raw</h2>\n\n## After',
    "footnotes": "## A[^1]\n\n[^1]: Note\n\n    ## In the note\n\n## B",
    "terms": "Term\n:   ## In a definition\n\n## After\n\n*[HTML]: Hyper Text\n\n## HTML here",
    "toc": "[TOC]\n\n## A\n\n## B",
    "private": "## A \U0010f000\U0010f101\U0010f001 B\n\n## \ue000 C",
    "deep": "\n\n".join(
        f"{'#' * level} Level {level}" for level in (6, 5, 4, 3, 2, 1, 2, 3, 4, 5, 6)
    ),
    "guide/index": "# Guide\n\n## In a folder",
    "manual/README": "# Manual\n\n## In a readme",
    "a b/c d": "# Spaces\n\n## One",
    "über/größe": "# Umlaute\n\n## Eins",
    "100% & more#x": "# Signs\n\n## Two",
    "readme": "# Small readme",
    "old.name": "# A dot",
    "both/index": "# The index wins",
    "both/README": "# And this is not there",
}
