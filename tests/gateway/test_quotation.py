"""A quotation is what its page says, in documentation of other projects."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.gateway.conftest import SITE, page
from wiki.index.passages import passages
from wiki.index.quotation import GAP, quotation
from wiki.pages.blocks import alone, is_table
from wiki.pages.fences import OPENING, fenced
from wiki.pages.page import Page
from wiki.sources.export import HtmlFolder
from wiki.sources.source import Changed

ROOT = Path(__file__).parents[2]
# If they are installed: `apt install postfix-doc python-django-doc git-doc`.
HTML = [
    folder
    for name in ("postfix/html", "python-django-doc/html", "git-doc")
    if (folder := Path("/usr/share/doc") / name).is_dir()
]


def of_packages() -> list[Page]:
    """The descriptions of the installed packages: Markdown of some hundred projects."""
    texts = {
        one.metadata["Name"]: str(one.metadata.json.get("description", ""))
        for one in distributions()
    }
    return [page(f"{name}.md", text) for name, text in texts.items() if text.strip()]


def of_this_project() -> list[Page]:
    return [page(file.name, file.read_text()) for file in sorted((ROOT / "docs").rglob("*.md"))]


def of_html(folder: Path) -> list[Page]:
    items = HtmlFolder(folder, SITE).read({})
    return [item.page for item in items if isinstance(item, Changed)]


def dense(text: str) -> str:
    """Without white space, fences, and what `alone` takes from a text."""
    lines = [line for line in alone(text).split("\n") if not OPENING.match(line)]
    return "".join("".join(lines).split())


def violations(read: Page) -> list[tuple[str, str]]:
    """What is wrong with the quotations of a page, and the quotation."""
    wrong: list[tuple[str, str]] = []
    for passage in passages(read):
        if not passage.is_readable:
            continue
        whole = dense(read.sections[passage.section].body)
        text, rest = quotation(read, passage)
        lines = text.split("\n")
        # A table that is cut has its head above its rows.
        headless = "\n".join(lines[2:]) if is_table(lines) else text
        if not any(is_within(shown, whole) for shown in (text, headless)):
            wrong.append(("not in its page", text))
        if rest and text.rstrip().endswith(":") and not fenced(lines)[-1]:
            wrong.append(("stops at what it announces", text))
    return wrong


def is_within(text: str, whole: str) -> bool:
    """Are the parts of a text between its marks continuous parts of the whole, in their order?"""
    at = 0
    for part in (dense(part).strip("|") for part in text.split(GAP)):
        place = whole.find(part, at)
        if place < 0:
            return False
        at = place + len(part)
    return True


@pytest.mark.parametrize(
    "read",
    [of_packages, of_this_project, *(partial(of_html, folder) for folder in HTML)],
    ids=["packages", "this project", *(folder.parts[-1] for folder in HTML)],
)
def test_quotations_are_what_the_pages_say(read: Callable[[], list[Page]]) -> None:
    pages = read()
    assert len(pages) > 20
    assert [(one.path, *wrong) for one in pages for wrong in violations(one)] == []


LEAD = "Words that stand before. " * 28
ITEMS = "\n".join(f"- number {n}" for n in range(5))
TABLE = "| name | use |\n|---|---|\n" + "\n".join(f"| n{n} | a use of {n} |" for n in range(60))


@pytest.mark.parametrize(
    ("announcement", "announced"),
    [
        ("These are supported:", ITEMS),
        ("It accepts the following options.", "**`--all`**\n\nAll of them."),
        ("Type this:", "```sh\nmake all\n```"),
        ("The values are:", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ],
    ids=["list", "definition", "code", "table"],
)
def test_what_a_line_announces_comes_with_it(announcement: str, announced: str) -> None:
    read = page("a.md", f"# A\n\n{LEAD}{announcement}\n\n{announced}\n\nThe end.")
    text, _ = quotation(read, passages(read)[0])
    assert announced in text
    assert GAP not in text


def test_a_cut_table_has_its_head_and_a_mark() -> None:
    read = page("a.md", f"# A\n\n{TABLE}")
    first, second, *_ = (quotation(read, one).text for one in passages(read))
    assert first.startswith("| name | use |\n|---|---|\n| n0 |")
    assert first.endswith(f"\n| {GAP} |")
    assert second.startswith(f"| name | use |\n|---|---|\n| {GAP} |\n| n")


def test_the_fence_of_cut_code_is_not_taken_for_a_later_one() -> None:
    lines = [f"set option{n} to the value {n}" for n in range(60)]
    code = "```conf\n" + "\n".join(lines) + "\n```"
    read = page("a.md", f"# A\n\n{code}\n\nThen reload:\n\n```sh\nreload\n```\n\nThe end.")
    every = passages(read)
    first, last = quotation(read, every[0]), quotation(read, every[-1])
    assert first.text.startswith("```conf\nset option0 ")
    assert first.text.endswith(f"\n```\n\n{GAP}")
    assert first.rest.startswith("```conf\nset option")
    assert last.text.startswith(f"{GAP}\n\n```conf\nset option")
    assert last.text.endswith("Then reload:\n\n```sh\nreload\n```\n\nThe end.")
    assert last.rest == ""


def test_the_rest_of_a_definition_ends_with_it() -> None:
    more = "More of one. " * 10
    read = page("a.md", f"# A\n\n**one**\n\n{LEAD}\n\n{more}\n\n**two**\n\nAnother.")
    first = quotation(read, passages(read)[0])
    assert first.rest == more.strip()
