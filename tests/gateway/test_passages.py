"""Passages: where pages are cut, what stands above each, and where its link leads."""

import pytest

from tests.counting import calls
from tests.gateway.conftest import page
from wiki.index.embed import Embedder
from wiki.index.passages import (
    LEAD,
    WORDS,
    Passage,
    embedded,
    passage_stems,
    passages,
)
from wiki.pages.page import Page
from wiki.sources import html

MANUAL = """<html><head><title>tool(1)</title></head><body><main><h1>tool</h1>
<p>A tool of some use.</p><h2 id="options">Options</h2><dl>
<dt id="opt-m">-m</dt><dt>--move</dt><dd><p>Move it.</p></dd>
<dt><a id="opt-c"></a><code>--color[=&lt;when&gt;]</code></dt>
<dd><p>Color it.</p><ul><li>always</li><li>never</li></ul></dd>
<dt>plain term</dt><dd>Is not an option.</dd></dl></main></body></html>"""


def texts(read: Page) -> list[str]:
    return [passage.text for passage in passages(read)]


def test_a_section_of_many_blocks_without_words_is_cut_in_linear_time() -> None:
    few, many = (page("a.md", '<a id="x"></a>\n\n' * count) for count in (100, 400))
    assert calls(lambda: passages(many)) < 6 * calls(lambda: passages(few))


def test_a_passage_has_title_headings_and_term_in_front() -> None:
    read = page("a.md", "# Refunds\n\nIntro.\n\n## By card\n\n**Foreign cards**\n\nFive days.")
    assert embedded(read) == [
        "Refunds\nIntro.",
        "Refunds › By card › Foreign cards\n**Foreign cards** Five days.",
    ]
    assert [sorted(words) for words in passage_stems(read)] == [
        ["intro", "refund"],
        ["card", "dai", "five", "foreign", "refund"],
    ]


def test_a_definition_is_a_passage_with_the_anchor_of_its_term() -> None:
    read = html.page(MANUAL, "tool.html", "http://wiki/tool.html")
    found = passages(read)
    assert [(one.term, one.anchor, one.text) for one in found[1:]] == [
        ("-m, --move", "opt-m", "**`-m`, `--move`**\n\nMove it."),
        (
            "--color[=<when>]",
            "opt-c",
            "**`--color[=<when>]`**\n\nColor it.\n\n- always\n- never",
        ),
        ("plain term", "options", "**plain term**\n\nIs not an option."),
    ]


def test_a_definition_of_markdown_is_a_passage() -> None:
    read = page("a.md", "# Words\n\nApple\n:   A fruit.\n\nBrick\n:   A stone.\n:   A friend.\n")
    assert [one.term for one in passages(read)] == ["Apple", "Brick"]


def test_the_text_after_a_list_of_terms_belongs_to_the_section() -> None:
    more = "<dl><dt>x</dt><dd>Within.</dd></dl><p>Of -m, too.</p></dd>"
    options = MANUAL.replace("<p>Move it.</p></dd>", f"<p>Move it.</p>{more}")
    after = '</dl><p>All <b>options</b> are optional.</p><ul><li>Yes.</li></ul><h2 id="s">See</h2>'
    manual = options.replace("</dl></main>", f"{after}<dl><dt>tool2</dt><dd>It.</dd></dl></main>")
    read = html.page(manual, "tool.html", "http://wiki/tool.html")
    found = [(one.term, one.anchor, one.text) for one in passages(read)]
    assert ("x", "options", "**x**\n\nWithin.\n\nOf -m, too.") in found
    assert found[-2:] == [
        ("", "options", "All **options** are optional.\n\n- Yes."),
        ("tool2", "s", "**tool2**\n\nIt."),
    ]
    assert "\n\n\n" not in read.text
    marked = page("a.md", "# T\n\nmove\n:   Moves.\n\n    Then stops.\n\nAll of it is text.")
    assert [(one.term, one.text) for one in passages(marked)] == [
        ("move", "move\n:   Moves.\n\n    Then stops."),
        ("", "All of it is text."),
    ]


