"""What an answer rests on, and what of it is quoted."""

from gateway.answering.grounding.cite import QUOTE, Citations, quoted
from gateway.answering.grounding.excerpt import GAP, Excerpt, chosen_sections
from gateway.answering.grounding.support import Support
from tests.gateway.conftest import page
from wiki.index.passages import passages
from wiki.pages.page import Page

PAGE = page(
    "backup.md",
    "# Backup\n\n## Where\n\nThe server keeps 14 backups in `/var/backups`.\n\n"
    "## Restore\n\nRun `restore --from DATE` on the server. It stops the database first.",
)


def citations(*pages: Page) -> Citations:
    excerpts = [Excerpt(read, read.sections, 1) for read in pages]
    return Citations(Support(excerpts, "?", lambda said: dict.fromkeys(said, 1.0)))


def test_each_part_of_an_answer_cites_the_section_that_it_rests_on() -> None:
    cited = citations(PAGE)
    said = [
        "The server keeps 14 backups. ",
        "Run `restore --from DATE`. ",
        "It stops the database.",
    ]
    for sentence in said:
        cited.add(sentence, sentence)
    text = "".join(said)
    spans = cited.within(len(text))
    assert [span.section.anchor for span in spans] == ["where", "restore"]
    assert [text[span.start : span.end] for span in spans] == [said[0], said[1] + said[2]]
    assert [section.anchor for _, section in cited.sections()] == ["restore", "where"]


def test_positions_are_of_what_is_shown_not_of_what_was_said() -> None:
    cited = citations(PAGE)
    cited.add(" The server keeps 14 backups. ", "The server keeps 14 backups. ")
    cited.add("Run `restore --from DATE`. ", "Run it: https://x/long. ")
    assert [(span.start, span.end) for span in cited.within(52)] == [(0, 29), (29, 52)]


def test_a_sentence_that_says_nothing_belongs_to_the_one_before_it() -> None:
    cited = citations(PAGE)
    cited.add("It stops the database first. ", "It stops the database first. ")
    cited.add("Yes. ", "Yes. ")
    assert [span.section.anchor for span in cited.within(34)] == ["restore"]


def test_a_source_is_a_page_that_stood_in_the_prompt() -> None:
    other = page("other.md", "# Other\n\nThe database of backups stops the server.")
    cited = citations(other)
    cited.add("It stops the database first.", "It stops the database first.")
    assert [read.path for read, _ in cited.sections()] == ["other.md"]
    assert citations().sections() == []


def test_a_text_that_was_cut_has_no_span_behind_its_end() -> None:
    cited = citations(PAGE)
    cited.add("The server keeps 14 backups.\n\n", "The server keeps 14 backups.\n\n")
    assert [span.end for span in cited.within(28)] == [28]


def plain(text: str) -> str:
    return " ".join(text.split())


def test_a_quote_is_in_the_page_to_the_letter() -> None:
    for section in PAGE.sections:
        assert plain(quoted(section, PAGE)) in plain(PAGE.text)


def test_a_long_section_is_quoted_between_its_blocks() -> None:
    long = page("a.md", "## A\n\n" + "\n\n".join(f"Paragraph {n} is here." for n in range(200)))
    text = quoted(long.sections[0], long)
    assert text.endswith("is here.\n\n…")
    assert len(text) < QUOTE + 10
    assert plain(text.removesuffix("…")) in plain(long.text)


def test_what_we_added_to_a_part_of_a_table_is_not_quoted() -> None:
    rows = "\n".join(f"| setting {n} | value {n} |" for n in range(400))
    table = page("t.md", f"# T\n\n| name | value |\n|---|---|\n{rows}")
    place = next(n for n, one in enumerate(passages(table)) if "setting 300 " in one.text)
    (section,) = chosen_sections(table, {place, place + 1})
    assert section.text.count("| name | value |") >= 1
    assert GAP not in quoted(section, table)
    for block in quoted(section, table).removesuffix("…").split("\n\n"):
        assert plain(block) in plain(table.text)
