"""Pages that once hung a sync: each is read, indexed and found by an ordinary sync."""

from pathlib import Path

import pytest

from tests.sources.conftest import SITE, Write
from wiki.index.index import Index
from wiki.index.writer import writing
from wiki.sources.source import Changed
from wiki.sources.spec import Spec

# Of each the time grew with its square or worse, to minutes and hours.
PAGES = {
    "letters behind `is called`": "The pump is called " + "a" * 12_000,
    "12,000 names behind `is called`": "The pump is called " + "A-" * 12_000 + " x",
    "60 kB of headings": "# a\n" * 15_000,
    "60,000 brackets": "[" * 60_000,
    "60,000 pairs of brackets": "[](" * 20_000,
    "60,000 tabs in a link": "[a](" + "\t" * 60_000,
    "60,000 images": "![" * 30_000,
    "100,000 spaces behind a mark": "<" + " " * 100_000 + "x",
    "quotations in quotations": "> " * 5000 + "x",
    "lists in lists": "- " * 5000 + "x",
    "a snippet that includes itself": "Text\n\n" + '--8<-- "page.md"\n' * 3000,
}


@pytest.mark.timeout(120)  # each takes a second of CPU, and took minutes
@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_once_hung_a_sync_is_read_or_named(
    write: Write, tmp_path: Path, name: str
) -> None:
    root = write({"page.md": f"{PAGES[name]}\n", "tea.md": "# Tea\n\nTea is served at four.\n"})
    file = tmp_path / "index.db"
    read = set()
    with writing(file) as writer:
        for item in Spec.named(str(root), None, SITE).open().read({}):
            read.add(item.page.path if isinstance(item, Changed) else item.path)
            if isinstance(item, Changed):
                writer.put("wiki", item.page, item.stamp)
    assert read == {"page.md", "tea.md"}
    index = Index(file)
    try:
        assert index.by_path("tea.md") is not None
    finally:
        index.close()