def test_terms_one_after_the_other_share_what_follows() -> None:
    read = page("a.md", "# T\n\n**one**\n\n**two**\n\nBoth.\n\n**three**\n\nAlone.")
    assert texts(read) == ["**one**\n\n**two**\n\nBoth.", "**three**\n\nAlone."]


def test_the_name_of_a_note_is_no_term() -> None:
    (only,) = passages(page("a.md", "# T\n\nText.\n\n**Note**\n\nMind it.\n\n**Tip:**\n\nDo it."))
    assert only.term == ""


def test_a_long_definition_keeps_its_term_in_each_part() -> None:
    text = "\n\n".join(" ".join(f"w{n}" for n in range(90)) for _ in range(3))
    read = page("a.md", f"# T\n\n**port**\n\n{text}")
    assert [one.term for one in passages(read)] == ["port"] * 3


def test_a_long_list_is_cut_between_its_items() -> None:
    items = [f"- item {n}" + " word" * 30 for n in range(8)]
    found = texts(page("a.md", "# T\n\n" + "\n".join(items)))
    assert len(found) == 3
    assert all(text.startswith("- item") for text in found)
    assert [line for text in found for line in text.split("\n")] == items


def test_what_announces_goes_with_what_it_announces() -> None:
    code = "```sh\n" + "run it now\n" * 20 + "```"
    found = texts(page("a.md", "# T\n\n" + "word " * 80 + f"\n\nDo this:\n\n{code}"))
    assert found[1] == f"Do this:\n\n{code}"


@pytest.mark.parametrize(
    ("lead", "following"),
    [
        ("Note", "Mind it" + " well" * 60),
        ("  **Warning:**", "  Mind it" + " well" * 60),
        ("For example:", "**term**\n\nIts meaning."),
        ("For example:", "run it" + " now" * 118),
        ("- **colour**", "  The colour of" + " all" * 60),
        ("**Table 3.1. Codes**", "| code | name |\n|---|---|\n" + "| a | b |\n" * 20),
        ("**Figure 3. A look at it**", "![A look" + " at it" * 30 + "](look.png)"),
        ("**one**\n\n**two**", "The meaning" + " of it" * 59),
    ],
    ids=["note", "bold note", "term", "as long as can be", "item", "table", "figure", "terms"],
)
def test_a_passage_never_ends_before_what_its_last_line_announces(
    lead: str, following: str
) -> None:
    first = "word " * 79 + "word."
    *before, last = texts(page("a.md", f"# T\n\n{first}\n\n{lead}\n\n{following}"))
    assert before[0] == first
    named = lead.rpartition("\n\n")[2]
    assert last.strip() == f"{named}\n\n{following}".strip()


def test_lines_that_all_announce_are_cut_nevertheless() -> None:
    text = "\n\n".join(f"And number {n} is:" for n in range(100))
    found = texts(page("a.md", f"# T\n\n{text}"))
    assert "\n\n".join(found) == text
    assert all(len(one.split()) <= WORDS + LEAD for one in found)


def test_a_list_is_cut_between_its_outer_items() -> None:
    item = "- **option {}**\n\n  - a type" + " of it" * 10 + "\n\n  - a default" + " of it" * 10
    items = [item.format(n) for n in range(9)]
    found = texts(page("a.md", "# T\n\n" + "\n\n".join(items)))
    assert len(found) > 2
    assert all(one.startswith("- **option") for one in found)
    assert "\n\n".join(found) == "\n\n".join(items)


def test_a_caption_is_no_term_of_the_text_below_its_picture() -> None:
    text = "**Figure 2.1. The window**\n\n![The window](window.png)\n\nPress the button."
    (only,) = passages(page("a.md", f"# T\n\n{text}"))
    assert (only.term, only.text) == ("", text)


def test_a_table_that_is_cut_has_its_head_in_each_part() -> None:
    rows = "\n".join(f"| row {n} | some words of a cell {n} |" for n in range(60))
    found = texts(page("a.md", f"# T\n\n| name | meaning |\n|---|---|\n{rows}"))
    assert len(found) > 2
    assert all(text.startswith("| name | meaning |\n|---|---|\n") for text in found)


