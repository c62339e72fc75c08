"""An Obsidian vault."""

import pytest

from tests.sources.conftest import SITE, Write, broken, pages, places

VAULT = {
    ".obsidian/app.json": "{}",
    ".trash/old.md": "old",
    "Folder A/Note one.md": "Note.\n",
    "B/Other.md": "# Other\n\nTop\n\n## Some Heading: x\n\n"
    "para [rel](<../Folder A/Note one.md>)\n\n"
    "### Inner\n\nx\n\n## Next\n\nA block here\nsecond line ^blk\n\n- item\n\n^list\n",
    "B/pic.png": "",
    "Secret.md": "---\npublish: false\n---\nx",
    "Perm.md": "---\npermalink: my/link\n---\nx",
    "C#.md": "sharp",
}


def test_addresses_are_those_of_obsidian_publish(write: Write) -> None:
    assert [page.url.removeprefix(SITE) for page in pages(write(VAULT)).values()] == [
        *("B/Other", "C%23", "Folder+A/Note+one", "my/link"),
    ]


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("[[Other]]", "[Other](B/Other)"),
        ("[[other|shown]]", "[shown](B/Other)"),
        ("[[B/Other#Next]]", "[B/Other > Next](B/Other#Next)"),
        ("[[Other#Some Heading: x]]", "[Other > Some Heading: x](B/Other#Some+Heading+x)"),
        ("[[Other#Some Heading x#Inner|i]]", "[i](B/Other#Some+Heading+x#Inner)"),
        ("[[Other#^blk]]", "[Other > ^blk](B/Other#^blk)"),
        ("[[#Here]]", "[Here](#Here)"),
        ("[[Note one.md]]", "[Note one.md](Folder+A/Note+one)"),
        ("[[Perm]]", "[Perm](my/link)"),
        ("[[C#]]", "[[C#]]"),
        ("[[nowhere]]", "[[nowhere]]"),
        ("[[Secret]]", "[[Secret]]"),
        ("`[[Other]]`", "`[[Other]]`"),
        ("![[pic.png]] and", "![pic.png](B/pic.png) and"),
        ("![[pic.png|300]]", "![pic.png](<B/pic.png>)"),
        ("[md](B/Other.md#Some%20Heading%3A%20x)", "[md](B/Other#Some+Heading+x)"),
        ("[short](Other.md)", "[short](B/Other)"),
        ("[gone](Gone.md)", "[gone](Gone.md)"),
        ("| [[Other\\|o]] |", "| [o](B/Other) |"),
    ],
)
def test_links(write: Write, link: str, text: str) -> None:
    assert pages(write({**VAULT, "Here.md": link}))["Here.md"].text == text


def test_of_notes_of_one_name_the_one_beside_then_the_shortest_path_is_meant(write: Write) -> None:
    names = {"x/y/N.md": "1", "z/N.md": "2", "q/N.md": "3", "q/here.md": "[[N]]", "a.md": "[[N]]"}
    root = write({".obsidian/app.json": "{}", **names})
    assert pages(root)["q/here.md"].text == "[N](N)"
    assert pages(root)["a.md"].text == "[N](q/N)"


@pytest.mark.parametrize(
    ("embed", "text"),
    [
        ("![[Other#Next]]", "**Next**\n\nA block here\nsecond line\n\n- item"),
        (
            "![[Other#Some Heading x]]",
            "**Some Heading: x**\n\npara [rel](<Folder+A/Note+one>)\n\n**Inner**\n\nx",
        ),
        ("![[Other#^blk]]", "A block here\nsecond line"),
        ("![[Other#^list]]", "- item"),
        ("![[Note one]]", "Note."),
    ],
)
def test_embedded_notes_are_put_in_without_headings_of_their_own(
    write: Write, embed: str, text: str
) -> None:
    page = pages(write({**VAULT, "Here.md": f"{embed}\n\nend"}))["Here.md"]
    assert page.text == f"{text}\n\nend"
    assert places(page) == [("", "")]


def test_notes_that_embed_each_other_end(write: Write) -> None:
    root = write({"A.md": "a\n\n![[B]]", "B.md": "b\n\n![[A]]\n\n![[B]]"})
    assert pages(root, "obsidian")["A.md"].text == "a\n\nb"


def test_an_embedded_note_that_is_not_there_is_named_with_its_line(write: Write) -> None:
    root = write({"A.md": "---\nx: y\n---\na\n\n![[Gone]]"})
    assert broken(root, "obsidian") == [("A.md:6", "Gone is not there, and is left out")]


def test_comments_callouts_and_block_names_are_plain_text(write: Write) -> None:
    text = (
        "a %%hidden%% b\n\n%%\n## hidden\n%%\n\n> [!warning]- Careful\n> body\n\n> [!tip]\n> t\n\n"
        "x ==much== `a==b==` a == b ^id\n\n```\n%%shown%% [[Other]] ^id\n```\n\n#tag is a tag"
    )
    page = pages(write({**VAULT, "Here.md": text}))["Here.md"]
    assert page.text == (
        "a  b\n\n> **Warning: Careful**\n>\n> body\n\n> **Tip**\n>\n> t\n\n"
        "x **much** `a==b==` a == b\n\n"
        "```\n%%shown%% [[Other]] ^id\n```\n\n#tag is a tag"
    )
    assert places(page) == [("", "")]


def test_a_second_heading_of_a_name_is_reported_by_the_one_above(write: Write) -> None:
    text = "# T\n\n## A\n\n### Sub C#\n\n## B\n\n### Sub C#\n\n## B\n"
    assert places(pages(write({"N.md": text}), "obsidian")["N.md"]) == [
        ("T", "T"),
        ("A", "A"),
        ("Sub+C", "Sub C#"),
        ("B", "B"),
        ("T#B#Sub+C", "Sub C#"),
        ("T#B", "B"),
    ]


@pytest.mark.parametrize(
    "said", ["aliases: [One, Two]", "aliases:\n- One\n- Two", "alias: One, Two"]
)
def test_other_names_of_a_note_are_in_its_text(write: Write, said: str) -> None:
    read = pages(
        write({"N.md": f"---\n{said}\n---\ntext", "M.md": f"---\n{said}\n---\n# H"}), "obsidian"
    )
    assert read["N.md"].text == "Also called: One, Two.\n\ntext"
    assert read["M.md"].text == "Also called: One, Two.\n\n# H"


def test_tags_of_a_note_are_in_its_text(write: Write) -> None:
    read = pages(write({"N.md": "---\ntags: [a, b/c]\naliases: [One]\n---\ntext"}), "obsidian")
    assert read["N.md"].text == "Also called: One. Tags: a, b/c.\n\ntext"


def test_the_title_is_the_front_matters_or_the_files_name(write: Write) -> None:
    read = pages(write({"my-Note.md": "# H", "b.md": "---\ntitle: T\n---\nx"}), "obsidian")
    assert {path: page.title for path, page in read.items()} == {
        "my-Note.md": "my-Note",
        "b.md": "T",
    }
