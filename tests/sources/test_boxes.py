"""Boxes between colons in a folder that is read as MkDocs reads it."""

from tests.sources.conftest import Write, pages, places
from wiki.sources import boxes

TEXT = """# Oil

::: warning
Hot.
:::

:::tip Use *gloves*

### Which ones {#which}

Old ones.

::: details
:::: code-group
```md
::: tip
no box
:::
```
::::
:::

:::

> :::note[Later] {.small}
> Wash them.
> :::

## Code

::: pump.oil
    options:
      members:

        - drain

Change it.
"""


def test_what_a_box_says_on_it_stays_and_its_colons_go() -> None:
    shown = boxes.named(TEXT.split("\n"))
    assert len(shown) == len(TEXT.split("\n"))
    text = "\n".join(shown)
    assert "**Warning**\nHot.\n\n" in text
    assert "**Tip: Use *gloves***" in text
    assert "```md\n::: tip\nno box\n:::\n```" in text
    assert "> **Note: Later**\n> Wash them.\n" in text
    assert [line for line in shown if ":::" in line] == ["::: tip", ":::"]


def test_an_object_of_mkdocstrings_is_its_name_without_options() -> None:
    text = "\n".join(boxes.named(TEXT.split("\n")))
    assert text.partition("## Code")[2].split() == ["`pump.oil`", "Change", "it."]


def test_colons_that_begin_no_box_stay() -> None:
    lines = ["::: module_path", ":::", "a ::: b", "::: notebook"]
    assert boxes.named(lines) == lines


def test_a_page_keeps_its_sections_around_boxes(write: Write) -> None:
    page = pages(write({"a.md": TEXT}))["a.md"]
    assert places(page) == [("oil", "Oil"), ("which", "Which ones"), ("code", "Code")]
    assert page.sections[0].body == "**Warning**\nHot.\n\n\n**Tip: Use *gloves***"


def test_a_line_of_60_kb_begins_no_box() -> None:
    line = ":::note a " + "{ " * 30_000
    assert boxes.named([line, "Text"]) == [line, "Text"]
