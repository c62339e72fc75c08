"""What people, pages and models write costs time that grows with its length, not with its square.

A page of 60 kB of `[` or a question with 100,000 spaces must not hold a sync or an event loop. So
every regular expression is tried at texts made from itself (`tests/security/pumps.py`), and every
function below at repetitions of what has a meaning in Markdown.
"""

import re
from collections.abc import Callable

import pytest

from gateway.answering import sentences
from gateway.answering.grounding.neutral import neutral, restored
from gateway.answering.grounding.sentences import units
from tests.security import pumps
from widget.text import dialect, markdown
from wiki.index import passages
from wiki.pages import targets, words
from wiki.pages.page import Page, Section
from wiki.sources import boxes, commonmark, gitbook, obsidian, sections, slugs, titles, vitepress


@pytest.mark.slow
@pytest.mark.parametrize("package", ["gateway", "widget", "askdocs", "training", "eval"])
def test_no_pattern_takes_the_square_of_a_texts_length(package: str) -> None:
    found = {
        f"{used.place}: {used.pattern}": text
        for used in pumps.patterns([package])
        if (text := pumps.slow(used))
    }
    assert not found


@pytest.mark.slow
def test_the_search_for_slow_patterns_finds_those_that_were_here() -> None:
    slow = (
        r"<(?=\s*[|]|\s*/?\s*page\b)",
        r"!?\[([^\]\n]*)\]\([^)\n]*\)",
        r"(?P<a>[\w+#&-]+(?:\.[\w+#&-]+)*),?[ ]called",
        r"(a|a)*b",
        r"<!--.*?-->",
        r"(?m)^\s*(?:```|~~~)",
    )
    for pattern in slow:
        assert pumps.slow(pumps.Used("", pattern, re.DOTALL, False)), pattern
    for pattern in (r"\w+", r"(?<!\s)\s*+\{#([^{}\s]++)\}\s*$", r"<!--(?:(?!<!--).)*?-->"):
        assert not pumps.slow(pumps.Used("", pattern, re.DOTALL, False)), pattern


_PUMPS = (
    *("[", "]", "](", "[a](", "![", "[[", "![[a", "<", "<a ", "<!--", "-->", "`", "```\n", "` a"),
    *("# a\n", "#", "> ", ">", "- ", "* ", "1. ", "*", "_", "|", "| a ", "\n", " ", "\t", "a", "A"),
    *("a.", ". ", "。", "!", ":::", "{", "{#a", "}", "\\", "is called a ", "our a "),
    *("(", ")", "a (B) ", "---\n", "===\n", "a\n---\n", "%%", "^a ", "/", "=", '"', "'", "&", "é"),
    *("界", "a, also called ", "1. 2", "e.g. ", "`a`. ", "**a**. ", "a,\n", ": ", "-\n"),
)  # fmt: skip


def _page(text: str) -> Page:
    return Page("a.md", "A", "https://x.example/a", (Section("Glossary", "", ("Glossary",), text),))


def _lines(function: Callable[[list[str]], object]) -> Callable[[str], object]:
    return lambda text: function(text.split("\n"))


def _slugs(slugger: Callable[[], object]) -> Callable[[str], object]:
    def work(text: str) -> object:
        made = slugger()
        return [made.slug(line) for line in text.split("\n")]  # type: ignore[attr-defined]

    return work


_FUNCTIONS: dict[str, Callable[[str], object]] = {
    "neutral": neutral,
    "restored": restored,
    "units": units,
    "sentences.split": sentences.split,
    "passages.is_contents": lambda text: passages._is_contents("[a](#a) " * 3 + text),
    "retarget": lambda text: targets.retarget(text + "](a) = [a]: b", str.upper),
    "referenced": lambda text: targets.referenced("[a]: b\n\n" + text),
    "content_words": words.content_words,
    "stems": words.stems,
    "fenced": _lines(commonmark.fenced),
    "front_matter": lambda text: commonmark.front_matter("---\n" + text),
    "without_comments": _lines(lambda lines: commonmark.without_comments(lines, "<!--", "-->")),
    "joined_blanks": _lines(lambda lines: commonmark.joined_blanks(lines, [])),
    "boxes": _lines(boxes.named),
    "sections.title": _lines(lambda lines: sections.title(None, lines, [])),
    "GitHub's anchors": _slugs(slugs.GitHubSlugger),
    "GitBook's anchors": _slugs(slugs.GitBookSlugger),
    "VitePress' anchors": _slugs(slugs.VitePressSlugger),
    "titles": lambda text: titles.Affixes.common([text, text]),
    "GitBook's blocks": _lines(lambda lines: [gitbook._BLOCK.match(line) for line in lines]),
    "Obsidian's embeds": _lines(lambda lines: obsidian._without_headings(lines)),
    "dialect": dialect.plain,
    "with_marks": lambda text: markdown.with_marks(text, [(len(text), 1)]),
    "VitePress' headings": _lines(lambda lines: [vitepress._ATTRIBUTES.search(x) for x in lines]),
}


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_a_text_of_one_mark_again_and_again_costs_what_its_length_says(name: str) -> None:
    work = _FUNCTIONS[name]
    steep = [
        pump
        for pump in _PUMPS
        if pumps.is_steep(work, lambda length, pump=pump: pump * (length // len(pump)))
    ]
    assert steep == []
