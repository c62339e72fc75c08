"""A folder that GitBook's Git Sync keeps."""

import pytest

from core.errors import AskdocsError
from gateway.answering.grounding.links import absolute
from tests.sources.conftest import SITE, Write, broken, pages, places
from wiki.sources.folder import Folder
from wiki.sources.slugs import GitBookSlugger

SUMMARY = """# Table of contents

* [Welcome](README.md)

## Group

* [The guide](guide/README.md)
  * [Set up](<guide/set up.md> "short")
  * [Elsewhere](https://x.example)
  * [Twice](guide/README.md#part)
"""
WIKI = {
    ".gitbook.yaml": "root: ./docs/\n\nstructure:\n  readme: README.md\n",
    "docs/SUMMARY.md": SUMMARY,
    "docs/README.md": "# Welcome to it\n\n[s](<guide/set up.md#id-1.-first>) [g](guide/) "
    "[u](unlisted.md) ![p](.gitbook/assets/p.png)\n",
    "docs/guide/README.md": "## In the guide\n",
    "docs/guide/set up.md": "# Set up\n\n## 1. First\n",
    "docs/unlisted.md": "not published",
}


def test_the_pages_of_the_table_of_contents_are_published_in_its_order(write: Write) -> None:
    read = pages(write(WIKI))
    assert [(page.url.removeprefix(SITE), page.title) for page in read.values()] == [
        ("", "Welcome to it"),
        ("guide", "The guide"),
        ("guide/set%20up", "Set up"),
    ]


def test_links_lead_to_pages_and_others_stay(write: Write) -> None:
    page = pages(write(WIKI))["README.md"]
    assert absolute(page.sections[0].body, page) == (
        f"[s](<{SITE}guide/set%20up#id-1.-first>) [g]({SITE}guide)"
        f" [u]({SITE}unlisted.md) ![p]({SITE}.gitbook/assets/p.png)"
    )


def test_a_page_that_is_listed_and_not_there_is_named_with_the_line(write: Write) -> None:
    root = write({"SUMMARY.md": "* [A](a.md)\n\n* [B](b.md)", "a.md": "text"})
    assert broken(root) == [("SUMMARY.md:3", "b.md does not exist")]


def test_a_table_of_contents_that_cannot_be_read_is_an_error(write: Write) -> None:
    root = write({"SUMMARY.md": "", "a.md": "text"})
    (root / "SUMMARY.md").write_bytes(b"\xff")
    with pytest.raises(AskdocsError, match=r"SUMMARY\.md cannot be read .*lists the pages"):
        list(Folder(root, SITE).read({}))


def test_without_a_table_of_contents_all_pages_are_published(write: Write) -> None:
    read = pages(write({"a.md": "a", "b/README.md": "b", "README.md": "c"}), "gitbook")
    assert [page.url.removeprefix(SITE) for page in read.values()] == ["", "a", "b"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What is X & Y?", "what-is-x-and-y"),
        ("1. First step", "id-1.-first-step"),
        ("Làm việc với Đĩa", "lam-viec-voi-dia"),
        ("Straße", "strasse"),
        ("C# / C++", "c-c"),
        ("배열", "undefined"),
        ("설치 2.1 OS", "id-2.1-os"),
        ("snake_case v1.2", "snake_case-v1.2"),
        ("`code` and *emph*", "code-and-emph"),
        ('Own <a href="#mine" id="mine"></a>', "mine"),
        ("Named {#given}", "given"),
    ],
)
def test_anchors_are_those_that_synced_books_show(write: Write, heading: str, anchor: str) -> None:
    page = pages(write({"a.md": f"# Title\n\n## {heading}\n"}), "gitbook")["a.md"]
    assert [section.anchor for section in page.sections] == ["", anchor]


def test_a_second_heading_of_a_name_has_a_number() -> None:
    slugger = GitBookSlugger()
    assert [slugger.slug(text) for text in ("A b", "A b", "a-B")] == ["a-b", "a-b-1", "a-b-2"]


BLOCKS = """# Set up

{% hint style="warning" %}
Care with [the guide](guide/README.md)
{% endhint %}

{% tabs %}
{% tab title="Linux" %}
## On Linux

```
{% tab title="no" %}
```
{% endtab %}
{% endtabs %}

{% code title="a.py" overflow="wrap" %}
```python
x = 1
```
{% endcode %}

{% include ".gitbook/includes/part.md" %}

{% content-ref url="guide/" %}
[guide](guide/)
{% endcontent-ref %}

{% embed url="https://x.example/video" %}

<details>

<summary>More of it</summary>

Inside

</details>
"""


def test_blocks_are_plain_text(write: Write) -> None:
    part = "---\ntitle: Part\n---\n\n## Shared\n\n[up](../../guide/README.md) {% inline %}\n"
    root = write(
        {"a.md": BLOCKS, ".gitbook/includes/part.md": part, "guide/README.md": "x"},
    )
    page = pages(root, "gitbook")["a.md"]
    assert page.text == (
        "# Set up\n\n**Warning**\n\nCare with [the guide](guide)\n\n**Linux**\n\n## On Linux\n\n"
        '```\n{% tab title="no" %}\n```\n\n**a.py**\n\n```python\nx = 1\n```\n\n'
        "## Shared\n\n[up](guide) {% inline %}\n\n[guide](guide)\n\n<https://x.example/video>\n\n"
        "**More of it**\n\nInside"
    )
    assert places(page) == [("", "Set up"), ("on-linux", "On Linux"), ("shared", "Shared")]


@pytest.mark.parametrize("name", ["gone.md", "../../secret.md", "a.txt", ""])
def test_an_include_that_cannot_be_read_is_named_with_its_line(write: Write, name: str) -> None:
    root = write({"a.md": f'text\n\n{{% include "{name}" %}}', "a.txt": "x", "b.md": "x"})
    root.joinpath("../secret.md").write_text("secret")
    ((place, why),) = broken(root, "gitbook")
    assert place == "a.md:3"
    assert "not there" in why


def test_includes_that_include_each_other_end(write: Write) -> None:
    parts = {name: f'{name}\n\n{{% include "{other}.md" %}}\n' for name, other in ("ab", "ba")}
    root = write({f"{name}.md": text for name, text in parts.items()})
    assert pages(root, "gitbook")["a.md"].text == "a\n\nb"
