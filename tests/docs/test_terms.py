"""One word for one thing: what the documentation does not write."""

import re
from pathlib import Path

import pytest

from tests.docs.test_pages import PAGES, ROOT, without_code

# The word, as a pattern, and what to write.
BANNED = {
    r", too[.,:;)]": "also, before the verb",
    r"\bdocumentations\b": "docs",
    r"\b(?:exam|exams|sitting|contenders?)\b": "evaluation, run, system",
    r"\b(?:bad days|the blow)\b": "fault injection, recovery time",
    r"\bfirst words\b": "time to first token",
    r"\bwarm(?:ed|ing)? (?:a |the |up )?pages?\b": "prefill, prefilled pages",
    r"\b[Ww]arm(?:ed|s)?\b": "prefill, prefilled",
    r"\b(?:spool|heat)\b": "usage, popularity",
    r"\bways? out\b": "egress",
    r"\b[Tt]he box (?:sends|asks|answers|stores|offers|runs|is a service|is available)\b": "widget",
    r"\b(?:reach|asked in) the box\b": "widget",
    r"\bstands? on a page\b": "cites",
    r"\bit is natural to\b": "a plain statement",
    r"\bleaked (?:question|row)s?\b": "contaminated",
}
CODE = re.compile(r"^( *)```.*?^\1```", re.M | re.S)
GLOSSARY = ROOT / "docs/reference/glossary.md"
GENERATED = ("api.md", "commands.md")
WRITTEN = [path for path in (*PAGES, ROOT / "README.md") if path.name not in GENERATED]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_page_uses_the_words_of_the_glossary(path: Path) -> None:
    text = without_code(path.read_text(encoding="utf-8"))
    found = {
        line.strip()[:120]: use
        for line in text.splitlines()
        for banned, use in BANNED.items()
        if re.search(banned, line)
    }
    assert found == {}


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_commands_have_the_path_in_blocks_and_only_the_name_in_the_text(path: Path) -> None:
    """Getting started explains it once."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"`\.venv/bin/askdocs [^`\n]*`", re.sub(CODE, "", text)) == []
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S)
    assert re.findall(r"^ *askdocs .*", "".join(blocks), re.M) == []


def test_the_glossary_is_short_and_in_order() -> None:
    rows = re.findall(r"^\| (?!term|-)([^|]+) \|", GLOSSARY.read_text(encoding="utf-8"), re.M)
    assert rows == sorted(rows)
    assert 20 <= len(rows) <= 40
