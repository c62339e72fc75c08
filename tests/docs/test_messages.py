"""Messages that pages quote in a heading or at the beginning of an item are those of the code."""

import re
from functools import cache

import pytest

from tests.docs.test_pages import PAGES, ROOT

PACKAGES = ("askdocs", "core", "eval", "gateway", "training", "widget", "wiki", "scripts")
QUOTED = re.compile(r'^(?:#+ (?:Error: )?|- )((?:"[^"]+"(?:, | or | and )?)+)', re.M)
SUFFIXES = (".py", ".js", ".toml", ".html")


@cache
def code() -> str:
    """The sources, with strings of several lines as one."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*"))]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in SUFFIXES]
    text = "\n".join([*texts, (ROOT / "Makefile").read_text(encoding="utf-8")])
    return re.sub(r"""["']\s*\n\s*r?f?["']""", "", text)


def quoted() -> list[tuple[str, str]]:
    return [
        (path.name, message)
        for path in PAGES
        for line in QUOTED.findall(path.read_text(encoding="utf-8"))
        for message in re.findall('"([^"]+)"', line)
    ]


@pytest.mark.parametrize(("page", "message"), quoted())
def test_a_message_that_a_page_quotes_is_in_the_code(page: str, message: str) -> None:
    """`...` stands for any text, and so does a value between two words in the code."""
    parts = [part.strip() for part in message.split("...") if len(part.strip()) > 2]
    assert parts
    for part in parts:
        words = r"(?:\s+|[^\n]{0,60}\} ?)".join(map(re.escape, part.split()))
        assert re.search(words, code()), f"{page} quotes {part!r}"


def test_many_messages_are_quoted() -> None:
    assert len(quoted()) > 30