def test_code_that_is_cut_has_its_fence_in_each_passage_once() -> None:
    code = "\n".join(f"set option{n} to a value of {n};" for n in range(25))
    read = page("a.md", f"# Proxy\n\n**proxy.conf**\n```conf\n{code}\n```\n\nThen reload.")
    found = texts(read)
    assert [text.count("```") for text in found] == [2] * len(found)
    assert len(found) > 1
    assert all(line in "\n".join(found).split("\n") for line in code.split("\n"))
    assert found[0].startswith("**proxy.conf**\n\n```conf\nset option0 ")
    assert found[-1].startswith("```conf\n")
    assert found[-1].endswith("\n```\n\nThen reload.")


def test_passages_are_short_and_nothing_is_lost() -> None:
    text = " ".join(f"w{n}" for n in range(400)) + "\n\n" + "y" * 90
    read = page("a.md", f"# Long\n\n## Part\n\n{text}\n\n## Next\n\nEnd.")
    found = passages(read)
    assert [one.section for one in found] == sorted(one.section for one in found)
    assert all(len(one.text.split()) <= 1.25 * WORDS for one in found)
    assert " ".join(" ".join(one.text for one in found).split()) == f"{' '.join(text.split())} End."


@pytest.mark.parametrize(
    "sentence", ["設定を変更してから、もう一度電源を入れます。", "更改设置后重新启动。"]
)
def test_nothing_of_a_text_without_spaces_is_beyond_what_is_read(
    sentence: str, embedder: Embedder
) -> None:
    text = "".join(f"{sentence}{n}" for n in range(60))
    read = page("a.md", f"# 使い方\n\n## 設定 root\n\n{text}")
    assert "".join(texts(read)) == text
    assert {len(embedder.windows(one)) for one in embedded(read)} == {1}


@pytest.mark.parametrize(
    ("text", "is_readable"),
    [
        (
            "Contents\n\n1. [Set up](#set-up)\n   - [On Linux](#linux)\n2. [Ask a question](#ask)",
            False,
        ),
        ("- [Set up](#set-up): a minute\n- [Ask](#ask): a second\n- [Stop](#stop): at once", True),
        ("- [Set up](set-up.md)\n- [Ask](ask.md)\n- [Stop](stop.md)", True),
        ("| [Set up](#a) |\n| --- |\n| [Ask](#b) |\n| [Stop](#c) |", True),
        ("See [Set up](#set-up) and [Ask](#ask).", True),
        ('<a id="top"></a>', False),
        ("[1.0]: https://example.com/1.0\n[0.9]: https://example.com/0.9", False),
        ("---", False),
    ],
    ids=[
        "contents",
        "with what they say",
        "of other pages",
        "table",
        "sentence",
        "anchor",
        "definitions",
        "rule",
    ],
)
def test_what_only_leads_to_its_own_page_says_nothing(text: str, is_readable: bool) -> None:
    assert Passage(0, "", "", text).is_readable == is_readable


def test_texts_that_differ_in_the_signs_of_lists_and_emphasis_are_alike() -> None:
    first = Passage(0, "", "", "* **port** the *port*\n* `__init__`")
    second = Passage(3, "", "", "- __port__ the _port_\n- `__init__`\n")
    assert first.likeness == second.likeness
    assert first.likeness != Passage(0, "", "", "- port the ports\n- `__init__`").likeness


def test_link_targets_and_anchors_are_not_embedded() -> None:
    read = page("a.md", '# A\n\n<a id="x"></a>See [the other](other.md#x) ![shot](shot.png).')
    assert embedded(read) == ["A\nSee the other shot."]


def test_a_page_without_text_has_a_passage_all_the_same() -> None:
    assert len(passages(Page("a.md", "A", "http://wiki/a/", ()))) == 1
    assert embedded(page("a.md", "# A\n\n## B\n")) == ["A", "A › B"]
